/* preprocess_open_clip.c - reads "preprocess_cfg" of open_clip_config.json, as OpenCLIP's image_transform
 * follows it for inference. Keys that OpenCLIP does not know change nothing there, nor here. No state. */
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/fields.h"
#include "model/checkpoint/preprocess_config.h"

#define MAX_MEAN   1e4
#define MIN_STD    1e-5
#define MAX_STD    1e4
#define USUAL_SIDE 224u

static uint32_t read_side(const struct fields *vision) {
    static const char key[] = "image_size";
    const cJSON *item = fields_find(vision, key);
    uint32_t height, width;
    if (!cJSON_IsArray(item))
        return fields_integer(vision, key, 1, PREPROCESS_MAX_SIDE, USUAL_SIDE);
    if (fields_pair(vision, key, 1, PREPROCESS_MAX_SIDE, &height, &width) && height != width)
        fields_fail(vision, LIMOE_UNSUPPORTED, "\"%s%s\" makes pictures of %u x %u; a square is accepted",
                    vision->prefix, key, height, width);
    return height;
}

static void read_picture(const struct fields *f, uint32_t side, struct limoe_preprocess *picture) {
    static const char *const colours[] = {"RGB", NULL};
    static const char *const resizes[] = {"shortest", "longest", "squash", NULL};
    static const enum limoe_resize resize[] = {LIMOE_SHORTEST, LIMOE_LONGEST, LIMOE_SQUASH};
    static const char *const interpolations[] = {"bicubic", "bilinear", "random", NULL};
    static const enum limoe_filter filter[] = {LIMOE_BICUBIC, LIMOE_BILINEAR, LIMOE_BICUBIC};
    fields_word(f, "mode", colours, 0);
    *picture = (struct limoe_preprocess){
        .size = side,
        .resize = resize[fields_word(f, "resize_mode", resizes, 0)],
        .width = side,
        .height = side,
        .filter = filter[fields_word(f, "interpolation", interpolations, 0)],
        .middle = LIMOE_MIDDLE_EVEN,
        .drop_alpha = true,
    };
    const uint32_t fill = fields_integer(f, "fill_color", 0, 255, 0);
    memset(picture->margin, (int)fill, sizeof picture->margin);
}

static void read_numbers(const struct fields *f, struct preprocess_config *out) {
    static const float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
    static const float std[3] = {0.26862954f, 0.26130258f, 0.27577711f};
    memcpy(out->mean, mean, sizeof mean);
    memcpy(out->std, std, sizeof std);
    fields_channels(f, "mean", true, -MAX_MEAN, MAX_MEAN, out->mean);
    fields_channels(f, "std", true, MIN_STD, MAX_STD, out->std);
}

enum limoe_status preprocess_read_open_clip(const cJSON *document, const char *where,
                                            struct preprocess_config *out, struct limoe_error *err) {
    struct limoe_error own;
    struct fields_report report = {.where = where, .err = err ? err : &own};
    const struct fields root = {&report, document, ""};
    const struct fields model = fields_enter(&root, "model_cfg", "model_cfg.", false);
    const struct fields vision = fields_enter(&model, "vision_cfg", "model_cfg.vision_cfg.", false);
    const uint32_t side = read_side(&vision);
    const struct fields f = fields_enter(&root, "preprocess_cfg", "preprocess_cfg.", true);
    read_picture(&f, side, &out->picture);
    read_numbers(&f, out);
    return report.status;
}
