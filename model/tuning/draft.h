/* draft.h - the adapter's file (docs/format.md, "limoe-adapter-1") that a run ends in. */
#ifndef LIMOE_MODEL_TUNING_DRAFT_H
#define LIMOE_MODEL_TUNING_DRAFT_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"
#include "model/tuning/tuner.h"

/* All borrowed. */
struct draft {
    const char *base;     /* 32 digits */
    uint32_t start_block; /* of a tail */
    const char *const *label, *const *template;
    uint32_t labels, templates;
    float strength;
    const char *training;       /* a JSON object */
    uint32_t embed;             /* of a probe, as the next two: */
    const float *weight, *bias; /* [labels, embed], [labels] */
    /* Of a tail: what is not frozen of the tuner's parameters, by the names and in the forms that st has. */
    const struct tuner *tuner; /* NULL: a probe */
    const struct config *config;
    const struct safetensors *st;
};

/* Writes the file, on the disk before it takes its place. LIMOE_IO: no room, or another failure of the disk's; then what was
 * there before stays. */
enum limoe_status draft_write(const char *path, const struct draft *draft, struct limoe_error *err);

#endif
