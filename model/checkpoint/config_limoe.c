/* config_limoe.c - config.json of limoe's own formats (docs/format.md): "limoe-1", one tower for both modalities, and
 * "limoe-2", a tower for each. Whatever is not fully understood is refused. No state, no threads. */
#include <stdio.h>
#include <string.h>

#include "model/checkpoint/config_format.h"
#include "model/checkpoint/strict_json.h"

#define MAX_GROUP    1048576u
#define MAX_CAPACITY 64.0

static const char *const activations[] = {
    [CONFIG_GELU_TANH] = "gelu_tanh", [CONFIG_GELU] = "gelu", [CONFIG_QUICK_GELU] = "quick_gelu", NULL};

static void read_name(struct fields *f, const cJSON *root, struct config *config) {
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const cJSON *item = fields_find(f, root, "name");
    const char *name = cJSON_IsString(item) ? item->valuestring : "";
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof config->name || strspn(name, safe) != length || name[0] == '.' ||
        name[0] == '-') {
        char found[METADATA_DESCRIPTION];
        fields_fail(
            f, LIMOE_CORRUPT,
            "\"name\" is %s; 1 to %zu letters, digits, '.', '_' and '-' are accepted, not starting with "
            "'.' or "
            "'-'",
            metadata_describe(item, found), sizeof config->name - 1);
        return;
    }
    memcpy(config->name, name, length + 1);
}

/* The sizes of a transformer; `prefix` is what its fields' paths begin with. */
static void read_sizes(struct fields *f, const cJSON *object, const char *prefix,
                       struct config_tower *tower) {
    char path[64], width[64];
#define PATH(key) (snprintf(path, sizeof path, "%s%s", prefix, key), path)
    tower->width = fields_integer(f, object, PATH("width"), 1, CONFIG_MAX_WIDTH);
    tower->blocks = fields_integer(f, object, PATH("blocks"), 1, CONFIG_MAX_BLOCKS);
    tower->heads = fields_integer(f, object, PATH("heads"), 1, tower->width);
    if (tower->width % tower->heads != 0) {
        snprintf(width, sizeof width, "%swidth", prefix);
        fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %u; a multiple of \"%s\" (%u) is accepted", width,
                    tower->width, path, tower->heads);
    }
    tower->mlp = fields_integer(f, object, PATH("mlp"), 1, CONFIG_MAX_MLP);
    tower->activation =
        (enum config_activation)fields_word(f, object, PATH("activation"), activations, CONFIG_GELU_TANH);
    tower->ln_eps = fields_number_or(f, object, PATH("ln_eps"), 1e-12, 0.1, 1e-6);
    tower->qk_norm = fields_bool_or(f, object, PATH("qk_norm"), false);
#undef PATH
}

/* limoe-2: "image.tower", "text.tower". */
static void read_tower(struct fields *f, const cJSON *owner, enum limoe_modality modality,
                       struct config_tower *tower) {
    static const char *const known[] = {"width",   "blocks", "heads",    "mlp",       "activation", "ln_eps",
                                        "qk_norm", "causal", "pre_norm", "late_norm", "pool",       NULL};
    static const char *const pools[] = {
        [CONFIG_POOL_MEAN] = "mean", [CONFIG_POOL_REST] = "rest",           [CONFIG_POOL_FIRST] = "first",
        [CONFIG_POOL_LAST] = "last", [CONFIG_POOL_ATTENTION] = "attention", NULL};
    const bool image = modality == LIMOE_IMAGE;
    const cJSON *object = fields_object(f, owner, image ? "image.tower" : "text.tower");
    fields_known(f, object, image ? "\"image.tower\"" : "\"text.tower\"", known);
    read_sizes(f, object, image ? "image.tower." : "text.tower.", tower);
    tower->causal = fields_bool_or(f, object, image ? "image.tower.causal" : "text.tower.causal", false);
    tower->pre_norm =
        fields_bool_or(f, object, image ? "image.tower.pre_norm" : "text.tower.pre_norm", false);
    tower->late_norm =
        fields_bool_or(f, object, image ? "image.tower.late_norm" : "text.tower.late_norm", false);
    tower->pool = (enum config_pool)fields_word(f, object, image ? "image.tower.pool" : "text.tower.pool",
                                                pools, CONFIG_POOL_MEAN);
}

