/* safetensors_header.h - one file's header, checked. */
#ifndef LIMOE_MODEL_CHECKPOINT_SAFETENSORS_HEADER_H
#define LIMOE_MODEL_CHECKPOINT_SAFETENSORS_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "limoe.h"
#include "model/checkpoint/safetensors.h"

/* Owns its tensors' names. */
struct tensor_list {
    struct tensor *item;
    size_t count, room;
    cJSON *metadata; /* of the file that was read last: an object of strings; NULL: it has none */
};

/* One file: its size, its index among the checkpoint's files, and its name, which begins every message. */
struct safetensors_source {
    const char *where;
    uint64_t size;
    uint32_t file;
};

#define SAFETENSORS_PREFIX 8 /* bytes before the header: its length */

/* The header's length, from the file's first SAFETENSORS_PREFIX bytes (fewer in a shorter file, which is
 * refused). */
enum limoe_status safetensors_header_length(const struct safetensors_source *source, const uint8_t *prefix,
                                            size_t *length, struct limoe_error *err);

/* Appends the tensors of the file whose header is `header[length]` and which must account for every byte of
 * the file. On failure the list may hold part of them. */
enum limoe_status safetensors_read_header(const struct safetensors_source *source, const uint8_t *header,
                                          size_t length, struct tensor_list *list, struct limoe_error *err);

void tensor_list_free(struct tensor_list *list); /* leaves an empty list */

#endif
