/* config_transformers.c - config.json as Hugging Face's transformers writes it: CLIPModel, SiglipModel.
 *
 * Two objects, "vision_config" and "text_config". Published files leave out what is the library's default, so the
 * defaults are here. Keys that do not concern inference are ignored. No state, no threads. */
#include <stdio.h>
#include <string.h>

#include "model/checkpoint/config_format.h"
#include "model/checkpoint/strict_json.h"

/* transformers' names, several of which mean one function. */
static enum config_activation read_activation(struct fields *f, const cJSON *object, const char *path,
                                              enum config_activation absent) {
    static const char *const names[] = {"quick_gelu", "gelu", "gelu_pytorch_tanh", "gelu_new", NULL};
    static const enum config_activation meant[] = {CONFIG_QUICK_GELU, CONFIG_GELU, CONFIG_GELU_TANH,
                                                   CONFIG_GELU_TANH};
    const int none = sizeof meant / sizeof *meant;
    const int word = fields_word(f, object, path, names, none);
    return word == none ? absent : meant[word];
}

/* An older file's "text_config_dict" stands in for a "text_config" that is not there. */
static const cJSON *read_half(struct fields *f, const cJSON *root, const char *name) {
    char older[40];
    snprintf(older, sizeof older, "%s_dict", name);
    return !fields_find(f, root, name) && fields_find(f, root, older) ? fields_object(f, root, older)
                                                                      : fields_object(f, root, name);
}

/* What a tower is where its file does not say. */
struct defaults {
    uint32_t width, mlp, blocks, heads;
    enum config_activation activation;
    double ln_eps;
};

static void read_tower(struct fields *f, const cJSON *object, const char *half, const struct defaults *absent,
                       struct config_tower *tower) {
    char path[64], heads[64];
#define PATH(key) (snprintf(path, sizeof path, "%s.%s", half, key), path)
    tower->width = fields_integer_or(f, object, PATH("hidden_size"), 1, CONFIG_MAX_WIDTH, absent->width);
    tower->blocks =
        fields_integer_or(f, object, PATH("num_hidden_layers"), 1, CONFIG_MAX_BLOCKS, absent->blocks);
    tower->heads = fields_integer_or(f, object, PATH("num_attention_heads"), 1, tower->width, absent->heads);
    if (tower->width % tower->heads != 0) {
        snprintf(heads, sizeof heads, "%s", path);
        fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %u; a multiple of \"%s\" (%u) is accepted",
                    PATH("hidden_size"), tower->width, heads, tower->heads);
    }
    tower->mlp = fields_integer_or(f, object, PATH("intermediate_size"), 1, CONFIG_MAX_MLP, absent->mlp);
    tower->activation = read_activation(f, object, PATH("hidden_act"), absent->activation);
    tower->ln_eps = fields_number_or(f, object, PATH("layer_norm_eps"), 1e-12, 0.1, absent->ln_eps);
#undef PATH
}

static void read_image(struct fields *f, const cJSON *vision, uint32_t patch, struct config *config) {
    static const float half[3] = {0.5f, 0.5f, 0.5f};
    config->image.size =
        fields_integer_or(f, vision, "vision_config.image_size", 1, CONFIG_MAX_IMAGE_SIZE, 224);
    config->image.patch =
        fields_integer_or(f, vision, "vision_config.patch_size", 1, config->image.size, patch);
    if (fields_integer_or(f, vision, "vision_config.num_channels", 1, UINT16_MAX, 3) != 3)
        fields_fail(f, LIMOE_UNSUPPORTED, "\"vision_config.num_channels\" is not 3 (red, green, blue)");
    memcpy(config->image.mean, half, sizeof half);
    memcpy(config->image.std, half, sizeof half);
    memset(config->image.background, 255, sizeof config->image.background);
}

static void read_text(struct fields *f, const cJSON *text, uint32_t vocab, uint32_t length,
                      struct config *config) {
    config->text.vocab = fields_integer_or(f, text, "text_config.vocab_size", 1, CONFIG_MAX_VOCAB, vocab);
    config->text.length =
        fields_integer_or(f, text, "text_config.max_position_embeddings", 1, CONFIG_MAX_TEXT_LENGTH, length);
}

void config_read_clip(struct fields *f, const cJSON *root, struct config *config) {
    static const struct defaults vision_absent = {768, 3072, 12, 12, CONFIG_QUICK_GELU, 1e-5};
    static const struct defaults text_absent = {512, 2048, 12, 8, CONFIG_QUICK_GELU, 1e-5};
    const cJSON *vision = read_half(f, root, "vision_config"), *text = read_half(f, root, "text_config");
    config->format = CONFIG_CLIP;
    config->towers = 2;
    config->embed = fields_integer_or(f, root, "projection_dim", 1, CONFIG_MAX_EMBED, 512);
    read_tower(f, vision, "vision_config", &vision_absent, &config->tower[LIMOE_IMAGE]);
    config->tower[LIMOE_IMAGE].pre_norm = true;
    config->tower[LIMOE_IMAGE].pool = CONFIG_POOL_FIRST;
    read_image(f, vision, 32, config);
    config->image.class_token = config->image.projection = true;
    read_tower(f, text, "text_config", &text_absent, &config->tower[LIMOE_TEXT]);
    config->tower[LIMOE_TEXT].causal = true;
    config->tower[LIMOE_TEXT].pool = CONFIG_POOL_LAST;
    read_text(f, text, 49408, 77, config);
    config->text.projection = true;
}

void config_read_siglip(struct fields *f, const cJSON *root, struct config *config) {
    static const struct defaults absent = {768, 3072, 12, 12, CONFIG_GELU_TANH, 1e-6};
    const cJSON *vision = read_half(f, root, "vision_config"), *text = read_half(f, root, "text_config");
    config->format = CONFIG_SIGLIP;
    config->towers = 2;
    config->scores = CONFIG_SIGMOID;
    read_tower(f, vision, "vision_config", &absent, &config->tower[LIMOE_IMAGE]);
    config->tower[LIMOE_IMAGE].pool = CONFIG_POOL_ATTENTION;
    if (!fields_bool_or(f, vision, "vision_config.vision_use_head", true))
        fields_fail(f, LIMOE_UNSUPPORTED, "\"vision_config.vision_use_head\" is false; a head is needed");
    read_image(f, vision, 16, config);
    config->image.patch_bias = true;
    read_tower(f, text, "text_config", &absent, &config->tower[LIMOE_TEXT]);
    config->tower[LIMOE_TEXT].pool = CONFIG_POOL_LAST;
    read_text(f, text, 32000, 64, config);
    config->text.pad = CONFIG_ATTEND;
    config->text.pad_id = 1;
    config->text.projection = config->text.projection_bias = true;
    config->embed = fields_integer_or(f, text, "text_config.projection_size", 1, CONFIG_MAX_EMBED,
                                      config->tower[LIMOE_TEXT].width);
}
