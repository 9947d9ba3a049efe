/* fuzz_image.c - any bytes, as a picture: measured, decoded, turned, flattened and resized in each way, by each
 * filter. The last byte chooses both, so that the corpus files stay pictures that viewers open. What is
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
    const uint8_t choice = size ? data[size - 1] : 0;
    const struct limoe_preprocess how = {
        .size = 16,
        .resize = (enum limoe_resize)(choice % (LIMOE_LONGEST + 1)),
        .width = 19,
        .height = 13,
        .filter = (enum limoe_filter)(choice / 8 % (LIMOE_HAMMING + 1)),
        .middle = choice & 1 ? LIMOE_MIDDLE_EVEN : LIMOE_MIDDLE_DOWN,
        .drop_alpha = choice & 2,
        .background = {255, 128, 0},
    };
    struct limoe_image_limits limits = {.max_bytes = 1 << 20, .max_pixels = 1 << 16};
    struct limoe_error err = {0};
    uint8_t pixels[16 * 16 * 3];
    if (image_preprocess(data, size, &limits, &how, pixels, &err) != LIMOE_OK && err.message[0] == 0)
        abort(); /* a failure without a reason is a finding too */
    check_measure(data, size, &limits);
    return 0;
}
