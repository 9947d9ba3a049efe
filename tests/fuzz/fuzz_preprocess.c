/* fuzz_preprocess.c - what a folder says about pictures, from anyone: refused with a message, or followed,
 * which is tried on a small picture. The same bytes are read as Hugging Face's and as OpenCLIP's. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint/preprocess_config.h"
#include "model/checkpoint/strict_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME       "file.json"
#define MOST_TRIED 64u /* a larger square takes too long to look at many */

static void check_refusal(enum limoe_status status, const struct limoe_error *err) {
    if (err->status != status || strncmp(err->message, NAME ": ", sizeof NAME + 1) != 0)
        __builtin_trap();
}

static void check_numbers(const struct preprocess_config *config) {
    for (int c = 0; c < 3; c++)
        if (!isfinite((0 - config->mean[c]) / config->std[c]) ||
            !isfinite((1 - config->mean[c]) / config->std[c]))
            __builtin_trap();
}

static void check_picture(const struct limoe_preprocess *picture) {
    static const char file[] = "P6 5 3 255\n0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHI";
    const struct limoe_image_settings settings = {.preprocess = *picture};
    struct limoe_error err;
    if (picture->size == 0 || picture->size > PREPROCESS_MAX_SIDE)
        __builtin_trap();
    if (picture->size > MOST_TRIED)
        return;
    const size_t pixels_size = 3 * (size_t)picture->size * picture->size;
    uint8_t *pixels = malloc(pixels_size);
    if (limoe_process_image_by(&settings, (const uint8_t *)file, sizeof file - 1, pixels, &err) != LIMOE_OK)
        __builtin_trap();
    free(pixels);
}

static void check(enum limoe_status status, const struct preprocess_config *config,
                  const struct limoe_error *err) {
    if (status != LIMOE_OK) {
        check_refusal(status, err);
        return;
    }
    check_numbers(config);
    check_picture(&config->picture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct preprocess_config config;
    struct limoe_error err = {0};
    cJSON *root = NULL;
    enum limoe_status status = strict_json_parse(data, size, NAME, &root, &err);
    if (status != LIMOE_OK) {
        check_refusal(status, &err);
        return 0;
    }
    status = preprocess_read_open_clip(root, NAME, &config, &err);
    check(status, &config, &err);
    status = preprocess_read_hugging_face(root, NAME, "", PREPROCESS_CLIP, &config, &err);
    check(status, &config, &err);
    cJSON_Delete(root);
    return 0;
}
