/* test_decode.c - protects decoding: every format gives the pixels it holds, and no file, however broken,
 * does more than fail with a reason. Run under AddressSanitizer, the cut and flipped files are also a search
 * for bad reads: each is a heap block of exactly its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/image/formats.h"
#include "tests/unit/files.h"

struct file {
    uint8_t *bytes;
    size_t size;
};

static struct file load(const char *name) {
    char path[512];
    snprintf(path, sizeof path, DATA "/%s", name);
    struct file file;
    file.bytes = file_read(path, &file.size);
    assert_true(file.size > 0);
    return file;
}

static struct image decode(const char *name) {
    struct file file = load(name);
    struct image image;
    struct limoe_error err = {0};
    if (image_decode(file.bytes, file.size, NULL, &image, &err) != LIMOE_OK)
        fail_msg("%s: %s", name, err.message);
    free(file.bytes);
    return image;
}

/* Decodes bytes that must be refused; returns the status, and the message in *err. */
static enum limoe_status refuse(const void *bytes, size_t size, struct limoe_error *err) {
    uint8_t *copy = malloc(size + !size);
    memcpy(copy, bytes, size);
    *err = (struct limoe_error){0};
    struct image image;
    enum limoe_status status = image_decode(copy, size, NULL, &image, err);
    free(copy);
    assert_int_not_equal(status, LIMOE_OK);
    assert_int_equal(err->status, status);
    assert_int_not_equal(err->message[0], 0);
    assert_null(image.pixels);
    return status;
}

static void assert_refused(const void *bytes, size_t size, enum limoe_status status, const char *reason) {
    struct limoe_error err;
    enum limoe_status found = refuse(bytes, size, &err);
    if (found != status || !strstr(err.message, reason)) {
        fail_msg("found %s: %s; wanted %s: …%s…", limoe_status_name(found), err.message,
                 limoe_status_name(status), reason);
    }
}

static void assert_same(const char *name, const char *truth) {
    struct image image = decode(name), expected = decode(truth);
    assert_int_equal(image.width, expected.width);
    assert_int_equal(image.height, expected.height);
    assert_int_equal(image.channels, expected.channels);
    size_t size = (size_t)image.width * image.height * image.channels;
    for (size_t i = 0; i < size; i++) {
        if (image.pixels[i] != expected.pixels[i]) {
            fail_msg("%s: sample %zu is %u; in %s it is %u", name, i, image.pixels[i], truth,
                     expected.pixels[i]);
        }
    }
    image_free(&image);
    image_free(&expected);
}

static void every_format_gives_its_pixels(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"picture.png", "picture.ppm"},
        {"picture-adam7.png", "picture.ppm"},
        {"picture-16.png", "picture.ppm"},
        {"picture.bmp", "picture.ppm"},
        {"picture.tga", "picture.ppm"},
        {"picture-rle.tga", "picture.ppm"},
        {"picture.psd", "picture.ppm"},
        {"picture-packed.psd", "picture.ppm"},
        {"picture.webp", "picture.ppm"},
        {"picture-animated.webp", "picture.ppm"},
        {"picture-turned.png", "picture.ppm"},
        {"picture-turned.webp", "picture.ppm"},
        {"colours.png", "colours.ppm"},
        {"colours.gif", "colours.ppm"},
        {"colours-interlaced.gif", "colours.ppm"},
        {"colours-animated.gif", "colours.ppm"},
        {"colours.bmp", "colours.ppm"},
        {"colours.tga", "colours.ppm"},
        {"photo.jpg", "photo.ppm"},
        {"photo-progressive.jpg", "photo.ppm"},
        {"cmyk.jpg", "cmyk.ppm"},
        {"picture.tif", "picture.ppm"},
        {"photo.heic", "photo-heic.ppm"},
        {"photo.avif", "photo-avif.ppm"},
        {"alpha.webp", "alpha.png"},
        {"alpha.tga", "alpha.png"},
        {"alpha.psd", "alpha.png"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_same(pairs[i][0], pairs[i][1]);
}

static void the_truth_itself_is_right(void **state) {
    (void)state;
    struct image image = decode("picture.ppm");
    assert_int_equal(image.width, 23);
    assert_int_equal(image.height, 17);
    assert_memory_equal(image.pixels, ((uint8_t[]){0, 0, 0, 11, 0, 37}), 6);
    assert_memory_equal(image.pixels + (3 * 23 + 4) * 3, ((uint8_t[]){250, 20, 30}), 3);
    image_free(&image);

    image = decode("alpha.png");
    assert_int_equal(image.channels, 4);
    assert_int_equal(image.pixels[22 * 4 + 3], 255);
    image_free(&image);

    image = decode("keyed.png"); /* tRNS makes one colour transparent */
    assert_int_equal(image.channels, 4);
    assert_int_equal(image.pixels[3], 255);
    assert_int_equal(image.pixels[(3 * 23 + 4) * 4 + 3], 0);
    image_free(&image);

    image = decode("photo-turned.jpg");
    assert_int_equal(image.width, 17);
    assert_int_equal(image.height, 23);
    image_free(&image);
}

