/* file.h - the files of a model directory. */
#ifndef LIMOE_MODEL_CHECKPOINT_FILE_H
#define LIMOE_MODEL_CHECKPOINT_FILE_H

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

/* The same of a path that ends in the file's name. */
enum limoe_status file_read_path(const char *path, size_t max, uint8_t **bytes, size_t *size,
                                 struct limoe_error *err);

/* Opens dir/name, a regular file (or a link to one), for reading; *fd is closed with close(). */
enum limoe_status file_open(const char *dir, const char *name, int *fd, size_t *size,
                            struct limoe_error *err);

/* Reads to[size] from byte `offset` on. A file that ends before, since it has shrunk, is LIMOE_IO. `name` is
 * for the message. */
enum limoe_status file_read_at(int fd, const char *name, uint64_t offset, void *to, size_t size,
                               struct limoe_error *err);

#ifdef __cplusplus
}
#endif
#endif
