/* rewrite.h - a checkpoint written anew, tensor by tensor: what merging and quantising have in common.
 *
 * Whoever rewrites says of each tensor of the old checkpoint what becomes of it; from that follow the new file's
 * directory, its bytes and the progress. Tensors keep their names and shapes. They are read and written in pieces, so
 * that memory is bounded whatever a stack of experts takes. One thread.
 */
#ifndef LIMOE_MODEL_REWRITE_H
#define LIMOE_MODEL_REWRITE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_write.h"
#include "model/new_directory.h"

enum { REWRITE_PIECE = 1 << 20 }; /* elements read and written at a time */

struct rewrite;
struct rewrite_item;

/* Says what becomes of a part of a tensor, by rewrite_add. */
typedef enum limoe_status rewrite_planner(struct rewrite *r, enum layout_id id, uint32_t block,
                                          const struct layout_source *t, uint32_t part);
/* Writes what becomes of a tensor, all of it, by rewrite_put. */
typedef enum limoe_status rewrite_writer(struct rewrite *r, const struct rewrite_item *item);

/* A tensor of the old checkpoint, and what becomes of it. */
struct rewrite_item {
    const struct tensor *tensor;
    const struct tensor
        *scale; /* by which rewrite_read makes floats of int8; NULL: it is not int8, or only copied */
    rewrite_writer *write;
    const char *dtype;         /* of the new one, as safetensors spells it */
    size_t size;               /* bytes of an element of it: 4, 2 or 1 */
    uint64_t rows;             /* scales that are new, one a row; 0: none */
    uint64_t row;              /* elements of each row */
    char *scale_name;          /* of those scales; freed with the list */
    size_t entry, scale_entry; /* of the new file; set by rewrite_run */
};

/* The first members are the caller's, who fills them before rewrite_list and keeps what they point to; the rest is {0}. */
struct rewrite {
    const struct config *config;
    const struct safetensors *st; /* the old checkpoint */
    rewrite_planner *plan;
    void *job; /* what the planner and the writers work with besides */
    limoe_progress *progress;
    void *context;
    struct limoe_error *err; /* not NULL */

    struct rewrite_item *item; /* [items] */
    size_t items, room;
    struct safetensors_entry *entry; /* [entries] */
    size_t entries;
    struct new_directory directory;
    int fd; /* of the new weights; -1: not open */
    char path[PATH_MAX];
    void *raw;     /* REWRITE_PIECE elements of the old checkpoint */
    float *floats; /* [REWRITE_PIECE]: what rewrite_read read last */
    float *scales; /* of the tensor that is written; NULL: none had such yet */
};

/* Has the planner say what becomes of each tensor that the model has, in the layout's order. */
enum limoe_status rewrite_list(struct rewrite *r);
/* Appends to the list, which owns the item's scale_name from then on, also on failure. */
enum limoe_status rewrite_add(struct rewrite *r, struct rewrite_item item);
/* As it stands in the old checkpoint. */
struct rewrite_item rewrite_copied(const struct tensor *t);

/* Makes the directory `out`, in which is what the list says, and a copy of what stands beside the weights in `dir`.
 * `out` is there as a whole or not at all. Elements of the same size follow each other in the list's order, the largest
 * first, so that all are aligned. */
enum limoe_status rewrite_run(struct rewrite *r, const char *dir, const char *out);

/* Frees what r owns, none of the caller's. */
void rewrite_free(struct rewrite *r);

/* ---- for writers */

/* Elements first .. first + n - 1 of the old tensor, n up to REWRITE_PIECE, to r->floats. r->raw is free behind it. */
enum limoe_status rewrite_read(struct rewrite *r, const struct rewrite_item *item, uint64_t first, size_t n);
/* bytes[size] to byte `at` of the entry. */
enum limoe_status rewrite_put(const struct rewrite *r, size_t entry, uint64_t at, const void *bytes,
                              size_t size);

#endif
