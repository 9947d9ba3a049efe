/* config_limoe.c - config.json of limoe's own formats (docs/format.md): "limoe-1", one tower for both modalities, and
 * "limoe-2", a tower for each, for one alone, or one for both, and a decoder. Whatever is not fully understood is refused. No
 * state, no threads. */
#include <stdio.h>
#include <string.h>

#include "model/checkpoint/config_format.h"
#include "model/checkpoint/strict_json.h"

#define MAX_GROUP    1048576u
#define MAX_CAPACITY 64.0

static void read_name(const struct fields *f, struct config *config) {
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const cJSON *item = fields_find(f, "name");
    const char *name = cJSON_IsString(item) ? item->valuestring : "";
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof config->name || strspn(name, safe) != length || name[0] == '.' ||
        name[0] == '-') {
        char found[STRICT_JSON_DESCRIPTION];
        fields_fail(
            f, LIMOE_CORRUPT,
            "\"name\" is %s; 1 to %zu letters, digits, '.', '_' and '-' are accepted, not starting with "
            "'.' or "
            "'-'",
            strict_json_describe(item, found), sizeof config->name - 1);
        return;
    }
    memcpy(config->name, name, length + 1);
}

/* The sizes of a transformer: of limoe-1 they stand at the top, of a limoe-2 of one tower in "tower". */
static void read_sizes(const struct fields *f, struct config_tower *tower) {
    static const char *const activations[] = {
        [CONFIG_GELU_TANH] = "gelu_tanh", [CONFIG_GELU] = "gelu", [CONFIG_QUICK_GELU] = "quick_gelu", NULL};
    tower->width = fields_integer_needed(f, "width", 1, CONFIG_MAX_WIDTH);
    tower->blocks = fields_integer_needed(f, "blocks", 1, CONFIG_MAX_BLOCKS);
    tower->heads = fields_integer_needed(f, "heads", 1, tower->width);
    if (tower->width % tower->heads != 0) {
        fields_fail(f, LIMOE_CORRUPT, "\"%swidth\" is %u; a multiple of \"%sheads\" (%u) is accepted",
                    f->prefix, tower->width, f->prefix, tower->heads);
    }
    tower->mlp = fields_integer_needed(f, "mlp", 1, CONFIG_MAX_MLP);
    tower->activation = (enum config_activation)fields_word(f, "activation", activations, CONFIG_GELU_TANH);
    tower->ln_eps = (float)fields_number(f, "ln_eps", 1e-12, 0.1, 1e-6);
    tower->qk_norm = fields_bool(f, "qk_norm", false);
}

/* limoe-2: "tower" of "image" and of "text". */
static void read_tower(const struct fields *owner, const char *prefix, struct config_tower *tower) {
    static const char *const known[] = {"width",   "blocks", "heads",    "mlp",       "activation", "ln_eps",
                                        "qk_norm", "causal", "pre_norm", "late_norm", "pool",       NULL};
    static const char *const pools[] = {
        [CONFIG_POOL_MEAN] = "mean", [CONFIG_POOL_REST] = "rest",           [CONFIG_POOL_FIRST] = "first",
        [CONFIG_POOL_LAST] = "last", [CONFIG_POOL_ATTENTION] = "attention", NULL};
    const struct fields f = fields_enter(owner, "tower", prefix, false);
    fields_known(&f, known);
    read_sizes(&f, tower);
    tower->causal = fields_bool(&f, "causal", false);
    tower->pre_norm = fields_bool(&f, "pre_norm", false);
    tower->late_norm = fields_bool(&f, "late_norm", false);
    tower->pool = (enum config_pool)fields_word(&f, "pool", pools, CONFIG_POOL_MEAN);
}

/* limoe-2: "tower" at the top, which is pictures' and texts'. */
static void read_shared_tower(const struct fields *root, struct config_tower *tower) {
    static const char *const known[] = {"width",      "blocks", "heads",   "mlp",
                                        "activation", "ln_eps", "qk_norm", NULL};
    const struct fields f = fields_enter(root, "tower", "tower.", false);
    fields_known(&f, known);
    read_sizes(&f, tower);
}

