/* fuzz_image.c - any bytes, as a picture: measured, decoded, turned, flattened and resized in each mode. The
 * last byte's low bits choose the mode, so that the corpus files stay pictures that viewers open. What is
 * decoded must not have more pixels than its header was measured to announce. */
#include <stdint.h>
#include <stdlib.h>

#include "model/image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_measure(const uint8_t *data, size_t size, const struct limoe_image_limits *limits) {
    struct image image;
    uint32_t width, height;
    if (limoe_image_measure(data, size, &width, &height) &&
        image_decode(data, size, limits, &image, NULL) == LIMOE_OK) {
        if ((uint64_t)width * height < (uint64_t)image.width * image.height)
            abort();
        image_free(&image);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum config_resize modes[4] = {CONFIG_PAD, CONFIG_SQUASH, CONFIG_CROP, CONFIG_PAD};
    struct config config = {.image = {.size = 16, .background = {255, 128, 0}}};
    config.image.resize = modes[size ? data[size - 1] & 3 : 0];
    struct limoe_image_limits limits = {.max_bytes = 1 << 20, .max_pixels = 1 << 16};
    struct limoe_error err = {0};
    uint8_t pixels[16 * 16 * 3];
    if (image_preprocess(data, size, &limits, &config, pixels, &err) != LIMOE_OK && err.message[0] == 0)
        abort(); /* a failure without a reason is a finding too */
    check_measure(data, size, &limits);
    return 0;
}
