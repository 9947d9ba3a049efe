/* arena.h - a memory pool per request: many small allocations, freed once.
 *
 * Whoever handles a request owns its arena: everything parsed from the body (strings, items, decoded base64)
 * lives there and dies with it, so no parser needs a clean-up path. Not safe for two threads at once; a
 * request may move from thread to thread with its arena.
 */
#ifndef LIMOE_BASE_ARENA_H
#define LIMOE_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

struct arena *arena_new(void);        /* NULL: no memory */
void arena_free(struct arena *arena); /* NULL is fine; frees every allocation */

/* Asked before the arena takes `bytes` more from the system, which it does for many allocations at once or
 * for a large one. False: the arena does not take them, and the allocation returns NULL. */
typedef bool arena_meter(void *context, size_t bytes);
/* Sets the meter that is asked from here on; NULL: none. */
void arena_set_meter(struct arena *arena, arena_meter *meter, void *context);

/* A moment in the arena's life, for arena_rewind. */
size_t arena_mark(const struct arena *arena);
/* Gives back to the system what the arena has taken since `mark`. What was allocated before stays valid; of
 * what was allocated later nothing may be used. */
void arena_rewind(struct arena *arena, size_t mark);

/* `size` bytes aligned for any type, not zeroed; a size of 0 gives a valid pointer. NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t size);
/* `n` zeroed elements of `size` bytes. NULL: no memory, or n * size overflows. */
void *arena_array(struct arena *arena, size_t n, size_t size);
/* A copy of text[size], NUL-terminated. */
char *arena_copy(struct arena *arena, const char *text, size_t size);
/* printf into the arena. */
char *arena_print(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Bytes the arena holds, for accounting. */
size_t arena_size(const struct arena *arena);

#endif