/* The preprocessing of limoe's own formats: antialiased bicubic, a transparent picture over the background. */
static void read_pixels(const struct fields *f, struct config *config) {
    static const char *const resizes[] = {"pad", "squash", "crop", NULL};
    static const enum limoe_resize resize[] = {LIMOE_PAD, LIMOE_SQUASH, LIMOE_CROP};
    struct limoe_preprocess *picture = &config->image.picture;
    float background[3] = {255, 255, 255};
    const cJSON *level;
    fields_channels(f, "mean", false, -10, 10, config->image.mean);
    fields_channels(f, "std", false, 1e-3, 100, config->image.std);
    if (!fields_find(f, "mean") || !fields_find(f, "std"))
        fields_refuse(f, LIMOE_CORRUPT, fields_find(f, "mean") ? "std" : "mean", NULL,
                      "an array of 3 (red, green, blue)");
    int i = 0;
    cJSON_ArrayForEach(level, fields_find(f, "background")) {
        char name[32];
        snprintf(name, sizeof name, "background[%d]", i++);
        fields_integer_of(f, level, name, 0, 255);
    }
    fields_channels(f, "background", false, 0, 255, background);
    *picture = (struct limoe_preprocess){
        .size = config->image.size,
        .resize = resize[fields_word(f, "resize", resizes, 0)],
        .filter = LIMOE_BICUBIC,
        .middle = LIMOE_MIDDLE_EVEN,
    };
    for (int c = 0; c < 3; c++)
        picture->background[c] = picture->margin[c] = (uint8_t)background[c];
}

static void read_image(const struct fields *root, struct config *config) {
    static const char *const one[] = {"size", "patch", "mean", "std", "resize", "background", NULL};
    static const char *const two[] = {"size",       "patch",      "mean",        "std",
                                      "resize",     "background", "class_token", "patch_bias",
                                      "projection", "tower",      NULL};
    const struct fields f = fields_enter(root, "image", "image.", false);
    fields_known(&f, config->towers == 1 ? one : two);
    config->image.size = fields_integer_needed(&f, "size", 1, CONFIG_MAX_IMAGE_SIZE);
    config->image.patch = fields_integer_needed(&f, "patch", 1, config->image.size);
    if (config->image.size % config->image.patch != 0) {
        fields_fail(&f, LIMOE_CORRUPT, "\"image.size\" is %u; a multiple of \"image.patch\" (%u) is accepted",
                    config->image.size, config->image.patch);
    }
    config->image.class_token = fields_bool(&f, "class_token", false);
    config->image.patch_bias = fields_bool(&f, "patch_bias", true);
    config->image.projection = fields_bool(&f, "projection", true);
    if (config_image_tokens(config) > CONFIG_MAX_IMAGE_TOKENS) {
        fields_fail(&f, LIMOE_CORRUPT,
                    "\"image.size\" %u and \"image.patch\" %u make %u tokens; at most %u are accepted",
                    config->image.size, config->image.patch, config_image_tokens(config),
                    CONFIG_MAX_IMAGE_TOKENS);
    }
    read_pixels(&f, config);
    if (config->towers == 2)
        read_tower(&f, "image.tower.", &config->tower[LIMOE_IMAGE]);
}

static void read_text(const struct fields *root, struct config *config) {
    static const char *const one[] = {"vocab", "length", "eos_id", "pad_id", "pad", NULL};
    static const char *const two[] = {"vocab",      "length",          "eos_id", "pad_id", "pad",
                                      "projection", "projection_bias", "tower",  NULL};
    static const char *const pads[] = {[CONFIG_IGNORE] = "ignore", [CONFIG_ATTEND] = "attend", NULL};
    const struct fields f = fields_enter(root, "text", "text.", false);
    fields_known(&f, config->towers == 1 ? one : two);
    config->text.vocab = fields_integer_needed(&f, "vocab", 1, CONFIG_MAX_VOCAB);
    config->text.length = fields_integer_needed(&f, "length", 1, CONFIG_MAX_TEXT_LENGTH);
    config->text.eos_id = (int32_t)fields_integer_needed(&f, "eos_id", 0, config->text.vocab - 1);
    config->text.pad = (enum config_pad)fields_word(&f, "pad", pads, CONFIG_IGNORE);
    if (config->text.pad == CONFIG_ATTEND || fields_find(&f, "pad_id"))
        config->text.pad_id = (int32_t)fields_integer_needed(&f, "pad_id", 0, config->text.vocab - 1);
    config->text.projection = fields_bool(&f, "projection", true);
    config->text.projection_bias = fields_bool(&f, "projection_bias", false);
    if (config->towers == 2)
        read_tower(&f, "text.tower.", &config->tower[LIMOE_TEXT]);
}

