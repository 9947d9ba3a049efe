/* rewrite.h - a checkpoint written anew, tensor by tensor: what merging and quantising have in common.
 *
 * A kind of rewriting opens the model and says of each tensor of the old checkpoint what becomes of it; from that follow
 * the new file's directory, its bytes and the progress. Tensors keep their names and shapes. They are read and written in
 * pieces, so that memory is bounded whatever a stack of experts takes. One thread.
 */
#ifndef LIMOE_MODEL_REWRITE_H
#define LIMOE_MODEL_REWRITE_H

#include <limits.h>
#include <stdbool.h>
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

/* Opens the model of a directory: r->config and r->st, which r closes also on failure, and what else the job needs. */
typedef enum limoe_status rewrite_opener(struct rewrite *r, const char *dir);
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
    size_t entry, scale_entry; /* of the new file; set once all are listed */
};

struct rewrite_kind {
    rewrite_opener *open;
    rewrite_planner *plan;
    bool by_name; /* tensors follow each other by their names; else in the layout's order */
};

struct rewrite {
    const struct rewrite_kind *kind;
    void *job; /* the caller's: what opener, planner and writers work with besides */
    limoe_progress *progress;
    void *context;
    struct limoe_error *err; /* not NULL */

    struct config config;
    struct safetensors *st;    /* the old checkpoint */
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

/* Makes the directory `out` of the model in `dir`: what becomes of its tensors, and a copy of what stands beside the
 * weights. `out` is there as a whole or not at all. Elements of the same size follow each other in the kind's order, the
 * largest first, so that all are aligned. progress and err may be NULL. */
enum limoe_status rewrite_model(const struct rewrite_kind *kind, void *job, const char *dir, const char *out,
                                limoe_progress *progress, void *context, struct limoe_error *err);

/* ---- for planners */

/* Appends to the list, which owns the item's scale_name from then on, also on failure. */
enum limoe_status rewrite_add(struct rewrite *r, struct rewrite_item item);
/* As it stands in the old checkpoint. */
struct rewrite_item rewrite_copied(const struct tensor *t);

/* ---- for writers */

/* Elements first .. first + n - 1 of the old tensor, n up to REWRITE_PIECE, to r->floats. r->raw is free behind it. */
enum limoe_status rewrite_read(struct rewrite *r, const struct rewrite_item *item, uint64_t first, size_t n);
/* bytes[size] to byte `at` of the entry. */
enum limoe_status rewrite_put(const struct rewrite *r, size_t entry, uint64_t at, const void *bytes,
                              size_t size);

#endif
