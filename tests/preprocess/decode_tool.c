/* decode_tool.c - shows the Python tests what model/image/ makes of a file.
 *
 *   decode_tool decode FILE                                  "width height channels\n", then the pixels
 *   decode_tool preprocess SIZE pad|squash|crop BACKGROUND FILE   SIZE x SIZE x 3 pixels; BACKGROUND as
 * rrggbb
 *
 * An error goes to stderr as "status: message", with exit status 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/image/image.h"

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    if (file && fseek(file, 0, SEEK_END) == 0) {
        long end = ftell(file);
        rewind(file);
        bytes = malloc((size_t)end + 1);
        *size = bytes ? fread(bytes, 1, (size_t)end, file) : 0;
    }
    if (file)
        fclose(file);
    return bytes;
}

static int report(const struct limoe_error *err) {
    fprintf(stderr, "%s: %s\n", limoe_status_name(err->status), err->message);
    return 1;
}

static int decode(const char *path) {
    size_t size = 0;
    uint8_t *bytes = read_file(path, &size);
    struct image image;
    struct limoe_error err;
    enum limoe_status status = image_decode(bytes, size, NULL, &image, &err);
    free(bytes);
    if (status != LIMOE_OK)
        return report(&err);
    printf("%u %u %u\n", image.width, image.height, image.channels);
    fwrite(image.pixels, (size_t)image.width * image.channels, image.height, stdout);
    image_free(&image);
    return 0;
}

static int preprocess(uint32_t side, const char *mode, const char *background, const char *path) {
    struct limoe_preprocess how = {.size = side, .filter = LIMOE_BICUBIC, .middle = LIMOE_MIDDLE_EVEN};
    how.resize = strcmp(mode, "crop") == 0     ? LIMOE_CROP
                 : strcmp(mode, "squash") == 0 ? LIMOE_SQUASH
                                               : LIMOE_PAD;
    unsigned long rgb = strtoul(background, NULL, 16);
    for (int c = 0; c < 3; c++)
        how.background[c] = how.margin[c] = (uint8_t)(rgb >> (16 - 8 * c));
    size_t size = 0;
    uint8_t *bytes = read_file(path, &size);
    uint8_t *pixels = malloc((size_t)side * side * 3);
    struct limoe_error err = {.status = LIMOE_NO_MEMORY, .message = "no memory"};
    enum limoe_status status =
        pixels ? image_preprocess(bytes, size, NULL, &how, pixels, &err) : LIMOE_NO_MEMORY;
    if (status == LIMOE_OK)
        fwrite(pixels, (size_t)side * 3, side, stdout);
    free(pixels);
    free(bytes);
    return status == LIMOE_OK ? 0 : report(&err);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "decode") == 0)
        return decode(argv[2]);
    if (argc == 6 && strcmp(argv[1], "preprocess") == 0)
        return preprocess((uint32_t)strtoul(argv[2], NULL, 10), argv[3], argv[4], argv[5]);
    fprintf(stderr, "usage: decode_tool decode FILE | decode_tool preprocess SIZE MODE RRGGBB FILE\n");
    return 2;
}
