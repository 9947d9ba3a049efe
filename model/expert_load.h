/* expert_load.h - a measured load of the experts, as JSON:
 *
 *     {"format": "limoe-load-1", "load": [[104, 2210, …], …]}
 *
 * one array for each MoE layer, in it the rows that each expert got. Whoever wrote it is not trusted. */
#ifndef LIMOE_MODEL_EXPERT_LOAD_H
#define LIMOE_MODEL_EXPERT_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* Parses `size` bytes; `where` begins every message. The file must be for a model of this many MoE layers and
 * experts. *load [layers, experts] is freed with free(). */
enum limoe_status expert_load_parse(const void *json, size_t size, const char *where, uint32_t layers,
                                    uint32_t experts, uint64_t **load, struct limoe_error *err);

/* The same of the file at `path`, at most 16 MiB. */
enum limoe_status expert_load_read(const char *path, uint32_t layers, uint32_t experts, uint64_t **load,
                                   struct limoe_error *err);

#endif
