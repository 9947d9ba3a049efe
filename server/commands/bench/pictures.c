/* pictures.c - discs on a gradient, with a little noise so that they compress about as drawings do. */
#include "server/commands/bench/pictures.h"

#include <png.h>
#include <stdlib.h>

#include "server/commands/bench/random.h"

enum { DISCS = 4 };

struct disc {
    int x, y, radius;
    uint8_t colour[3];
};

static void draw(struct random *random, int width, int height, uint8_t *pixels) {
    struct disc discs[DISCS];
    uint8_t from[3];
    for (int c = 0; c < 3; c++)
        from[c] = (uint8_t)random_below(random, 200);
    for (int i = 0; i < DISCS; i++) {
        discs[i].x = (int)random_below(random, (uint32_t)width);
        discs[i].y = (int)random_below(random, (uint32_t)height);
        discs[i].radius = 4 + (int)random_below(random, (uint32_t)width / 3);
        for (int c = 0; c < 3; c++)
            discs[i].colour[c] = (uint8_t)random_below(random, 250);
    }
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *pixel = pixels + 3 * ((size_t)y * (size_t)width + (size_t)x);
            const uint8_t noise = (uint8_t)random_below(random, 4);
            for (int c = 0; c < 3; c++)
                pixel[c] = (uint8_t)(from[c] + x * 48 / width + noise);
            for (int i = 0; i < DISCS; i++) {
                const int dx = x - discs[i].x, dy = y - discs[i].y;
                for (int c = 0; c < 3 && dx * dx + dy * dy <= discs[i].radius * discs[i].radius; c++)
                    pixel[c] = (uint8_t)(discs[i].colour[c] + noise);
            }
        }
}

bool picture_make(uint64_t seed, size_t index, struct arena *arena, struct text *out) {
    static const uint16_t sizes[][2] = {{48, 48}, {96, 80}, {128, 128}, {160, 120}, {224, 224}, {320, 240}};
    const uint16_t *size = sizes[index % (sizeof sizes / sizeof *sizes)];
    struct random random = {seed ^ (index + 1) * UINT64_C(0xd1342543de82ef95)};
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = size[0], .height = size[1], .format = PNG_FORMAT_RGB};
    uint8_t *pixels = malloc(PNG_IMAGE_SIZE(image));
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(image);
    uint8_t *file = arena_alloc(arena, room);
    bool ok = pixels && file;
    if (ok) {
        draw(&random, size[0], size[1], pixels);
        ok = png_image_write_to_memory(&image, file, &room, 0, pixels, 0, NULL);
        *out = (struct text){.data = (const char *)file, .size = room};
    }
    free(pixels);
    return ok;
}
