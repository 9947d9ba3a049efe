/* config.c - reads config.json into struct config, refusing whatever it does not fully understand.
 *
 * A reader keeps the first failure and makes the later ones silent, so that the fields can be read one below
 * another, in the order of the format, without a branch after each. */
#include "model/checkpoint/config.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/strict_json.h"

#define MAX_FILE         (1u << 20)
#define MAX_IMAGE_TOKENS 65536u
#define MAX_GROUP        1048576u
#define MAX_CAPACITY     64.0

struct reader {
    const char *where;
    struct limoe_error *err;
    enum limoe_status status;
};

/* Records a failure unless there is one already. */
#define FAIL(r, code, ...)                                                                                   \
    do {                                                                                                     \
        if ((r)->status == LIMOE_OK)                                                                         \
            (r)->status = limoe_fail((r)->err, code, __VA_ARGS__);                                           \
    } while (0)

/* The value at `path`, whose last part is its key in `object`: "moe.experts" is "experts" of the object
 * "moe". */
static const cJSON *find(const cJSON *object, const char *path) {
    const char *dot = strrchr(path, '.');
    return cJSON_GetObjectItemCaseSensitive(object, dot ? dot + 1 : path);
}

static void check_known(struct reader *r, const cJSON *object, const char *prefix, const char *const *known) {
    const cJSON *child;
    cJSON_ArrayForEach(child, object) {
        const char *const *k = known;
        while (*k && strcmp(*k, child->string) != 0)
            k++;
        if (!*k) {
            char name[STRICT_JSON_DESCRIPTION];
            FAIL(r, LIMOE_CORRUPT, "%s: unknown key %s%s%s", r->where, strict_json_quote(child->string, name),
                 *prefix ? " in " : "", prefix);
        }
    }
}

/* NULL after a failure, which every reader takes for an empty object: an array's elements have no keys. */
static const cJSON *read_object(struct reader *r, const cJSON *object, const char *path) {
    const cJSON *item = find(object, path);
    if (!cJSON_IsObject(item)) {
        char found[STRICT_JSON_DESCRIPTION];
        FAIL(r, LIMOE_CORRUPT, "%s: \"%s\" is %s; an object is accepted", r->where, path,
             strict_json_describe(item, found));
        return NULL;
    }
    return item;
}

static uint32_t integer(struct reader *r, const cJSON *item, const char *path, uint32_t min, uint32_t max) {
    int64_t value = min;
    if (!strict_json_integer(item, min, max, &value)) {
        char found[STRICT_JSON_DESCRIPTION];
        FAIL(r, LIMOE_CORRUPT, "%s: \"%s\" is %s; an integer from %u to %u is accepted", r->where, path,
             strict_json_describe(item, found), min, max);
    }
    return (uint32_t)value;
}

static uint32_t read_integer(struct reader *r, const cJSON *object, const char *path, uint32_t min,
                             uint32_t max) {
    return integer(r, find(object, path), path, min, max);
}

static float number(struct reader *r, const cJSON *item, const char *path, double min, double max) {
    double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!(value >= min && value <= max)) {
        char found[STRICT_JSON_DESCRIPTION];
        FAIL(r, LIMOE_CORRUPT, "%s: \"%s\" is %s; a number from %g to %g is accepted", r->where, path,
             strict_json_describe(item, found), min, max);
        value = min;
    }
    return (float)value;
}

static bool read_bool(struct reader *r, const cJSON *object, const char *path, bool absent) {
    const cJSON *item = find(object, path);
    if (item && !cJSON_IsBool(item)) {
        char found[STRICT_JSON_DESCRIPTION];
        FAIL(r, LIMOE_CORRUPT, "%s: \"%s\" is %s; true or false is accepted", r->where, path,
             strict_json_describe(item, found));
    }
    return item ? cJSON_IsTrue(item) : absent;
}

/* The index of the string in `accepted`, the first of which is the default. A word that is not there is
 * LIMOE_UNSUPPORTED: the file may be sound and this build too old. */
