/* source.h - bytes for a library that reads through a callback: pieces of a file, with others between them or
 * in their place. Internal to model/image/. */
#ifndef LIMOE_MODEL_IMAGE_SOURCE_H
#define LIMOE_MODEL_IMAGE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_PIECES 8

struct piece {
    const uint8_t *bytes; /* NULL: zeros */
    size_t size;
};

/* All zero: an empty one. The bytes are the caller's, and outlive it. */
struct source {
    struct piece pieces[SOURCE_PIECES];
    int count, current; /* pieces there are; the one that is read */
    size_t done;        /* bytes of that one */
    bool overrun;       /* more was asked for than there is */
};

/* Appends size bytes; at most SOURCE_PIECES times. */
void source_add(struct source *source, const uint8_t *bytes, size_t size);

/* Copies the next n bytes to `to` (NULL: passes them); returns how many there were. */
size_t source_read(struct source *source, uint8_t *to, size_t n);

#endif