static void assert_pixels(const char *text, size_t size, uint32_t width, uint32_t height,
                          const uint8_t *grey) {
    struct image image;
    struct limoe_error err = {0};
    if (image_decode((const uint8_t *)text, size, NULL, &image, &err) != LIMOE_OK)
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    for (size_t i = 0; i < (size_t)width * height; i++)
        assert_memory_equal(image.pixels + 3 * i, ((uint8_t[]){grey[i], grey[i], grey[i]}), 3);
    image_free(&image);
}

#define BYTES(text) text, sizeof(text) - 1

static void pnm_in_all_its_ways(void **state) {
    (void)state;
    assert_pixels(BYTES("P1\n3 2\n# a comment\n1 0 1\n010"), 3, 2, (uint8_t[]){0, 255, 0, 255, 0, 255});
    assert_pixels(BYTES("P2 2 1 4 0 3"), 2, 1, (uint8_t[]){0, 191});
    assert_pixels(BYTES("P3 1 1 15 7 7 7"), 1, 1, (uint8_t[]){119});
    assert_pixels(BYTES("P4 9 1\n\xAA\x80"), 9, 1, (uint8_t[]){0, 255, 0, 255, 0, 255, 0, 255, 0});
    assert_pixels(BYTES("P5#c\n2 1 1000\n\x03\xE8\x01\xF4"), 2, 1, (uint8_t[]){255, 128});
    assert_pixels(BYTES("P6 1 1 255 \x09\x09\x09"), 1, 1, (uint8_t[]){9});
    assert_refused(BYTES("P2 2 1 4 0 5"), LIMOE_BAD_IMAGE, "over the maximum of 4");
    assert_refused(BYTES("P5 1 1 70000 a"), LIMOE_BAD_IMAGE, "maximum of 70000");
    assert_refused(BYTES("P5 1 1 0 a"), LIMOE_BAD_IMAGE, "maximum of 0");
    assert_refused(BYTES("P2 2 -1 4 0 5"), LIMOE_BAD_IMAGE, "byte 2d");
    assert_refused(BYTES("P1 1 1 2"), LIMOE_BAD_IMAGE, "over the maximum");
    assert_refused(BYTES("P6 0 7 255 "), LIMOE_BAD_IMAGE, "0 x 7");
    assert_refused(BYTES("P6 99999999999999999999 1 255 "), LIMOE_TOO_LARGE, "4294967295 x 1");
    assert_refused(BYTES("P5 60000 60000 255 "), LIMOE_TOO_LARGE, "3600000000 pixels");
}

static void unknown_bytes_are_refused_with_what_is_accepted(void **state) {
    (void)state;
    assert_refused("", 0, LIMOE_BAD_IMAGE, "0 bytes");
    assert_refused(BYTES("hello, I am no picture"), LIMOE_BAD_IMAGE, "68 65 6c 6c 6f");
    assert_refused(BYTES("hello"), LIMOE_BAD_IMAGE,
                   "accepted are JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF, BMP, PNM, TGA and PSD");
    assert_refused(BYTES("\xFF\x0A abc"), LIMOE_UNSUPPORTED,
                   "JPEG XL pictures are not supported; accepted are");
    assert_refused(BYTES("\0\0\0\x20"
                         "ftypisom"),
                   LIMOE_UNSUPPORTED, "ISO media");
    assert_refused(BYTES("<svg xmlns='http://www.w3.org/2000/svg'/>"), LIMOE_UNSUPPORTED, "SVG");
}

static void limits_are_checked_from_the_header(void **state) {
    (void)state;
    /* A PNG of 30,000 x 30,000 that is a header and nothing else worth reading. */
    static const char png[] =
        "\x89PNG\r\n\x1A\n\0\0\0\15IHDR\0\0\x75\x30\0\0\x75\x30\x8\x2\0\0\0\xE9\x45\x6F\xED"
        "\0\0\0\0IDAT\x35\xAF\x06\x1E\0\0\0\0IEND\xAE\x42\x60\x82";
    assert_refused(png, sizeof png - 1, LIMOE_TOO_LARGE,
                   "30000 x 30000 is 900000000 pixels; at most 12500000");
    assert_refused(png, 40, LIMOE_TOO_LARGE, "30000 x 30000"); /* and cut */
    static const char gif[] = "GIF89a\xFF\xFF\xFF\xFF\0\0\0,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;";
    assert_refused(gif, sizeof gif - 1, LIMOE_TOO_LARGE, "65535 x 65535");

    struct file file = load("picture.png");
    struct image image;
    struct limoe_error err;
    struct limoe_image_limits pixels = {.max_pixels = 23 * 17 - 1}, bytes = {.max_bytes = file.size - 1};
    assert_int_equal(image_decode(file.bytes, file.size, &pixels, &image, &err), LIMOE_TOO_LARGE);
    assert_non_null(strstr(err.message, "23 x 17 is 391 pixels; at most 390 are accepted"));
    assert_int_equal(image_decode(file.bytes, file.size, &bytes, &image, &err), LIMOE_TOO_LARGE);
    pixels.max_pixels++;
    pixels.max_bytes = file.size;
    assert_int_equal(image_decode(file.bytes, file.size, &pixels, &image, &err), LIMOE_OK);
    image_free(&image);
    free(file.bytes);
}