static int read_word(struct reader *r, const cJSON *object, const char *path, const char *const *accepted) {
    const cJSON *item = find(object, path);
    char list[160] = "", found[STRICT_JSON_DESCRIPTION];
    size_t used = 0;
    if (!item)
        return 0;
    for (int i = 0; accepted[i]; i++) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, accepted[i]) == 0)
            return i;
        const char *before = i == 0 ? "" : accepted[i + 1] ? ", " : " or ";
        int n = snprintf(list + used, sizeof list - used, "%s\"%s\"", before, accepted[i]);
        used += (size_t)n;
    }
    FAIL(r, cJSON_IsString(item) ? LIMOE_UNSUPPORTED : LIMOE_CORRUPT, "%s: \"%s\" is %s; %s is accepted",
         r->where, path, strict_json_describe(item, found), list);
    return 0;
}

/* The i-th of `n` elements of the array at `path`, and its own path ("moe.blocks[2]") for messages. */
static const cJSON *element(const cJSON *array, int i, const char *path, char name[64]) {
    snprintf(name, 64, "%s[%d]", path, i);
    return cJSON_GetArrayItem(array, i);
}

/* Three elements, one a channel; NULL after a failure. */
static const cJSON *read_channels(struct reader *r, const cJSON *object, const char *path) {
    const cJSON *array = find(object, path);
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) != 3) {
        char found[STRICT_JSON_DESCRIPTION];
        if (cJSON_IsArray(array)) {
            FAIL(r, LIMOE_CORRUPT, "%s: \"%s\" has %d elements; 3 (red, green, blue) are accepted", r->where,
                 path, cJSON_GetArraySize(array));
        } else {
            FAIL(r, LIMOE_CORRUPT, "%s: \"%s\" is %s; an array of 3 (red, green, blue) is accepted", r->where,
                 path, strict_json_describe(array, found));
        }
        return NULL;
    }
    return array;
}

static void read_name(struct reader *r, const cJSON *root, struct config *config) {
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const cJSON *item = find(root, "name");
    const char *name = cJSON_IsString(item) ? item->valuestring : "";
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof config->name || strspn(name, safe) != length || name[0] == '.' ||
        name[0] == '-') {
        char found[STRICT_JSON_DESCRIPTION];
        FAIL(r, LIMOE_CORRUPT,
             "%s: \"name\" is %s; 1 to %zu letters, digits, '.', '_' and '-' are accepted, not starting with "
             "'.' or "
             "'-'",
             r->where, strict_json_describe(item, found), sizeof config->name - 1);
        return;
    }
    memcpy(config->name, name, length + 1);
}

static void read_image(struct reader *r, const cJSON *root, struct config *config) {
    static const char *const known[] = {"size", "patch", "mean", "std", "resize", "background", NULL};
    static const char *const resizes[] = {
        [CONFIG_PAD] = "pad", [CONFIG_SQUASH] = "squash", [CONFIG_CROP] = "crop", NULL};
    const cJSON *image = read_object(r, root, "image");
    char name[64];
    check_known(r, image, "\"image\"", known);
    config->image.size = read_integer(r, image, "image.size", 1, CONFIG_MAX_IMAGE_SIZE);
    config->image.patch = read_integer(r, image, "image.patch", 1, config->image.size);
    if (config->image.size % config->image.patch != 0) {
        FAIL(r, LIMOE_CORRUPT, "%s: \"image.size\" is %u; a multiple of \"image.patch\" (%u) is accepted",
             r->where, config->image.size, config->image.patch);
    }
    if (config_image_tokens(config) > MAX_IMAGE_TOKENS) {
        FAIL(r, LIMOE_CORRUPT,
             "%s: \"image.size\" %u and \"image.patch\" %u make %u tokens; at most %u are accepted", r->where,
             config->image.size, config->image.patch, config_image_tokens(config), MAX_IMAGE_TOKENS);
    }

    const cJSON *mean = read_channels(r, image, "image.mean");
    const cJSON *std = read_channels(r, image, "image.std");
    const cJSON *background = find(image, "image.background");
    if (background)
        background = read_channels(r, image, "image.background");
    for (int c = 0; c < 3 && r->status == LIMOE_OK; c++) {
        config->image.mean[c] = number(r, element(mean, c, "image.mean", name), name, -10, 10);
        config->image.std[c] = number(r, element(std, c, "image.std", name), name, 1e-3, 100);
        config->image.background[c] = 255;
        if (background) {
            config->image.background[c] =
                (uint8_t)integer(r, element(background, c, "image.background", name), name, 0, 255);
        }
    }
    config->image.resize = (enum config_resize)read_word(r, image, "image.resize", resizes);
}

