/* preprocess_hugging_face.c - reads preprocessor_config.json, as transformers 5 reads it.
 *
 * Whatever would change a pixel is followed or refused; the keys in `ignored` are about how that library is
 * called, not about what it computes. No state. */
#include "model/checkpoint/preprocess_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/fields.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/strict_json.h"

#define MAX_FILE      (1u << 20)
#define MAX_SIDE      PREPROCESS_MAX_SIDE
#define SIZE_ACCEPTED "an integer, [height, width], {\"height\", \"width\"} or {\"shortest_edge\"}"
#define CROP_ACCEPTED "an integer, [height, width] or {\"height\", \"width\"}"

/* How far its numbers may go, so that no value of a pixel is infinite. */
#define MIN_FACTOR 1e-6
#define MAX_FACTOR 1e3
#define MAX_MEAN   1e4
#define MIN_STD    1e-5
#define MAX_STD    1e4

static const char *const read[] = {
    "image_processor_type",
    "feature_extractor_type",
    "do_convert_rgb",
    "do_resize",
    "size",
    "default_to_square",
    "use_square_size",
    "resample",
    "crop_size",
    "do_center_crop",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "do_pad",
    NULL,
};

static const char *const ignored[] = {
    "processor_class", "_valid_processor_keys", "data_format",      "input_data_format", "return_tensors",
    "device",          "disable_grouping",      "image_seq_length", "pad_size",          NULL,
};

/* What a class takes for what the file leaves out. */
struct defaults {
    bool shortest; /* 224 is the short side's, and the middle is cut out; else both sides' */
    bool square;   /* an integer as "size" is both sides', else the short one's */
    enum limoe_filter filter;
    float mean[3], std[3];
};

#define OPENAI_MEAN 0.48145466f, 0.4578275f, 0.40821073f
#define OPENAI_STD  0.26862954f, 0.26130258f, 0.27577711f
#define HALF        0.5f, 0.5f, 0.5f
#define USUAL_SIDE  224u

static const struct defaults defaults[] = {
    [PREPROCESS_CLIP] = {true, false, LIMOE_BICUBIC, {OPENAI_MEAN}, {OPENAI_STD}},
    [PREPROCESS_SIGLIP] = {false, false, LIMOE_BICUBIC, {HALF}, {HALF}},
    [PREPROCESS_VIT] = {false, true, LIMOE_BILINEAR, {HALF}, {HALF}},
};

struct size {
    bool shortest; /* only `height` is set, to the short side's */
    uint32_t height, width;
};

static bool is_listed(const char *const *list, const char *key) {
    while (*list && strcmp(*list, key) != 0)
        list++;
    return *list;
}

static void check_known(const struct fields *f) {
    const cJSON *child;
    cJSON_ArrayForEach(child, f->object) {
        if (cJSON_IsNull(child) || is_listed(read, child->string) || is_listed(ignored, child->string))
            continue;
        char name[STRICT_JSON_DESCRIPTION], found[STRICT_JSON_DESCRIPTION];
        fields_fail(
            f, LIMOE_UNSUPPORTED,
            "unknown key %s, which is %s: it may change how pictures are prepared; a file without it is "
            "accepted",
            strict_json_quote(child->string, name), strict_json_describe(child, found));
    }
}

/* Whether `name` is `stem` with any of the endings that one class has had. */
static bool is_class(const char *name, const char *stem) {
    static const char *const endings[] = {"ImageProcessor", "ImageProcessorFast", "ImageProcessorPil",
                                          "FeatureExtractor"};
    const size_t length = strlen(stem);
    if (strncmp(name, stem, length) != 0)
        return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcmp(name + length, endings[i]) == 0)
            return true;
    return false;
}

static enum preprocess_class read_class(const struct fields *f, enum preprocess_class absent) {
    static const struct {
        const char *stem;
        enum preprocess_class is;
    } classes[] = {{"CLIP", PREPROCESS_CLIP},
                   {"ChineseCLIP", PREPROCESS_CLIP},
                   {"Siglip", PREPROCESS_SIGLIP},
                   {"ViT", PREPROCESS_VIT}};
    const bool old = !fields_find(f, "image_processor_type");
    const char *key = old ? "feature_extractor_type" : "image_processor_type";
    const cJSON *item = fields_find(f, key);
    if (!item)
        return absent;
    for (size_t i = 0; cJSON_IsString(item) && i < sizeof classes / sizeof *classes; i++)
        if (is_class(item->valuestring, classes[i].stem))
            return classes[i].is;
    fields_refuse(f, cJSON_IsString(item) ? LIMOE_UNSUPPORTED : LIMOE_CORRUPT, key, item,
                  "\"CLIPImageProcessor\", \"ChineseCLIPImageProcessor\", \"SiglipImageProcessor\" or "
                  "\"ViTImageProcessor\"");
    return absent;
}

