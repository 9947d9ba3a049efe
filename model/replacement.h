/* replacement.h - a file that takes another's place whole, or not at all. */
#ifndef LIMOE_MODEL_REPLACEMENT_H
#define LIMOE_MODEL_REPLACEMENT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* Written beside its place, as PLACE.new. Starts as {0}. */
struct replacement {
    char place[PATH_MAX], made[PATH_MAX]; /* made: "" where there is none */
    int fd;
    uint64_t size; /* written so far */
};

enum limoe_status replacement_begin(struct replacement *r, const char *place, struct limoe_error *err);
/* Behind what is written. LIMOE_IO: no room, or another failure of the disk's. */
enum limoe_status replacement_write(struct replacement *r, const void *bytes, size_t size,
                                    struct limoe_error *err);
/* Moves it to its place; `lasting`: not before it is on the disk. */
enum limoe_status replacement_finish(struct replacement *r, bool lasting, struct limoe_error *err);
/* Removes what is not finished. */
void replacement_end(struct replacement *r);

#endif
