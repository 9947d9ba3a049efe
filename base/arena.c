/* arena.c - chunks in a list; the newest is bumped, a large allocation gets a chunk of its own. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Chunks double from the first size to the last: a small request costs one malloc, a large one a few. */
#define FIRST_CHUNK 4096u
#define LAST_CHUNK  (1024u * 1024u)

struct chunk {
    struct chunk *next;
    size_t number;         /* counted from 1 in the order in which they were taken */
    size_t capacity, used; /* of bytes[] */
    alignas(max_align_t) unsigned char bytes[];
};

struct arena {
    struct chunk *chunks; /* the one being filled comes first */
    size_t next_capacity;
    size_t size;
    size_t taken; /* chunks, in all */
    arena_meter *meter;
    void *context; /* the meter's */
};

struct arena *arena_new(void) {
    struct arena *arena = malloc(sizeof *arena);
    if (arena)
        *arena = (struct arena){.next_capacity = FIRST_CHUNK};
    return arena;
}

void arena_free(struct arena *arena) {
    if (!arena)
        return;
    for (struct chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(arena);
}

void arena_set_meter(struct arena *arena, arena_meter *meter, void *context) {
    arena->meter = meter;
    arena->context = context;
}

static struct chunk *chunk_new(struct arena *arena, size_t capacity) {
    const size_t size = sizeof(struct chunk) + capacity;
    if (arena->meter && !arena->meter(arena->context, size))
        return NULL;
    struct chunk *chunk = malloc(size);
    if (!chunk)
        return NULL;
    *chunk = (struct chunk){.number = ++arena->taken, .capacity = capacity};
    arena->size += size;
    return chunk;
}

size_t arena_mark(const struct arena *arena) {
    return arena->taken;
}

/* Large chunks stand behind the one being filled, so the newer ones may be anywhere in the list. */
void arena_rewind(struct arena *arena, size_t mark) {
    struct chunk **link = &arena->chunks;
    while (*link) {
        struct chunk *chunk = *link;
        if (chunk->number <= mark) {
            link = &chunk->next;
            continue;
        }
        *link = chunk->next;
        arena->size -= sizeof *chunk + chunk->capacity;
        free(chunk);
    }
}

void *arena_alloc(struct arena *arena, size_t size) {
    const size_t align = alignof(max_align_t);
    if (size > PTRDIFF_MAX / 2) /* more than any address space; what follows cannot overflow */
        return NULL;
    size = (size + align - 1) / align * align;

    struct chunk *chunk = arena->chunks;
    if (!chunk || chunk->capacity - chunk->used < size) {
        /* A large piece goes behind the current chunk, whose rest stays usable. */
        const bool large = size > arena->next_capacity / 4;
        struct chunk *fresh = chunk_new(arena, large ? size : arena->next_capacity);
        if (!fresh)
            return NULL;
        if (large && chunk) {
            fresh->next = chunk->next;
            chunk->next = fresh;
        } else {
            fresh->next = chunk;
            arena->chunks = fresh;
        }
        if (!large && arena->next_capacity < LAST_CHUNK)
            arena->next_capacity *= 2;
        chunk = fresh;
    }
    void *p = chunk->bytes + chunk->used;
    chunk->used += size;
    return p;
}

void *arena_array(struct arena *arena, size_t n, size_t size) {
    if (size && n > SIZE_MAX / size)
        return NULL;
    void *p = arena_alloc(arena, n * size);
    if (p)
        memset(p, 0, n * size);
    return p;
}

char *arena_copy(struct arena *arena, const char *text, size_t size) {
    char *copy = size < SIZE_MAX ? arena_alloc(arena, size + 1) : NULL;
    if (!copy)
        return NULL;
    if (size)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

char *arena_print(struct arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = size >= 0 ? arena_alloc(arena, (size_t)size + 1) : NULL;
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)size + 1, format, args);
    va_end(args);
    return text;
}

size_t arena_size(const struct arena *arena) {
    return arena->size;
}
