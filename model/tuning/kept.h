/* kept.h - what a run leaves behind after each epoch, so that a run that was killed goes on from there.
 *
 * One file: a head, the tuner's arrays, and 16 digits of all before them. It belongs to one run alone: to a digest of its
 * arguments and pictures. What it says is believed only where its size, its digits, its digest and its bounds are right. */
#ifndef LIMOE_MODEL_TUNING_KEPT_H
#define LIMOE_MODEL_TUNING_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/fingerprint.h"
#include "model/tuning/tuner.h"

enum { KEPT_STRENGTHS = 5 };

/* A run's parts that have epochs: on what is not held out, to be judged; and on all. */
enum kept_part { KEPT_TRIAL, KEPT_FINAL, KEPT_PARTS };

struct kept {
    char digest[FINGERPRINT_DIGITS]; /* of the run */
    uint32_t part, epochs;           /* enum kept_part; epochs that are done of it */
    uint32_t right[KEPT_STRENGTHS];  /* of the final part: what the trial came to, as course.h has it */
};

/* What a run can believe. */
struct kept_bounds {
    char digest[FINGERPRINT_DIGITS];
    uint32_t epochs, held; /* of a part; pictures held out */
};

/* LIMOE_IO: no room, or another failure of the disk's. What was there before stays. */
enum limoe_status kept_write(const char *path, const struct kept *kept, const struct tuner_array *array,
                             size_t n, struct limoe_error *err);

/* Fills *kept and array[n]. LIMOE_NOT_FOUND: there is no such file. LIMOE_INVALID: it is another run's. LIMOE_CORRUPT: it is
 * damaged; then what the arrays hold means nothing. */
enum limoe_status kept_read(const char *path, const struct kept_bounds *bounds, struct kept *kept,
                            const struct tuner_array *array, size_t n, struct limoe_error *err);

#endif
