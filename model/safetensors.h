/* safetensors.h - tensors of a checkpoint, mapped read-only.
 *
 * A directory holds model.safetensors, or shards named by model.safetensors.index.json. The files are treated
 * as hostile: header length, JSON, names, dtypes, shapes, offsets, overlaps and holes are all checked before
 * any tensor is handed out. The mapping outlives nothing: tensors' data pointers are good until
 * safetensors_close.
 *
 * One thing cannot be checked: a file that shrinks while it is mapped, whose lost pages raise SIGBUS when
 * read. Replace a checkpoint by renaming new files over the old, never by writing into them.
 *
 * Safe for reading by many threads at once.
 */
#ifndef LIMOE_SAFETENSORS_H
#define LIMOE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

enum tensor_dtype {
    TENSOR_F32,
    TENSOR_BF16,
    TENSOR_F16,
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
    const void *data; /* row-major, little-endian, not necessarily aligned */
    size_t bytes;
};

struct safetensors;

enum limoe_status safetensors_open(const char *dir, struct safetensors **out, struct limoe_error *err);
/* One file's bytes, not owned (for tests and fuzzing). */
enum limoe_status safetensors_open_memory(const void *bytes, size_t size, const char *where,
                                          struct safetensors **out, struct limoe_error *err);
void safetensors_close(struct safetensors *st); /* NULL is fine */

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

/* Tells the kernel that the mapped pages were read and packed and need not stay resident. Reading them again
 * is fine: they come back from the file. */
void safetensors_release_pages(const struct safetensors *st);

#endif
