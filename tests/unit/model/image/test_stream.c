/* test_stream.c - protects pictures that are resized as their rows come: the pixels, the refusals and
 * their words are those of a picture that is decoded as a whole first, wherever its file ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/image/formats.h"
#include "model/image/placement.h"
#include "tests/unit/files.h"

static const char *const names[] = {"photo.jpg",         "photo-turned.jpg",  "photo-progressive.jpg",
                                    "cmyk.jpg",          "picture.png",       "alpha.png",
                                    "colours.png",       "keyed.png",         "picture-16.png",
                                    "picture-adam7.png", "picture-turned.png"};
enum { NAMES = sizeof names / sizeof *names, SIDE = 13 };

/* Decoded whole, then turned, flattened and scaled. */
static enum limoe_status prepare_whole(const uint8_t *bytes, size_t size, const struct limoe_preprocess *how,
                                       uint8_t *pixels, struct limoe_error *err) {
    struct image image;
    enum limoe_status status = image_decode(bytes, size, NULL, &image, err);
    if (status != LIMOE_OK)
        return status;
    image_flatten(&image, how->drop_alpha ? NULL : how->background);
    const struct placement p = image_place(image.width, image.height, how);
    for (size_t i = 0; i < SIDE * SIDE; i++)
        memcpy(pixels + 3 * i, how->margin, 3);
    status = image_scale(&image, &p.scaling, pixels + 3 * ((size_t)p.y * SIDE + p.x), 3 * SIDE, err);
    image_free(&image);
    return status;
}

static void check(const char *name, const uint8_t *bytes, size_t size, const struct limoe_preprocess *how) {
    uint8_t expected[SIDE * SIDE * 3], found[SIDE * SIDE * 3];
    struct limoe_error whole = {0}, streamed = {0};
    uint8_t *copy = malloc(size); /* of its size: a sanitizer sees what is read behind it */
    memcpy(copy, bytes, size);
    const enum limoe_status status = prepare_whole(copy, size, how, expected, &whole);
    assert_int_equal(image_preprocess(copy, size, NULL, how, found, &streamed), status);
    free(copy);
    if (status == LIMOE_OK ? memcmp(found, expected, sizeof found) != 0
                           : strcmp(whole.message, streamed.message) != 0)
        fail_msg("%s, %zu bytes, resize %d, filter %d: %s; as a whole: %s", name, size, (int)how->resize,
                 (int)how->filter, streamed.message, whole.message);
}

static struct limoe_preprocess preprocessing(enum limoe_resize resize, enum limoe_filter filter) {
    return (struct limoe_preprocess){.size = SIDE,
                                     .resize = resize,
                                     .width = 15,
                                     .height = 19,
                                     .filter = filter,
                                     .drop_alpha = filter == LIMOE_BOX,
                                     .background = {255, 128, 16},
                                     .margin = {1, 2, 3}};
}

static void each_way_is_that_of_a_whole_picture(void **state) {
    (void)state;
    for (size_t i = 0; i < NAMES; i++) {
        size_t size;
        char path[512];
        snprintf(path, sizeof path, DATA "/%s", names[i]);
        uint8_t *bytes = file_read(path, &size);
        for (int resize = LIMOE_PAD; resize <= LIMOE_LONGEST; resize++) {
            for (int filter = LIMOE_NEAREST; filter <= LIMOE_HAMMING; filter++) {
                const struct limoe_preprocess how =
                    preprocessing((enum limoe_resize)resize, (enum limoe_filter)filter);
                check(names[i], bytes, size, &how);
            }
        }
        free(bytes);
    }
}

static void a_file_may_end_anywhere(void **state) {
    (void)state;
    const struct limoe_preprocess how = preprocessing(LIMOE_SHORTEST, LIMOE_BICUBIC);
    size_t whole = 0;
    for (size_t i = 0; i < NAMES; i++) {
        size_t size;
        char path[512];
        snprintf(path, sizeof path, DATA "/%s", names[i]);
        uint8_t *bytes = file_read(path, &size), pixels[SIDE * SIDE * 3];
        for (size_t cut = 1; cut < size; cut++) {
            check(names[i], bytes, cut, &how);
            whole += image_preprocess(bytes, cut, NULL, &how, pixels, NULL) == LIMOE_OK;
        }
        free(bytes);
    }
    assert_in_range(whole, NAMES, 40 * NAMES); /* what is behind the last pixel may be missing */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_is_that_of_a_whole_picture),
        cmocka_unit_test(a_file_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
