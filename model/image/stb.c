/* stb.c - stb_image behind its callbacks: three formats, no files, memory from allocate.c alone.
 *
 * How much one picture may allocate is kept by thread, since stb_image's allocator has no argument for it. */
#include "model/image/stb.h"

#include <stdlib.h>

/* The most that its readers hold at a time: four channels, and four again while they are converted. */
#define BYTES_PER_PIXEL 8u
#define SPARE           4096u

static _Thread_local uint64_t budget; /* bytes that the picture in hand may still allocate */

static void *allocate(size_t size) {
    return image_allocate_within(&budget, size);
}

/* It declares what the other formats would need; the warning comes at the end of the file. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_TGA
#define STBI_ONLY_PSD
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_NO_SIMD
#define STBI_NO_LINEAR
#define STBI_ASSERT(condition)     ((void)0)
#define STBI_MALLOC(size)          allocate(size)
#define STBI_REALLOC(memory, size) NULL /* none of the three readers asks for it */
#define STBI_FREE(memory)          free(memory)
#include <stb/stb_image.h>

struct reading {
    struct source *source;
    uintptr_t window; /* where stb_image's own buffer lies, which it fills as far as there is something */
    bool overrun;     /* bytes were asked for that are not there */
};

/* Where memory lies, in blocks of 16 bytes: enough to tell a buffer from another, no way back to it. */
static uintptr_t block_of(const char *memory) {
    return (uintptr_t)memory / 16;
}

static int on_read(void *user, char *to, int n) {
    struct reading *reading = user;
    size_t had = source_read(reading->source, (uint8_t *)to, (size_t)n);
    reading->window = reading->window ? reading->window : block_of(to); /* it is filled first */
    if (had == 0 || (block_of(to) != reading->window && had < (size_t)n))
        reading->overrun = true;
    return (int)had;
}

static void on_skip(void *user, int n) {
    struct reading *reading = user;
    if (n > 0 && source_read(reading->source, NULL, (size_t)n) < (size_t)n)
        reading->overrun = true;
}

static int on_eof(void *user) {
    const struct reading *reading = user;
    return reading->source->current == reading->source->count;
}

enum limoe_status image_read_stb(const char *format, const struct input *input, struct source *source,
                                 uint32_t width, uint32_t height, uint32_t channels, uint8_t **pixels,
                                 struct limoe_error *err) {
    static const stbi_io_callbacks callbacks = {on_read, on_skip, on_eof};
    struct reading reading = {.source = source};
    int found[2] = {0}, in_file;
    budget = (uint64_t)width * height * BYTES_PER_PIXEL + SPARE;
    *pixels = stbi_load_from_callbacks(&callbacks, &reading, &found[0], &found[1], &in_file, (int)channels);
    enum limoe_status status = LIMOE_OK;
    if (reading.overrun) {
        status = image_truncated(format, input, err);
    } else if (!*pixels) {
        status = limoe_fail(err, LIMOE_BAD_IMAGE, "%s: %s", format, stbi_failure_reason());
    } else if ((uint32_t)found[0] != width || (uint32_t)found[1] != height) {
        status = limoe_fail(err, LIMOE_INTERNAL, "%s: decoded as %d x %d pixels; %u x %u were announced",
                            format, found[0], found[1], width, height);
    }
    if (status != LIMOE_OK) {
        free(*pixels);
        *pixels = NULL;
    }
    return status;
}