static void read_pixels(struct fields *f, const cJSON *image, struct config *config) {
    static const char *const resizes[] = {
        [CONFIG_PAD] = "pad", [CONFIG_SQUASH] = "squash", [CONFIG_CROP] = "crop", NULL};
    const cJSON *mean = fields_channels(f, image, "image.mean");
    const cJSON *std = fields_channels(f, image, "image.std");
    const cJSON *background = fields_find(f, image, "image.background");
    char name[64];
    if (background)
        background = fields_channels(f, image, "image.background");
    for (int c = 0; c < 3 && f->status == LIMOE_OK; c++) {
        config->image.mean[c] =
            fields_number_of(f, fields_element(mean, c, "image.mean", name), name, -10, 10);
        config->image.std[c] =
            fields_number_of(f, fields_element(std, c, "image.std", name), name, 1e-3, 100);
        config->image.background[c] = 255;
        if (background) {
            const cJSON *level = fields_element(background, c, "image.background", name);
            config->image.background[c] = (uint8_t)fields_integer_of(f, level, name, 0, 255);
        }
    }
    config->image.resize = (enum config_resize)fields_word(f, image, "image.resize", resizes, CONFIG_PAD);
}

static void read_image(struct fields *f, const cJSON *root, struct config *config) {
    static const char *const known[][10] = {
        [CONFIG_LIMOE_1] = {"size", "patch", "mean", "std", "resize", "background"},
        [CONFIG_LIMOE_2] = {"size", "patch", "mean", "std", "resize", "background", "class_token",
                            "patch_bias", "projection", "tower"},
    };
    const cJSON *image = fields_object(f, root, "image");
    const char *keys[11] = {NULL};
    memcpy(keys, known[config->format], sizeof known[config->format]);
    fields_known(f, image, "\"image\"", keys);
    config->image.size = fields_integer(f, image, "image.size", 1, CONFIG_MAX_IMAGE_SIZE);
    config->image.patch = fields_integer(f, image, "image.patch", 1, config->image.size);
    if (config->image.size % config->image.patch != 0) {
        fields_fail(f, LIMOE_CORRUPT, "\"image.size\" is %u; a multiple of \"image.patch\" (%u) is accepted",
                    config->image.size, config->image.patch);
    }
    config->image.class_token = fields_bool_or(f, image, "image.class_token", false);
    config->image.patch_bias = fields_bool_or(f, image, "image.patch_bias", true);
    config->image.projection = fields_bool_or(f, image, "image.projection", true);
    if (config_image_tokens(config) > CONFIG_MAX_IMAGE_TOKENS) {
        fields_fail(f, LIMOE_CORRUPT,
                    "\"image.size\" %u and \"image.patch\" %u make %u tokens; at most %u are accepted",
                    config->image.size, config->image.patch, config_image_tokens(config),
                    CONFIG_MAX_IMAGE_TOKENS);
    }
    read_pixels(f, image, config);
    if (config->towers == 2)
        read_tower(f, image, LIMOE_IMAGE, &config->tower[LIMOE_IMAGE]);
}

static void read_text(struct fields *f, const cJSON *root, struct config *config) {
    static const char *const known[][8] = {
        [CONFIG_LIMOE_1] = {"vocab", "length", "eos_id", "pad_id", "pad"},
        [CONFIG_LIMOE_2] = {"vocab", "length", "eos_id", "pad_id", "pad", "projection", "projection_bias",
                            "tower"},
    };
    static const char *const pads[] = {[CONFIG_IGNORE] = "ignore", [CONFIG_ATTEND] = "attend", NULL};
    const cJSON *text = fields_object(f, root, "text");
    const char *keys[9] = {NULL};
    memcpy(keys, known[config->format], sizeof known[config->format]);
    fields_known(f, text, "\"text\"", keys);
    config->text.vocab = fields_integer(f, text, "text.vocab", 1, CONFIG_MAX_VOCAB);
    config->text.length = fields_integer(f, text, "text.length", 1, CONFIG_MAX_TEXT_LENGTH);
    config->text.eos_id = (int32_t)fields_integer(f, text, "text.eos_id", 0, config->text.vocab - 1);
    config->text.pad = (enum config_pad)fields_word(f, text, "text.pad", pads, CONFIG_IGNORE);
    if (config->text.pad == CONFIG_ATTEND || fields_find(f, text, "text.pad_id"))
        config->text.pad_id = (int32_t)fields_integer(f, text, "text.pad_id", 0, config->text.vocab - 1);
    config->text.projection = fields_bool_or(f, text, "text.projection", true);
    config->text.projection_bias = fields_bool_or(f, text, "text.projection_bias", false);
    if (config->towers == 2)
        read_tower(f, text, LIMOE_TEXT, &config->tower[LIMOE_TEXT]);
}

