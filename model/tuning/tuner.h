/* tuner.h - Skip Tuning of a model from a block on (LSkip): epochs over the rows that enter its tail.
 *
 * A batch's pictures and all prompts pass the tail; the loss is the cross-entropy of exp(scale) cosines. One tower for both
 * modalities is one tail, two towers are two. Routers and the scale stay as they are. AdamW on float32 masters.
 *
 * Memory. Of each parameter 24 bytes; and what tail.h says a batch takes. */
#ifndef LIMOE_MODEL_TUNING_TUNER_H
#define LIMOE_MODEL_TUNING_TUNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"
#include "model/tuning/parameters.h"

enum { TUNER_BATCH = 32, TUNER_ARRAYS = 3 * LIMOE_MODALITIES };

/* Borrowed: config, k, and what the pointers name, as long as the tuner. st as long as tuner_create. */
struct tuner_setup {
    const struct config *config;
    const struct safetensors *st;
    struct kernels *k;
    uint32_t start_block;
    uint32_t classes, templates;
    const float *prompt_rows; /* [prompt_start[classes * templates], width]: what enters the tail of texts */
    const uint32_t *prompt_start; /* [classes * templates + 1], from 0 on */
    float scale;                  /* exp(s) */
};

struct tuner;

/* LIMOE_UNSUPPORTED, LIMOE_INVALID: as tail_create. */
enum limoe_status tuner_create(const struct tuner_setup *setup, struct tuner **out, struct limoe_error *err);
void tuner_destroy(struct tuner *t); /* NULL is fine */

/* Is told the mean loss of an epoch so far after each batch. False: to stop there. */
typedef bool tuner_told(void *context, size_t done, float loss);

/* An epoch of a run of `epochs`. */
struct tuner_epoch {
    const float *rows;     /* [n, tokens, width]: what enters the tail of pictures */
    const uint32_t *label; /* [n] */
    size_t n;
    uint32_t epoch, epochs; /* epoch: from 0 on */
    double rate;
    uint64_t seed;
    tuner_told *tell;
    void *context;
};
/* LIMOE_LOST: it was to stop; weights are those of the last batch. */
enum limoe_status tuner_epoch(struct tuner *t, const struct tuner_epoch *e, struct limoe_error *err);

/* class[n]: what the model answers for pictures rows[n, tokens, width], with its weights at a strength. */
enum limoe_status tuner_classify(struct tuner *t, float strength, const float *rows, size_t n,
                                 uint32_t *class, struct limoe_error *err);

/* Back to the base's weights, as at first. */
void tuner_restart(struct tuner *t);

/* All that an epoch leaves behind, to be kept and put back. Once put back, tuner_resume makes it take effect. */
struct tuner_array {
    float *value;
    size_t n;
};
size_t tuner_state(struct tuner *t, struct tuner_array array[TUNER_ARRAYS]); /* how many arrays */
void tuner_resume(struct tuner *t);

/* The tails' parameters, one after the other; NULL past the last. */
const struct parameters *tuner_parameters(const struct tuner *t, uint32_t tail);

#endif