/* {"height", "width"} or {"shortest_edge"}, and nothing beside them but nulls. */
static struct size read_size_object(const struct fields *f, const char *key, const cJSON *item,
                                    const char *accepted) {
    static const char *const known[] = {"height", "width", "shortest_edge", NULL};
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%s%s.", f->prefix, key);
    const struct fields inner = {f->report, item, prefix};
    const cJSON *child;
    cJSON_ArrayForEach(child, item) {
        if (!cJSON_IsNull(child) && !is_listed(known, child->string))
            fields_refuse(&inner, LIMOE_UNSUPPORTED, child->string, child, accepted);
    }
    struct size size = {
        .shortest = fields_find(&inner, "shortest_edge"),
        .height = fields_integer(&inner, "height", 1, MAX_SIDE, 0),
        .width = fields_integer(&inner, "width", 1, MAX_SIDE, 0),
    };
    const uint32_t shortest = fields_integer(&inner, "shortest_edge", 1, MAX_SIDE, 0);
    if (size.shortest ? size.height || size.width : !size.height || !size.width)
        fields_refuse(f, LIMOE_UNSUPPORTED, key, item, accepted);
    if (size.shortest)
        size.height = shortest;
    return size;
}

static struct size read_size(const struct fields *f, const char *key, bool square, struct size absent,
                             const char *accepted) {
    const cJSON *item = fields_find(f, key);
    struct size size = absent;
    if (!item)
        return size;
    if (cJSON_IsObject(item))
        return read_size_object(f, key, item, accepted);
    if (cJSON_IsArray(item)) {
        fields_pair(f, key, 1, MAX_SIDE, &size.height, &size.width);
        size.shortest = false;
        return size;
    }
    if (!cJSON_IsNumber(item)) {
        fields_refuse(f, LIMOE_CORRUPT, key, item, accepted);
        return size;
    }
    const uint32_t side = fields_integer(f, key, 1, MAX_SIDE, 0);
    return (struct size){!square, side, square ? side : 0};
}

/* What all pictures end as. */
static void set_square(const struct fields *f, const char *key, struct size size,
                       struct limoe_preprocess *picture) {
    if (size.height != size.width)
        fields_fail(f, LIMOE_UNSUPPORTED, "\"%s%s\" makes pictures of %u x %u; a square is accepted",
                    f->prefix, key, size.height, size.width);
    picture->size = size.height;
}

/* null is not the class's filter but the one of the function that resizes. */
static enum limoe_filter read_filter(const struct fields *f, enum limoe_filter absent) {
    if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(f->object, "resample")))
        return LIMOE_BILINEAR;
    return (enum limoe_filter)fields_integer(f, "resample", LIMOE_NEAREST, LIMOE_HAMMING, absent);
}

static void read_picture(const struct fields *f, const struct defaults *d, struct limoe_preprocess *picture) {
    const struct size usual = {d->shortest, USUAL_SIDE, USUAL_SIDE};
    const struct size usual_crop = {false, USUAL_SIDE, USUAL_SIDE};
    const bool square = fields_bool(f, "default_to_square", d->square);
    const struct size size = read_size(f, "size", square, usual, SIZE_ACCEPTED);
    const bool scaled = fields_bool(f, "do_resize", true);
    *picture = (struct limoe_preprocess){
        .resize = !scaled         ? LIMOE_UNSCALED
                  : size.shortest ? LIMOE_SHORTEST
                                  : LIMOE_EXACT,
        .width = size.shortest ? size.height : size.width,
        .height = size.height,
        .filter = read_filter(f, d->filter),
        .middle = LIMOE_MIDDLE_DOWN,
        .background = {255, 255, 255},
    };
    if (fields_bool(f, "do_center_crop", d->shortest)) {
        const struct size crop = read_size(f, "crop_size", true, usual_crop, CROP_ACCEPTED);
        if (crop.shortest)
            fields_refuse(f, LIMOE_UNSUPPORTED, "crop_size", fields_find(f, "crop_size"), CROP_ACCEPTED);
        set_square(f, "crop_size", crop, picture);
    } else if (!scaled || size.shortest) {
        fields_refuse(
            f, LIMOE_UNSUPPORTED, "do_center_crop", fields_find(f, "do_center_crop"),
            "a crop, or a \"size\" of {\"height\", \"width\"} and \"do_resize\", so that all pictures "
            "become the same square,");
    } else {
        set_square(f, "size", size, picture);
    }
    fields_bool(f, "do_convert_rgb", true); /* what is not RGB cannot be processed without it */
    if (fields_bool(f, "do_pad", false))
        fields_refuse(f, LIMOE_UNSUPPORTED, "do_pad", fields_find(f, "do_pad"), "false");
    if (fields_bool(f, "use_square_size", false))
        fields_refuse(f, LIMOE_UNSUPPORTED, "use_square_size", fields_find(f, "use_square_size"), "false");
}