/* Appends the blocks of a tower that hold experts. */
static void read_moe_blocks(const struct fields *f, const char *key, enum limoe_modality modality,
                            struct config *config) {
    const uint32_t blocks = config->tower[modality].blocks, first = config_first_block(config, modality);
    const cJSON *array = fields_find(f, key), *item;
    if (f->report->status != LIMOE_OK || config_blocks(config) > CONFIG_MAX_BLOCKS) /* which is refused */
        return;
    if (!cJSON_IsArray(array)) {
        fields_refuse(f, LIMOE_CORRUPT, key, array, "an array of block indices");
        return;
    }
    if (!config_has(config, modality)) {
        fields_fail(f, LIMOE_CORRUPT, "\"%s%s\" is there, and \"%s\" is not", f->prefix, key, key);
        return;
    }
    int n = cJSON_GetArraySize(array);
    if (n < 1 || n > (int)blocks) {
        fields_fail(f, LIMOE_CORRUPT,
                    "\"%s%s\" has %d elements; 1 to %u are accepted (a dense model has no \"moe\")",
                    f->prefix, key, n, blocks);
        return;
    }
    uint32_t least = 0, i = 0;
    cJSON_ArrayForEach(item, array) {
        char name[32];
        snprintf(name, sizeof name, "%s[%u]", key, i++);
        uint32_t block = fields_integer_of(f, item, name, 0, blocks - 1);
        if (block < least) {
            fields_fail(f, LIMOE_CORRUPT, "\"%s%s\" is %u after %u; ascending block indices are accepted",
                        f->prefix, name, block, least - 1);
        }
        config->moe.block[config->moe.layers++] = first + block;
        least = block + 1;
    }
}

static void read_capacity(const struct fields *f, struct config *config) {
    if (fields_find(f, "capacity")) {
        config->moe.capacity = (float)fields_number(f, "capacity", 1e-3, MAX_CAPACITY, 0);
        config->moe.group = fields_integer(f, "group", 1, MAX_GROUP, 0);
        config->moe.priority = fields_bool(f, "priority", false);
    } else if (fields_find(f, "group") || fields_find(f, "priority")) {
        fields_fail(f, LIMOE_CORRUPT, "\"moe.%s\" is accepted only beside \"moe.capacity\"",
                    fields_find(f, "group") ? "group" : "priority");
    }
}

static void read_moe(const struct fields *root, struct config *config) {
    static const char *const one[] = {"blocks",   "experts", "top_k",    "renormalize",
                                      "capacity", "group",   "priority", NULL};
    static const char *const shared[] = {"blocks", "experts", "top_k", "renormalize", NULL};
    static const char *const two[] = {"image", "text", "experts", "top_k", "renormalize", NULL};
    if (!fields_find(root, "moe"))
        return; /* a dense model */
    const struct fields f = fields_enter(root, "moe", "moe.", false);
    fields_known(&f, config->towers == 2 ? two : config->format == CONFIG_LIMOE_1 ? one : shared);
    if (config->towers == 1) {
        read_moe_blocks(&f, "blocks", LIMOE_IMAGE, config);
    } else {
        if (fields_find(&f, "image") || !fields_find(&f, "text"))
            read_moe_blocks(&f, "image", LIMOE_IMAGE, config);
        if (fields_find(&f, "text"))
            read_moe_blocks(&f, "text", LIMOE_TEXT, config);
    }
    config->moe.experts = fields_integer_needed(&f, "experts", 1, CONFIG_MAX_EXPERTS);
    uint32_t most = config->moe.experts < CONFIG_MAX_TOP_K ? config->moe.experts : CONFIG_MAX_TOP_K;
    config->moe.top_k = fields_integer_needed(&f, "top_k", 1, most);
    config->moe.renormalize = fields_bool(&f, "renormalize", false);
    read_capacity(&f, config);
}

