/* config_transformers.c - config.json as Hugging Face's transformers writes it: CLIPModel, SiglipModel, ChineseCLIPModel,
 * and towers of the first two alone.
 *
 * Two objects, "vision_config" and "text_config", or of a tower alone what would stand in its one. Published files leave
 * out what is the library's default, so the defaults are here. Keys that do not concern inference are ignored. No state, no threads. */
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

/* Each reads the modality's object, into a config of zeros but for `embed`, which is what projections lead to. */
static void read_clip_image(const struct fields *f, struct config *config) {
    static const struct defaults absent = {768, 3072, 12, 12, CONFIG_QUICK_GELU, 1e-5};
    struct config_tower *tower = &config->tower[LIMOE_IMAGE];
    read_tower(f, &absent, tower);
    tower->pre_norm = true;
    tower->pool = CONFIG_POOL_FIRST;
    read_image(f, 32, config);
    config->image.class_token = config->image.projection = true;
}

static void read_clip_text(const struct fields *f, struct config *config) {
    static const struct defaults absent = {512, 2048, 12, 8, CONFIG_QUICK_GELU, 1e-5};
    struct config_tower *tower = &config->tower[LIMOE_TEXT];
    read_tower(f, &absent, tower);
    tower->causal = true;
    tower->pool = CONFIG_POOL_LAST;
    read_text(f, 49408, 77, config);
    config->text.projection = true;
}

static const struct defaults siglip_absent = {768, 3072, 12, 12, CONFIG_GELU_TANH, 1e-6};

static void read_siglip_image(const struct fields *f, struct config *config) {
    struct config_tower *tower = &config->tower[LIMOE_IMAGE];
    read_tower(f, &siglip_absent, tower);
    tower->pool = CONFIG_POOL_ATTENTION;
    if (!fields_bool(f, "vision_use_head", true))
        fields_refuse(f, LIMOE_UNSUPPORTED, "vision_use_head", fields_find(f, "vision_use_head"), "true");
    read_image(f, 16, config);
    config->image.patch_bias = true;
    config->embed = tower->width;
}

static void read_siglip_text(const struct fields *f, struct config *config) {
    struct config_tower *tower = &config->tower[LIMOE_TEXT];
    read_tower(f, &siglip_absent, tower);
    tower->pool = CONFIG_POOL_LAST;
    read_text(f, 32000, 64, config);
    config->text.pad = CONFIG_ATTEND;
    config->text.projection = config->text.projection_bias = true;
    config->embed = fields_integer(f, "projection_size", 1, CONFIG_MAX_EMBED, tower->width);
}

/* Padding is masked, so that it can as well be left out. */
static void read_bert_text(const struct fields *f, struct config *config) {
    static const struct defaults absent = {768, 3072, 12, 12, CONFIG_GELU, 1e-12};
    static const char *const positions[] = {"absolute", NULL};
    struct config_tower *tower = &config->tower[LIMOE_TEXT];
    read_tower(f, &absent, tower);
    tower->pre_norm = tower->post_norm = true;
    tower->pool = CONFIG_POOL_FIRST;
    fields_word(f, "position_embedding_type", positions, 0);
    read_text(f, 30522, 512, config);
    config->text.types = fields_integer(f, "type_vocab_size", 1, CONFIG_MAX_VOCAB, 2);
    config->text.projection = true;
}

/* What a "model_type" is, by the readers of the towers that it has. Of one tower alone the fields stand at the top. */
static const struct family {
    const char *type;
    enum config_format format;
    void (*read_image)(const struct fields *f, struct config *config);
    void (*read_text)(const struct fields *f, struct config *config);
} families[] = {
    {"clip", CONFIG_CLIP, read_clip_image, read_clip_text},
    {"siglip", CONFIG_SIGLIP, read_siglip_image, read_siglip_text},
    {"chinese_clip", CONFIG_CHINESE_CLIP, read_clip_image, read_bert_text},
    {"clip_vision_model", CONFIG_CLIP, read_clip_image, NULL},
    {"clip_text_model", CONFIG_CLIP, NULL, read_clip_text},
    {"siglip_vision_model", CONFIG_SIGLIP, read_siglip_image, NULL},
    {"siglip_text_model", CONFIG_SIGLIP, NULL, read_siglip_text},
};
enum { FAMILIES = sizeof families / sizeof *families };

/* A CLIP's tower that was saved without its projection, as CLIPVisionModel or CLIPTextModel: its pooled vector is the
 * embedding. */
static void read_bare(const struct fields *root, enum limoe_modality modality, struct config *config) {
    static const char *const bare[] = {"CLIPVisionModel", "CLIPTextModel"};
    const cJSON *class = cJSON_GetArrayItem(fields_find(root, "architectures"), 0);
    if (!cJSON_IsString(class) || strcmp(class->valuestring, bare[modality]) != 0)
        return;
    config->image.projection = config->text.projection = false;
    config->embed = config->tower[modality].width;
}

void config_read_transformers(const struct fields *root, struct config *config) {
    const char *types[FAMILIES + 1] = {NULL};
    for (size_t i = 0; i < FAMILIES; i++)
        types[i] = families[i].type;
    const struct family *family = &families[fields_word(root, "model_type", types, 0)];
    const bool whole = family->read_image && family->read_text;
    config->format = family->format;
    config->towers = 2;
    config->scores = family->format == CONFIG_SIGLIP ? CONFIG_SIGMOID : CONFIG_SOFTMAX;
    if (family->format != CONFIG_SIGLIP)
        config->embed = fields_integer(root, "projection_dim", 1, CONFIG_MAX_EMBED, 512);
    const struct fields image = whole ? enter(root, true) : *root, text = whole ? enter(root, false) : *root;
    if (family->read_image)
        family->read_image(&image, config);
    if (family->read_text)
        family->read_text(&text, config);
    if (!whole)
        read_bare(root, family->read_image ? LIMOE_IMAGE : LIMOE_TEXT, config);
}
