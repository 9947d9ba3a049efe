/* config_transformers.c - config.json as Hugging Face's transformers writes it: CLIPModel, SiglipModel.
 *
 * Two objects, "vision_config" and "text_config". Published files leave out what is the library's default, so the
 * defaults are here. Keys that do not concern inference are ignored. No state, no threads. */
#include <stdio.h>
#include <string.h>

#include "model/checkpoint/config_format.h"

/* What a tower is where its file does not say. */
struct defaults {
    uint32_t width, mlp, blocks, heads;
    enum config_activation activation;
    double ln_eps;
};

/* An older file's "text_config_dict" stands in for a "text_config" that is not there. */
static struct fields enter(const struct fields *root, bool vision) {
    static const char *const keys[][2] = {{"text_config", "text_config_dict"},
                                          {"vision_config", "vision_config_dict"}};
    const bool older = !fields_find(root, keys[vision][0]) && fields_find(root, keys[vision][1]);
    static const char *const prefixes[][2] = {{"text_config.", "text_config_dict."},
                                              {"vision_config.", "vision_config_dict."}};
    return fields_enter(root, keys[vision][older], prefixes[vision][older], false);
}

/* transformers' names, several of which mean one function. */
static enum config_activation read_activation(const struct fields *f, enum config_activation absent) {
    static const char *const names[] = {"quick_gelu", "gelu", "gelu_pytorch_tanh", "gelu_new", NULL};
    static const enum config_activation meant[] = {CONFIG_QUICK_GELU, CONFIG_GELU, CONFIG_GELU_TANH,
                                                   CONFIG_GELU_TANH};
    const uint32_t none = sizeof meant / sizeof *meant, word = fields_word(f, "hidden_act", names, none);
    return word == none ? absent : meant[word];
}

static void read_tower(const struct fields *f, const struct defaults *absent, struct config_tower *tower) {
    tower->width = fields_integer(f, "hidden_size", 1, CONFIG_MAX_WIDTH, absent->width);
    tower->blocks = fields_integer(f, "num_hidden_layers", 1, CONFIG_MAX_BLOCKS, absent->blocks);
    tower->heads = fields_integer(f, "num_attention_heads", 1, CONFIG_MAX_WIDTH, absent->heads);
    if (tower->width % tower->heads != 0) {
        fields_fail(f, LIMOE_CORRUPT,
                    "\"%shidden_size\" is %u; a multiple of \"num_attention_heads\" (%u) is accepted",
                    f->prefix, tower->width, tower->heads);
    }
    tower->mlp = fields_integer(f, "intermediate_size", 1, CONFIG_MAX_MLP, absent->mlp);
    tower->activation = read_activation(f, absent->activation);
    tower->ln_eps = (float)fields_number(f, "layer_norm_eps", 1e-12, 0.1, absent->ln_eps);
}

static void read_image(const struct fields *f, uint32_t patch, struct config *config) {
    config->image.size = fields_integer(f, "image_size", 1, CONFIG_MAX_IMAGE_SIZE, 224);
    config->image.patch = fields_integer(f, "patch_size", 1, CONFIG_MAX_IMAGE_SIZE, patch);
    const uint32_t channels = fields_integer(f, "num_channels", 1, UINT16_MAX, 3);
    if (channels != 3)
        fields_fail(f, LIMOE_UNSUPPORTED, "\"%snum_channels\" is %u; 3 (red, green, blue) are accepted",
                    f->prefix, channels);
}

static void read_text(const struct fields *f, uint32_t vocab, uint32_t length, struct config *config) {
    config->text.vocab = fields_integer(f, "vocab_size", 1, CONFIG_MAX_VOCAB, vocab);
    config->text.length = fields_integer(f, "max_position_embeddings", 1, CONFIG_MAX_TEXT_LENGTH, length);
}

void config_read_clip(const struct fields *root, struct config *config) {
    static const struct defaults vision_absent = {768, 3072, 12, 12, CONFIG_QUICK_GELU, 1e-5};
    static const struct defaults text_absent = {512, 2048, 12, 8, CONFIG_QUICK_GELU, 1e-5};
    const struct fields vision = enter(root, true), text = enter(root, false);
    config->format = CONFIG_CLIP;
    config->towers = 2;
    config->embed = fields_integer(root, "projection_dim", 1, CONFIG_MAX_EMBED, 512);
    read_tower(&vision, &vision_absent, &config->tower[LIMOE_IMAGE]);
    config->tower[LIMOE_IMAGE].pre_norm = true;
    config->tower[LIMOE_IMAGE].pool = CONFIG_POOL_FIRST;
    read_image(&vision, 32, config);
    config->image.class_token = config->image.projection = true;
    read_tower(&text, &text_absent, &config->tower[LIMOE_TEXT]);
    config->tower[LIMOE_TEXT].causal = true;
    config->tower[LIMOE_TEXT].pool = CONFIG_POOL_LAST;
    read_text(&text, 49408, 77, config);
    config->text.projection = true;
}

void config_read_siglip(const struct fields *root, struct config *config) {
    static const struct defaults absent = {768, 3072, 12, 12, CONFIG_GELU_TANH, 1e-6};
    const struct fields vision = enter(root, true), text = enter(root, false);
    config->format = CONFIG_SIGLIP;
    config->towers = 2;
    config->scores = CONFIG_SIGMOID;
    read_tower(&vision, &absent, &config->tower[LIMOE_IMAGE]);
    config->tower[LIMOE_IMAGE].pool = CONFIG_POOL_ATTENTION;
    if (!fields_bool(&vision, "vision_use_head", true))
        fields_refuse(&vision, LIMOE_UNSUPPORTED, "vision_use_head", fields_find(&vision, "vision_use_head"),
                      "true");
    read_image(&vision, 16, config);
    config->image.patch_bias = true;
    read_tower(&text, &absent, &config->tower[LIMOE_TEXT]);
    config->tower[LIMOE_TEXT].pool = CONFIG_POOL_LAST;
    read_text(&text, 32000, 64, config);
    config->text.pad = CONFIG_ATTEND;
    config->text.projection = config->text.projection_bias = true;
    config->embed =
        fields_integer(&text, "projection_size", 1, CONFIG_MAX_EMBED, config->tower[LIMOE_TEXT].width);
}