/* Appends the blocks of a tower that hold experts; `path` names the array. */
static void read_moe_blocks(struct fields *f, const cJSON *moe, const char *path,
                            enum limoe_modality modality, struct config *config) {
    const uint32_t blocks = config->tower[modality].blocks, first = config_first_block(config, modality);
    if (f->status != LIMOE_OK || config_blocks(config) > CONFIG_MAX_BLOCKS) /* which is refused */
        return;
    const cJSON *array = fields_find(f, moe, path);
    char name[64], found[METADATA_DESCRIPTION];
    if (!cJSON_IsArray(array)) {
        fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %s; an array of block indices is accepted", path,
                    metadata_describe(array, found));
        return;
    }
    int n = cJSON_GetArraySize(array);
    if (n < 1 || n > (int)blocks) {
        fields_fail(f, LIMOE_CORRUPT,
                    "\"%s\" has %d elements; 1 to %u are accepted (a dense model has no \"moe\")", path, n,
                    blocks);
        return;
    }
    uint32_t least = 0, i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, array) {
        snprintf(name, sizeof name, "%s[%u]", path, i++);
        uint32_t block = fields_integer_of(f, item, name, 0, blocks - 1);
        if (block < least) {
            fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %u after %u; ascending block indices are accepted", name,
                        block, least - 1);
        }
        config->moe.block[config->moe.layers++] = first + block;
        least = block + 1;
    }
}

static void read_capacity(struct fields *f, const cJSON *moe, struct config *config) {
    if (fields_find(f, moe, "moe.capacity")) {
        config->moe.capacity = fields_number_or(f, moe, "moe.capacity", 1e-3, MAX_CAPACITY, 0);
        config->moe.group = fields_integer_or(f, moe, "moe.group", 1, MAX_GROUP, 0);
        config->moe.priority = fields_bool_or(f, moe, "moe.priority", false);
    } else if (fields_find(f, moe, "moe.group") || fields_find(f, moe, "moe.priority")) {
        fields_fail(f, LIMOE_CORRUPT, "\"moe.%s\" is accepted only beside \"moe.capacity\"",
                    fields_find(f, moe, "moe.group") ? "group" : "priority");
    }
}

static void read_moe(struct fields *f, const cJSON *root, struct config *config) {
    static const char *const one[] = {"blocks",   "experts", "top_k",    "renormalize",
                                      "capacity", "group",   "priority", NULL};
    static const char *const two[] = {"image", "text", "experts", "top_k", "renormalize", NULL};
    if (!fields_find(f, root, "moe"))
        return; /* a dense model */
    const cJSON *moe = fields_object(f, root, "moe");
    fields_known(f, moe, "\"moe\"", config->towers == 1 ? one : two);
    if (config->towers == 1) {
        read_moe_blocks(f, moe, "moe.blocks", LIMOE_IMAGE, config);
    } else {
        if (fields_find(f, moe, "moe.image") || !fields_find(f, moe, "moe.text"))
            read_moe_blocks(f, moe, "moe.image", LIMOE_IMAGE, config);
        if (fields_find(f, moe, "moe.text"))
            read_moe_blocks(f, moe, "moe.text", LIMOE_TEXT, config);
    }
    config->moe.experts = fields_integer(f, moe, "moe.experts", 1, CONFIG_MAX_EXPERTS);
    uint32_t most = config->moe.experts < CONFIG_MAX_TOP_K ? config->moe.experts : CONFIG_MAX_TOP_K;
    config->moe.top_k = fields_integer(f, moe, "moe.top_k", 1, most);
    config->moe.renormalize = fields_bool_or(f, moe, "moe.renormalize", false);
    read_capacity(f, moe, config);
}

void config_read_limoe(struct fields *f, const cJSON *root, struct config *config) {
    static const char *const one[] = {"format",  "name",  "width", "blocks",     "heads",
                                      "mlp",     "embed", "pool",  "activation", "ln_eps",
                                      "qk_norm", "image", "text",  "moe",        NULL};
    static const char *const two[] = {"format", "name", "embed", "scores", "image", "text", "moe", NULL};
    static const char *const formats[] = {[CONFIG_LIMOE_1] = "limoe-1", [CONFIG_LIMOE_2] = "limoe-2", NULL};
    static const char *const scores[] = {[CONFIG_SOFTMAX] = "softmax", [CONFIG_SIGMOID] = "sigmoid", NULL};
    static const char *const pools[] = {[CONFIG_POOL_MEAN] = "mean", NULL};
    /* First: the keys of another format mean nothing here. */
    config->format = (enum config_format)fields_word(f, root, "format", formats, CONFIG_LIMOE_1);
    config->towers = config->format == CONFIG_LIMOE_1 ? 1 : 2;
    fields_known(f, root, "", config->towers == 1 ? one : two);
    read_name(f, root, config);
    if (config->towers == 1) {
        read_sizes(f, root, "", &config->tower[LIMOE_IMAGE]);
        fields_word(f, root, "pool", pools, CONFIG_POOL_MEAN);
    }
    config->embed = fields_integer(f, root, "embed", 1, CONFIG_MAX_EMBED);
    config->scores = (enum config_scores)fields_word(f, root, "scores", scores, CONFIG_SOFTMAX);
    read_image(f, root, config);
    read_text(f, root, config);
    if (config->towers == 1)
        config->tower[LIMOE_TEXT] = config->tower[LIMOE_IMAGE];
    read_moe(f, root, config);
}
