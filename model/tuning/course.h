/* course.h - a run from pictures to what is learnt: a probe, a tail, or both and the better one.
 *
 * Where every class has SPLIT_LEAST pictures, a share of them is held out. What is learnt of the others is judged by it at each of five
 * strengths, and a probe at each of three rates. The strength is the smallest from a quarter on that is within a point of the
 * best; of probe and tail, the tail is kept where it is right more often. What is kept is then learnt anew, of all pictures.
 * Where nothing is held out, the first rate and all of the strength are taken, and of both the probe, which costs other
 * classes nothing.
 *
 * A run goes on from its last epoch where kept.h's file is its own; what has no epochs is computed again. The same
 * arguments come to the same bits, at any number of threads. */
#ifndef LIMOE_MODEL_TUNING_COURSE_H
#define LIMOE_MODEL_TUNING_COURSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe_tune.h"
#include "model/tuning/kept.h"
#include "model/tuning/pictures.h"
#include "model/tuning/tuner.h"

extern const float course_strengths[KEPT_STRENGTHS]; /* ascending from 0 to 1 */

/* Is told, where a tail is to be tried next, that the outcome is a probe of all pictures for now. */
typedef enum limoe_status course_first(void *context);

/* All borrowed. */
struct course {
    struct limoe_model *model;
    const struct pictures *pictures;
    struct tuner *tuner; /* NULL: a probe alone */
    bool probe;          /* else a tail alone */
    uint32_t start_block, epochs;
    double rate;  /* 0: a probe's are chosen from, a tail's is 5e-4 */
    double share; /* held out of each class, 0 to 0.5 */
    uint64_t seed;
    bool flip;
    const float
        *zero_shot; /* [classes, embed]: the probe that answers as the model does; NULL: it knows no texts */
    const char *state; /* kept.h's file */
    char digest[FINGERPRINT_DIGITS];
    limoe_tune_told *tell;
    void *context;
    course_first *first; /* NULL: nobody is told */
    void *first_context;
};

/* What held-out pictures say of a kind. */
struct course_trial {
    bool made;
    double rate;
    uint32_t place;                 /* of course_strengths, chosen */
    uint32_t right[KEPT_STRENGTHS]; /* at each */
};

struct course_outcome {
    enum limoe_adapter_kind kind;
    float strength;
    double rate;
    size_t held; /* pictures held out */
    struct course_trial probe, tail;
    float *weight, *bias; /* of a probe; a tail is the tuner's parameters */
};

/* LIMOE_LOST: `tell` has stopped it. Free the outcome with course_free, after a failure too. */
enum limoe_status course_run(const struct course *course, struct course_outcome *out,
                             struct limoe_error *err);
void course_free(struct course_outcome *o);

#endif
