/* file.h - the files of a model directory. */
#ifndef LIMOE_FILE_H
#define LIMOE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether there is anything by that name, readable or not. */
bool file_exists(const char *dir, const char *name);

/* Reads all of dir/name, a regular file (or a link to one) of at most `max` bytes. *bytes is freed with
 * free(). LIMOE_NOT_FOUND when it is not there. */
enum limoe_status file_read(const char *dir, const char *name, size_t max, uint8_t **bytes, size_t *size,
                            struct limoe_error *err);

/* Maps all of dir/name read-only; *map is unmapped with munmap(map, size). An empty file gives NULL and 0.
 * The file must not shrink while it is mapped: reading a page past its new end raises SIGBUS. Replace a
 * model's file by renaming another over it, never by writing into it. */
enum limoe_status file_map(const char *dir, const char *name, void **map, size_t *size,
                           struct limoe_error *err);

#ifdef __cplusplus
}
#endif
#endif
