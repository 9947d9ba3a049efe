/* frame_parts.h - what the files of frame.h share. Private to them. */
#ifndef LIMOE_SERVER_PROTOCOL_FRAME_PARTS_H
#define LIMOE_SERVER_PROTOCOL_FRAME_PARTS_H

#include <string.h>

#include "server/protocol/frame.h"

/* ---- a cursor over bytes whose number is known to suffice */

static inline void put(uint8_t **at, const void *from, size_t size) {
    memcpy(*at, from, size);
    *at += size;
}

static inline void put_u32(uint8_t **at, uint32_t value) {
    put(at, &value, sizeof value);
}

static inline void put_u64(uint8_t **at, uint64_t value) {
    put(at, &value, sizeof value);
}

/* `size` bytes, the last of them 0. NULL is "". */
static inline void put_string(uint8_t **at, const char *string, size_t size) {
    memset(*at, 0, size);
    if (string)
        memcpy(*at, string, strnlen(string, size - 1));
    *at += size;
}

static inline void get(const uint8_t **at, void *to, size_t size) {
    memcpy(to, *at, size);
    *at += size;
}

static inline uint32_t get_u32(const uint8_t **at) {
    uint32_t value;
    get(at, &value, sizeof value);
    return value;
}

static inline uint64_t get_u64(const uint8_t **at) {
    uint64_t value;
    get(at, &value, sizeof value);
    return value;
}

/* False: no end within `size` bytes. */
static inline bool get_string(const uint8_t **at, char *to, size_t size) {
    get(at, to, size);
    return memchr(to, '\0', size) != NULL;
}

static inline bool within(uint64_t value, uint64_t least, uint64_t most) {
    return value >= least && value <= most;
}

/* The most images of a step. */
static inline uint64_t most_images(const struct frame_shape *shape) {
    return shape->image_tokens ? shape->rows / shape->image_tokens : 0;
}

#endif
