/* safetensors_header.h - one file's header, checked. */
#ifndef LIMOE_SAFETENSORS_HEADER_H
#define LIMOE_SAFETENSORS_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "safetensors.h"

/* Owns its tensors' names; their data belongs to the files that were read. */
struct tensor_list {
    struct tensor *item;
    size_t count, room;
};

/* Appends the tensors of the file `bytes[size]`, whose header must account for every byte of it. `where`, the
 * file's name, begins every message. On failure the list may hold part of them. */
enum limoe_status safetensors_read_header(const uint8_t *bytes, size_t size, const char *where,
                                          struct tensor_list *list, struct limoe_error *err);

void tensor_list_free(struct tensor_list *list); /* leaves an empty list */

#endif