static void read_text(struct reader *r, const cJSON *root, struct config *config) {
    static const char *const known[] = {"vocab", "length", "eos_id", "pad_id", "pad", NULL};
    static const char *const pads[] = {[CONFIG_IGNORE] = "ignore", [CONFIG_ATTEND] = "attend", NULL};
    const cJSON *text = read_object(r, root, "text");
    check_known(r, text, "\"text\"", known);
    config->text.vocab = read_integer(r, text, "text.vocab", 1, CONFIG_MAX_VOCAB);
    config->text.length = read_integer(r, text, "text.length", 1, CONFIG_MAX_TEXT_LENGTH);
    config->text.eos_id = (int32_t)read_integer(r, text, "text.eos_id", 0, config->text.vocab - 1);
    config->text.pad = (enum config_pad)read_word(r, text, "text.pad", pads);
    if (config->text.pad == CONFIG_ATTEND || find(text, "text.pad_id"))
        config->text.pad_id = (int32_t)read_integer(r, text, "text.pad_id", 0, config->text.vocab - 1);
}

static void read_moe_blocks(struct reader *r, const cJSON *moe, struct config *config) {
    const cJSON *array = find(moe, "moe.blocks");
    char name[64], found[STRICT_JSON_DESCRIPTION];
    if (!cJSON_IsArray(array)) {
        FAIL(r, LIMOE_CORRUPT, "%s: \"moe.blocks\" is %s; an array of block indices is accepted", r->where,
             strict_json_describe(array, found));
        return;
    }
    int n = cJSON_GetArraySize(array);
    if (n < 1 || n > (int)config->blocks) {
        FAIL(r, LIMOE_CORRUPT,
             "%s: \"moe.blocks\" has %d elements; 1 to %u are accepted (a dense model has no \"moe\")",
             r->where, n, config->blocks);
        return;
    }
    uint32_t least = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, array) {
        uint32_t i = config->moe.layers;
        snprintf(name, sizeof name, "moe.blocks[%u]", i);
        uint32_t block = integer(r, item, name, 0, config->blocks - 1);
        if (block < least) {
            FAIL(r, LIMOE_CORRUPT, "%s: \"%s\" is %u after %u; ascending block indices are accepted",
                 r->where, name, block, least - 1);
        }
        config->moe.block[i] = block;
        config->moe.layers = i + 1;
        least = block + 1;
    }
}

static void read_moe(struct reader *r, const cJSON *root, struct config *config) {
    static const char *const known[] = {"blocks",   "experts", "top_k",    "renormalize",
                                        "capacity", "group",   "priority", NULL};
    if (!find(root, "moe"))
        return; /* a dense model */
    const cJSON *moe = read_object(r, root, "moe");
    check_known(r, moe, "\"moe\"", known);
    read_moe_blocks(r, moe, config);
    config->moe.experts = read_integer(r, moe, "moe.experts", 1, CONFIG_MAX_EXPERTS);
    uint32_t most = config->moe.experts < CONFIG_MAX_TOP_K ? config->moe.experts : CONFIG_MAX_TOP_K;
    config->moe.top_k = read_integer(r, moe, "moe.top_k", 1, most);
    config->moe.renormalize = read_bool(r, moe, "moe.renormalize", false);

    if (find(moe, "moe.capacity")) {
        config->moe.capacity = number(r, find(moe, "moe.capacity"), "moe.capacity", 1e-3, MAX_CAPACITY);
        if (find(moe, "moe.group"))
            config->moe.group = read_integer(r, moe, "moe.group", 1, MAX_GROUP);
        config->moe.priority = read_bool(r, moe, "moe.priority", false);
    } else if (find(moe, "moe.group") || find(moe, "moe.priority")) {
        FAIL(r, LIMOE_CORRUPT, "%s: \"moe.%s\" is accepted only beside \"moe.capacity\"", r->where,
             find(moe, "moe.group") ? "group" : "priority");
    }
}