/* (b * factor - mean) / std, with or without each step, as (b / 255 - mean) / std. */
static void read_numbers(const struct fields *f, const struct defaults *d, struct preprocess_config *out) {
    const double factor = fields_number(f, "rescale_factor", MIN_FACTOR, MAX_FACTOR, 1.0 / 255);
    const double scale = 255 * (fields_bool(f, "do_rescale", true) ? factor : 1);
    const bool normalized = fields_bool(f, "do_normalize", true);
    float mean[3], std[3];
    memcpy(mean, d->mean, sizeof mean);
    memcpy(std, d->std, sizeof std);
    fields_channels(f, "image_mean", true, -MAX_MEAN, MAX_MEAN, mean);
    fields_channels(f, "image_std", true, MIN_STD, MAX_STD, std);
    for (int c = 0; c < 3; c++) {
        out->mean[c] = normalized ? (float)(mean[c] / scale) : 0;
        out->std[c] = (float)((normalized ? std[c] : 1) / scale);
    }
}

enum limoe_status preprocess_read_hugging_face(const cJSON *object, const char *where, const char *prefix,
                                               enum preprocess_class absent, struct preprocess_config *out,
                                               struct limoe_error *err) {
    struct limoe_error own;
    struct fields_report report = {.where = where, .err = err ? err : &own};
    const struct fields f = {&report, object, prefix};
    const enum preprocess_class class = read_class(&f, absent);
    check_known(&f);
    read_picture(&f, &defaults[class], &out->picture);
    read_numbers(&f, &defaults[class], out);
    return report.status;
}

/* *root is NULL where the file is not there. */
static enum limoe_status parse_file(const char *dir, const char *name, uint8_t **bytes, size_t *size,
                                    cJSON **root, struct limoe_error *err) {
    *bytes = NULL;
    *root = NULL;
    if (!file_exists(dir, name))
        return LIMOE_OK;
    enum limoe_status status = file_read(dir, name, MAX_FILE, bytes, size, err);
    if (status == LIMOE_OK)
        status = strict_json_parse(*bytes, *size, name, root, err);
    return status;
}

/* The object in dir/name that says how pictures are prepared; *said is false where there is none. */
static enum limoe_status load(const char *dir, const char *name, const char *key,
                              enum preprocess_class absent, struct fingerprint *fingerprint,
                              struct preprocess_config *out, bool *said, struct limoe_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    cJSON *root = NULL;
    enum limoe_status status = parse_file(dir, name, &bytes, &size, &root, err);
    const cJSON *object = key ? cJSON_GetObjectItemCaseSensitive(root, key) : root;
    *said = object && !cJSON_IsNull(object);
    if (status == LIMOE_OK && *said && !cJSON_IsObject(object)) {
        struct limoe_error own;
        struct fields_report report = {.where = name, .err = err ? err : &own};
        fields_refuse(&(struct fields){&report, root, ""}, LIMOE_CORRUPT, key, object, "an object");
        status = report.status;
    } else if (status == LIMOE_OK && *said) {
        status = preprocess_read_hugging_face(object, name, key ? "image_processor." : "", absent, out, err);
        if (status == LIMOE_OK && fingerprint)
            fingerprint_add(fingerprint, name, bytes, size);
    }
    cJSON_Delete(root);
    free(bytes);
    return status;
}

enum limoe_status preprocess_load_hugging_face(const char *dir, enum preprocess_class absent,
                                               struct fingerprint *fingerprint, struct preprocess_config *out,
                                               struct limoe_error *err) {
    bool said = false;
    enum limoe_status status =
        load(dir, "processor_config.json", "image_processor", absent, fingerprint, out, &said, err);
    if (status != LIMOE_OK || said)
        return status;
    status = load(dir, "preprocessor_config.json", NULL, absent, fingerprint, out, &said, err);
    if (status == LIMOE_OK && !said) {
        return limoe_fail(err, LIMOE_NOT_FOUND,
                          "%.300s has no preprocessor_config.json, nor \"image_processor\" in "
                          "processor_config.json: how are pictures prepared?",
                          dir);
    }
    return status;
}
