/* views.h - pictures as a run sees them, through the model: whole, or augmented anew for each epoch; to the rows that enter a
 * tail, or to embeddings. What comes out depends on seed, picture and view alone. */
#ifndef LIMOE_MODEL_TUNING_VIEWS_H
#define LIMOE_MODEL_TUNING_VIEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/tuning/pictures.h"

/* As served; 1 and above are augmented. */
enum { VIEWS_WHOLE = 0 };

struct views {
    struct limoe_model *model;
    const struct pictures *pictures;
    uint64_t seed;
    bool flip;
    uint8_t *pixels; /* of some pictures at a time */
};

/* Borrows what it is given. Free with views_free. */
enum limoe_status views_create(struct limoe_model *model, const struct pictures *pictures, uint64_t seed,
                               bool flip, struct views *out, struct limoe_error *err);
void views_free(struct views *v); /* empty ones are fine */

/* Floats of one picture's rows. */
size_t views_row_floats(const struct views *v);

/* rows[n, tokens, width]: pictures picture[n], in that view, as they enter a block of their tower. */
enum limoe_status views_rows(const struct views *v, const uint32_t *picture, size_t n, uint32_t view,
                             uint32_t block, float *rows, struct limoe_error *err);

/* z[n, embed]: their embeddings. */
enum limoe_status views_embed(const struct views *v, const uint32_t *picture, size_t n, uint32_t view,
                              float *z, struct limoe_error *err);

#endif