/* "decoder" of limoe-2, after all that it is made for. */
static void read_decoder(const struct fields *root, struct config *config) {
    static const char *const known[] = {"width",  "blocks", "heads",    "mlp",    "activation",
                                        "ln_eps", "length", "begin_id", "end_id", NULL};
    if (!fields_find(root, "decoder"))
        return;
    const struct fields f = fields_enter(root, "decoder", "decoder.", false);
    fields_known(&f, known);
    if (!config_has_scores(config))
        fields_fail(root, LIMOE_CORRUPT,
                    "\"decoder\" writes texts about pictures, and \"%s\" is missing; it is accepted beside "
                    "\"image\" and \"text\"",
                    config_has(config, LIMOE_IMAGE) ? "text" : "image");
    if (f.report->status != LIMOE_OK) /* without a vocabulary there are no bounds */
        return;
    if (config->text.vocab < 3)
        fields_fail(
            root, LIMOE_CORRUPT,
            "\"text.vocab\" is %u; 3 or more are accepted with \"decoder\": a begin, an end and a piece",
            config->text.vocab);
    read_sizes(&f, &config->decoder.tower);
    config->decoder.length = fields_integer_needed(&f, "length", 1, CONFIG_MAX_CAPTION);
    config->decoder.begin_id = (int32_t)fields_integer_needed(&f, "begin_id", 0, config->text.vocab - 1);
    config->decoder.end_id = (int32_t)fields_integer_needed(&f, "end_id", 0, config->text.vocab - 1);
    if (config->decoder.begin_id == config->decoder.end_id)
        fields_fail(&f, LIMOE_CORRUPT,
                    "\"decoder.end_id\" is %d, which \"decoder.begin_id\" is too; two ids are accepted",
                    config->decoder.end_id);
}

/* Of two towers one may be missing. */
static void read_modalities(const struct fields *f, struct config *config) {
    const bool image = fields_find(f, "image"), text = fields_find(f, "text"), one = config->towers == 1;
    if (!one && !image && !text)
        fields_fail(f, LIMOE_CORRUPT, "neither \"image\" nor \"text\" is there; one or both are accepted");
    if (one || image)
        read_image(f, config);
    if (one || text)
        read_text(f, config);
    if (!one && !(image && text) && fields_find(f, "scores"))
        fields_fail(f, LIMOE_CORRUPT,
                    "\"scores\" are of pictures by texts; it is accepted beside \"image\" and \"text\"");
}

void config_read_limoe(const struct fields *f, struct config *config) {
    static const char *const one[] = {"format",  "name",  "width", "blocks",     "heads",
                                      "mlp",     "embed", "pool",  "activation", "ln_eps",
                                      "qk_norm", "image", "text",  "moe",        NULL};
    static const char *const two[] = {"format", "name", "embed", "scores",  "tower",
                                      "image",  "text", "moe",   "decoder", NULL};
    static const char *const formats[] = {[CONFIG_LIMOE_1] = "limoe-1", [CONFIG_LIMOE_2] = "limoe-2", NULL};
    static const char *const scores[] = {[CONFIG_SOFTMAX] = "softmax", [CONFIG_SIGMOID] = "sigmoid", NULL};
    static const char *const pools[] = {[CONFIG_POOL_MEAN] = "mean", NULL};
    /* First: the keys of another format mean nothing here. */
    config->format = (enum config_format)fields_word(f, "format", formats, CONFIG_LIMOE_1);
    const bool first = config->format == CONFIG_LIMOE_1;
    config->towers = first || fields_find(f, "tower") ? 1 : 2;
    fields_known(f, first ? one : two);
    read_name(f, config);
    if (first) {
        read_sizes(f, &config->tower[LIMOE_IMAGE]);
        fields_word(f, "pool", pools, CONFIG_POOL_MEAN);
    } else if (config->towers == 1) {
        read_shared_tower(f, &config->tower[LIMOE_IMAGE]);
    }
    config->embed = fields_integer_needed(f, "embed", 1, CONFIG_MAX_EMBED);
    config->scores = (enum config_scores)fields_word(f, "scores", scores, CONFIG_SOFTMAX);
    read_modalities(f, config);
    if (config->towers == 1)
        config->tower[LIMOE_TEXT] = config->tower[LIMOE_IMAGE];
    read_moe(f, config);
    if (!first)
        read_decoder(f, config);
}
