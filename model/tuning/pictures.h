/* pictures.h - the examples, decoded once: whole, as the model is served them, and larger, so that crops lose nothing.
 *
 * Memory: of each picture 3 size^2 bytes, and 16 / 9 as many again. */
#ifndef LIMOE_MODEL_TUNING_PICTURES_H
#define LIMOE_MODEL_TUNING_PICTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe_tune.h"
#include "model/tuning/folder.h"

struct pictures {
    size_t n;
    uint32_t classes, size, side; /* side: of the larger squares */
    uint32_t *label;              /* [n], below classes */
    uint8_t *whole;               /* [n, size, size, 3] */
    uint8_t *large;               /* [n, side, side, 3] */
    size_t skipped, repeated; /* files that are not among them: broken ones; those that a class has already */
};

/* Is told how many files have been read, and, in a line, of each that is left out; else `line` is NULL. False: to stop. */
typedef bool pictures_told(void *context, size_t done, const char *line);

/* Reads them all: the folder's files, or what `from` gives for each of them (NULL: files). A picture is another's copy where their larger squares are the same, byte for byte: within a class it is
 * left out, in two classes it is LIMOE_INVALID, which names both. LIMOE_BAD_IMAGE names a file that cannot be read; where
 * `skip_broken`, it is left out, unless its class had files and would be empty. LIMOE_LOST: it was to stop. On failure *out is empty. */
enum limoe_status pictures_read(const struct folder *folder, const struct limoe_image_settings *settings,
                                const struct limoe_tune_examples *from, bool skip_broken, pictures_told *tell,
                                void *context, struct pictures *out, struct limoe_error *err);
void pictures_free(struct pictures *p); /* empty ones are fine */

#endif