static void broken_files_say_why(void **state) {
    (void)state;
    struct file file = load("picture.png");
    file.bytes[25] ^= 2; /* the colour type */
    assert_refused(file.bytes, file.size, LIMOE_BAD_IMAGE, "CRC");
    file.bytes[25] ^= 2;
    assert_refused(file.bytes, 100, LIMOE_BAD_IMAGE, "PNG: truncated after 100 bytes");
    free(file.bytes);

    file = load("photo.jpg");
    assert_refused(file.bytes, file.size - 40, LIMOE_BAD_IMAGE, "JPEG: truncated after");
    assert_refused(file.bytes, 60, LIMOE_BAD_IMAGE, "JPEG: ");
    free(file.bytes);

    file = load("colours.bmp");
    file.bytes[file.size - 2] = 200; /* a colour that the palette of 13 does not have */
    file.bytes[46] = 13;
    assert_refused(file.bytes, file.size, LIMOE_BAD_IMAGE, "BMP: ");
    free(file.bytes);

    static const char no_picture[] = "GIF89a\1\0\1\0\0\0\0;";
    assert_refused(no_picture, sizeof no_picture - 1, LIMOE_BAD_IMAGE, "GIF: no picture");
}

/* How many bytes a file of the format may lose at its end and still hold the whole picture: terminators,
 * checksums, padding. */
static size_t spare(const char *name) {
    static const struct {
        const char *suffix;
        size_t size;
    } ends[] = {{".gif", 5}, {".bmp", 3}, {".tga", 26}, {".jpg", 2}, {".png", 22}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(strrchr(name, '.'), ends[i].suffix) == 0)
            return ends[i].size;
    return 0;
}

static const char *const all[] = {
    "alpha.png",           "alpha.psd",          "alpha.tga",        "alpha.webp",  "cmyk.jpg",
    "colours.bmp",         "colours.gif",        "colours.png",      "colours.tga", "keyed.png",
    "photo.jpg",           "photo.ppm",          "picture.bmp",      "picture.png", "photo-progressive.jpg",
    "picture-16.png",      "picture-adam7.png",  "picture.psd",      "picture.tga", "picture-packed.psd",
    "picture.webp",        "picture-turned.png", "picture.ppm",      "colours.ppm", "colours-interlaced.gif",
    "picture-turned.webp", "picture-rle.tga",    "photo-turned.jpg", "photo.heic",  "photo.avif",
};

static void no_truncated_file_is_a_picture(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct file file = load(all[i]);
        for (size_t n = 0; n + spare(all[i]) < file.size; n++) {
            struct limoe_error err;
            refuse(file.bytes, n, &err);
        }
        free(file.bytes);
    }
}

static bool is_same(const struct image *a, const struct image *b) {
    return a->width == b->width && a->height == b->height && a->channels == b->channels &&
           memcmp(a->pixels, b->pixels, (size_t)a->width * a->height * a->channels) == 0;
}

/* Whatever the bytes say, the answer is a picture or a reason; and a PNG, which sums its bytes, is never
 * another picture. */
static void no_flipped_byte_does_harm(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct file file = load(all[i]);
        struct image whole = decode(all[i]);
        bool summed = strstr(all[i], ".png") != NULL;
        for (size_t at = 0; at < file.size; at++) {
            static const uint8_t masks[] = {0x01, 0x80, 0xFF};
            for (size_t m = 0; m < sizeof masks; m++) {
                file.bytes[at] ^= masks[m];
                struct image image;
                struct limoe_error err = {0};
                struct limoe_image_limits limits = {.max_pixels = 1 << 16};
                enum limoe_status status = image_decode(file.bytes, file.size, &limits, &image, &err);
                assert_true(status != LIMOE_OK || !summed || is_same(&image, &whole));
                assert_true(status == LIMOE_OK ? image.pixels != NULL
                                               : image.pixels == NULL && err.message[0]);
                image_free(&image);
                file.bytes[at] ^= masks[m];
            }
        }
        image_free(&whole);
        free(file.bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_itself_is_right),
        cmocka_unit_test(every_format_gives_its_pixels),
        cmocka_unit_test(pnm_in_all_its_ways),
        cmocka_unit_test(unknown_bytes_are_refused_with_what_is_accepted),
        cmocka_unit_test(limits_are_checked_from_the_header),
        cmocka_unit_test(broken_files_say_why),
        cmocka_unit_test(no_truncated_file_is_a_picture),
        cmocka_unit_test(no_flipped_byte_does_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
