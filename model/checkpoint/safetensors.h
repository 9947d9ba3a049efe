/* safetensors.h - tensors of a checkpoint, by name.
 *
 * A directory holds model.safetensors, or shards named by model.safetensors.index.json. The files are treated
 * as hostile: header length, JSON, names, dtypes, shapes, offsets, overlaps and holes are all checked before
 * any tensor is handed out. Tensors are read, not mapped: a file that is cut short under way is an error like
 * any other, where a mapping's lost pages would raise SIGBUS. The files stay open until safetensors_close, so
 * that a directory replaced meanwhile does not mix two checkpoints.
 *
 * Safe for reading by many threads at once.
 */
#ifndef LIMOE_MODEL_CHECKPOINT_SAFETENSORS_H
#define LIMOE_MODEL_CHECKPOINT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

enum tensor_dtype {
    TENSOR_F32,
    TENSOR_BF16,
    TENSOR_F16,
    TENSOR_I8,   /* of matrices, with scales (layout.h) */
    TENSOR_OTHER /* valid in the format, not used here */
};

#define TENSOR_MAX_RANK 8

struct tensor {
    const char *name;
    enum tensor_dtype dtype;
    const char *dtype_name; /* as the format spells it: "BF16" */
    uint32_t rank;
    uint64_t shape[TENSOR_MAX_RANK];
    uint64_t elements;
    size_t bytes;    /* row-major, little-endian */
    uint64_t offset; /* from the beginning of its file */
    uint32_t file;
};

struct safetensors;

enum limoe_status safetensors_open(const char *dir, struct safetensors **out, struct limoe_error *err);
/* The one file of that name, and no shards. */
enum limoe_status safetensors_open_file(const char *dir, const char *name, struct safetensors **out,
                                        struct limoe_error *err);
/* One file's bytes, not owned and not copied (for tests and fuzzing). */
enum limoe_status safetensors_open_memory(const void *bytes, size_t size, const char *where,
                                          struct safetensors **out, struct limoe_error *err);
void safetensors_close(struct safetensors *st); /* NULL is fine */

/* A string of the file's metadata; NULL: there is none by that key. Of shards, one file's. Lives as long as st. */
const char *safetensors_metadata(const struct safetensors *st, const char *key);

/* The file that the tensors were found by, for messages: "model.safetensors", or the shards' index. */
const char *safetensors_name(const struct safetensors *st);

size_t safetensors_count(const struct safetensors *st);
const struct tensor *safetensors_at(const struct safetensors *st, size_t i); /* i < count; by name */
const struct tensor *safetensors_find(const struct safetensors *st, const char *name); /* NULL: not there */

/* Finds `name` with exactly this shape and a dtype of F32, BF16 or F16; says what was found and expected if
 * not. */
enum limoe_status safetensors_expect(const struct safetensors *st, const char *name, uint32_t rank,
                                     const uint64_t *shape, const struct tensor **out,
                                     struct limoe_error *err);

/* The same of a tensor that is there and of any dtype: its shape alone. */
enum limoe_status safetensors_expect_shape(const struct safetensors *st, const struct tensor *t,
                                           uint32_t rank, const uint64_t *shape, struct limoe_error *err);

/* Reads all of a tensor of this checkpoint to to[t->bytes]. LIMOE_IO when its file no longer has them. */
enum limoe_status safetensors_read(const struct safetensors *st, const struct tensor *t, void *to,
                                   struct limoe_error *err);

/* The same of a part: to[bytes], from byte `offset` of the tensor on; offset + bytes <= t->bytes. */
enum limoe_status safetensors_read_part(const struct safetensors *st, const struct tensor *t, size_t offset,
                                        size_t bytes, void *to, struct limoe_error *err);

#endif
