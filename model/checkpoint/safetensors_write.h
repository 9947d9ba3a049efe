/* safetensors_write.h - the header of a safetensors file that is being made, and bytes at their places. */
#ifndef LIMOE_MODEL_CHECKPOINT_SAFETENSORS_WRITE_H
#define LIMOE_MODEL_CHECKPOINT_SAFETENSORS_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/safetensors.h"

/* A tensor to be written; names are those of a checkpoint that was read, or such with an ASCII ending. */
struct safetensors_entry {
    const char *name, *dtype;
    uint32_t rank;
    uint64_t shape[TENSOR_MAX_RANK];
    uint64_t bytes;
    uint64_t offset; /* set by safetensors_write_header: from the beginning of the file */
};

/* Writes the header of n tensors that follow each other in this order, the first aligned to 8. Its metadata has `text` by
 * `key`, unless that is NULL. `path` is for messages, here and below. */
enum limoe_status safetensors_write_header(int fd, const char *path, const char *key, const char *text,
                                           struct safetensors_entry *entry, size_t n,
                                           struct limoe_error *err);

/* Writes all of bytes[size] at `offset`. */
enum limoe_status safetensors_write_at(int fd, const char *path, uint64_t offset, const void *bytes,
                                       size_t size, struct limoe_error *err);

#endif
