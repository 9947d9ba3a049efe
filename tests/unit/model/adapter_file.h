/* adapter_file.h - adapters' files for tests: right ones and such as are not. */
#ifndef LIMOE_TESTS_UNIT_MODEL_ADAPTER_FILE_H
#define LIMOE_TESTS_UNIT_MODEL_ADAPTER_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* A file that is being made. Starts as {0}; adapter_file_write ends it. */
struct adapter_file {
    char *names, *data; /* the header's entries, and the tensors */
    size_t names_size, data_size;
};

/* One more tensor; value[elements] is written as float32 or, where `half`, as bfloat16, rounded down. */
void adapter_file_add(struct adapter_file *f, const char *name, uint32_t rank, const uint64_t *shape,
                      const float *value, bool half);

/* Writes the file: `about` is the metadata's JSON text, NULL: there is none. */
void adapter_file_write(struct adapter_file *f, const char *path, const char *about);

/* What a tail of `base` from a block on says of itself, freed with free(). */
char *adapter_file_about(const char *base, uint32_t start_block);

/* A tail of the model in `dir` whose tensors are the model's, moved at random by some hundredths: all that a tail from
 * start_block on may change, or where `some` about half of them, of which some are bfloat16. */
void adapter_file_tail(const char *dir, uint32_t start_block, bool some, uint64_t seed, const char *path);

/* Fails the test unless `got` is the status that is wanted, and a failure's message has `part`. */
void expect_outcome(enum limoe_status got, const struct limoe_error *err, enum limoe_status want,
                    const char *part);

#endif
