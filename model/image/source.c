/* source.c - a file in pieces, read from front to back. No memory of its own, no threads. */
#include "model/image/source.h"

#include <string.h>

void source_add(struct source *source, const uint8_t *bytes, size_t size) {
    if (source->count < SOURCE_PIECES)
        source->pieces[source->count++] = (struct piece){bytes, size};
}

size_t source_read(struct source *source, uint8_t *to, size_t n) {
    size_t copied = 0;
    while (copied < n && source->current < source->count) {
        const struct piece *piece = &source->pieces[source->current];
        const size_t left = piece->size - source->done;
        const size_t taken = left < n - copied ? left : n - copied;
        if (to && piece->bytes)
            memcpy(to + copied, piece->bytes + source->done, taken);
        else if (to)
            memset(to + copied, 0, taken);
        copied += taken;
        source->done += taken;
        if (source->done == piece->size) {
            source->current++;
            source->done = 0;
        }
    }
    source->overrun = source->overrun || copied < n;
    return copied;
}
