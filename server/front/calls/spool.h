/* spool.h - bytes that wait for a reader, first in, first out: a few in memory, the rest in a file that has no
 * name, and is gone with the process.
 *
 * One thread at a time. All zeros is an empty spool, but for `folder`.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_SPOOL_H
#define LIMOE_SERVER_FRONT_CALLS_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "limoe.h"

#define SPOOL_MEMORY ((size_t)256 << 10) /* bytes, past which what is there goes to the file */

struct spool {
    const char *folder; /* where the file is made; outlives the spool */
    bool open;
    int file;
    uint64_t from, to;  /* file[from..to) has not been read */
    struct buffer tail; /* what came behind it, */
    size_t tail_read;   /* of which so many bytes have been read */
};

/* Appends. If the disk does not take it (LIMOE_IO), or there is no memory, the spool is as it was. */
enum limoe_status spool_append(struct spool *spool, const void *bytes, size_t size, struct limoe_error *err);
/* Appends a few bytes without the disk, which may have failed. */
enum limoe_status spool_append_last(struct spool *spool, const void *bytes, size_t size,
                                    struct limoe_error *err);
/* The oldest bytes, up to `size` of them, to *out: *taken. 0: there are none. */
enum limoe_status spool_take(struct spool *spool, void *out, size_t size, size_t *taken,
                             struct limoe_error *err);
uint64_t spool_size(const struct spool *spool);
void spool_free(struct spool *spool);

#endif
