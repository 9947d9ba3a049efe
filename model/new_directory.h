/* new_directory.h - a directory that is there as a whole or not at all. */
#ifndef LIMOE_MODEL_NEW_DIRECTORY_H
#define LIMOE_MODEL_NEW_DIRECTORY_H

#include <limits.h>

#include "limoe.h"

/* Made beside its place, under a name of its own, until it is finished. Starts as {0}. */
struct new_directory {
    char place[PATH_MAX], made[PATH_MAX]; /* made: "" when there is none */
};

/* Refuses a place where something is. */
enum limoe_status new_directory_begin(struct new_directory *d, const char *place, struct limoe_error *err);

/* A file in it, for writing: *fd is closed by the caller; path [PATH_MAX] is what it is called in messages. */
enum limoe_status new_directory_file(const struct new_directory *d, const char *name, int *fd, char *path,
                                     struct limoe_error *err);

/* Copies from/name, where there is such a file, of at most `most` bytes. */
enum limoe_status new_directory_copy(const struct new_directory *d, const char *from, const char *name,
                                     size_t most, struct limoe_error *err);

/* Copies all that stands beside a model's weights in its directory and is read here: configs, preprocessing, tokenizers. */
enum limoe_status new_directory_copy_inputs(const struct new_directory *d, const char *from,
                                            struct limoe_error *err);

/* Moves it to its place. */
enum limoe_status new_directory_finish(struct new_directory *d, struct limoe_error *err);

/* Removes what is not finished. */
void new_directory_end(struct new_directory *d);

#endif