static void read_config(struct reader *r, const cJSON *root, struct config *config) {
    static const char *const known[] = {"format",  "name",  "width", "blocks",     "heads",
                                        "mlp",     "embed", "pool",  "activation", "ln_eps",
                                        "qk_norm", "image", "text",  "moe",        NULL};
    static const char *const formats[] = {"limoe-1", NULL};
    static const char *const pools[] = {"mean", NULL};
    static const char *const activations[] = {
        [CONFIG_GELU_TANH] = "gelu_tanh", [CONFIG_GELU] = "gelu", [CONFIG_QUICK_GELU] = "quick_gelu", NULL};
    if (!find(root, "format"))
        FAIL(r, LIMOE_CORRUPT, "%s: \"format\" is missing; \"%s\" is accepted", r->where, formats[0]);
    read_word(r, root, "format", formats); /* first: the keys of another format mean nothing here */
    check_known(r, root, "", known);
    read_name(r, root, config);
    config->width = read_integer(r, root, "width", 1, CONFIG_MAX_WIDTH);
    config->blocks = read_integer(r, root, "blocks", 1, CONFIG_MAX_BLOCKS);
    config->heads = read_integer(r, root, "heads", 1, config->width);
    if (config->width % config->heads != 0) {
        FAIL(r, LIMOE_CORRUPT, "%s: \"width\" is %u; a multiple of \"heads\" (%u) is accepted", r->where,
             config->width, config->heads);
    }
    config->mlp = read_integer(r, root, "mlp", 1, CONFIG_MAX_MLP);
    config->embed = read_integer(r, root, "embed", 1, CONFIG_MAX_EMBED);
    read_word(r, root, "pool", pools);
    config->activation = (enum config_activation)read_word(r, root, "activation", activations);
    config->ln_eps = find(root, "ln_eps") ? number(r, find(root, "ln_eps"), "ln_eps", 1e-12, 0.1) : 1e-6f;
    config->qk_norm = read_bool(r, root, "qk_norm", false);
    read_image(r, root, config);
    read_text(r, root, config);
    read_moe(r, root, config);
}

enum limoe_status config_parse(const char *json, size_t size, const char *where, struct config *config,
                               struct limoe_error *err) {
    cJSON *root = NULL;
    enum limoe_status status = strict_json_parse(json, size, where, &root, err);
    if (status != LIMOE_OK)
        return status;
    struct reader r = {.where = where, .err = err, .status = LIMOE_OK};
    memset(config, 0, sizeof *config);
    read_config(&r, root, config);
    cJSON_Delete(root);
    return r.status;
}

enum limoe_status config_load(const char *dir, struct config *config, struct fingerprint *fingerprint,
                              struct limoe_error *err) {
    static const char name[] = "config.json";
    uint8_t *bytes = NULL;
    size_t size = 0;
    enum limoe_status status = file_read(dir, name, MAX_FILE, &bytes, &size, err);
    if (status != LIMOE_OK)
        return status;
    status = config_parse((const char *)bytes, size, name, config, err);
    if (status == LIMOE_OK && fingerprint)
        fingerprint_add(fingerprint, name, bytes, size);
    free(bytes);
    return status;
}

uint32_t config_image_tokens(const struct config *config) {
    uint32_t side = config->image.size / config->image.patch;
    return side * side;
}

bool config_is_moe(const struct config *config, uint32_t block) {
    for (uint32_t i = 0; i < config->moe.layers && config->moe.block[i] <= block; i++)
        if (config->moe.block[i] == block)
            return true;
    return false;
}
