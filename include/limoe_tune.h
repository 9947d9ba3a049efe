/* limoe_tune.h - beside limoe.h: an adapter learnt from pictures of classes (docs/adapters.md). */
#ifndef LIMOE_TUNE_H
#define LIMOE_TUNE_H

#include "limoe.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LIMOE_TUNE_MAX_CLASSES 1000u
#define LIMOE_TUNE_MAX_EPOCHS  1000u
#define LIMOE_TUNE_MAX_PROMPTS 10000u /* classes times templates */
#define LIMOE_TUNE_MIDDLE      UINT32_MAX

enum limoe_tune_kind {
    LIMOE_TUNE_AUTO, /* a probe and a tail; what answers held-out pictures better is kept */
    LIMOE_TUNE_PROBE,
    LIMOE_TUNE_TAIL,
};

struct limoe_tune_progress {
    const char *note; /* a line for people, and nothing else is told; NULL: */
    const char *stage;
    uint32_t epoch, epochs; /* that are done, of the stage's */
    float loss;             /* of a tail: the mean of the epoch so far */
    double done;            /* of a tail: the share of all its epochs, 0 to 1 */
    bool first;             /* the options' `first` has just been written */
};
typedef bool limoe_tune_told(void *context, const struct limoe_tune_progress *progress); /* false: to stop */

/* What is 0 takes the default. */
struct limoe_tune_options {
    enum limoe_tune_kind kind;
    uint32_t start_block; /* of a tail, 0 to the blocks of a tower; LIMOE_TUNE_MIDDLE: its middle */
    uint32_t epochs;      /* of a tail; default 10 */
    double rate;          /* default: a tail's is 5e-4, a probe's is chosen among three */
    double held_out;      /* share of a class that is held out, up to 0.5; default 0.2; below 0: nothing is */
    uint64_t seed;
    const char *const *templates;            /* with {} for the label; default {} */
    const char *const *labels;               /* "FOLDER=LABEL"; default: the folder's name */
    uint32_t n_templates, n_labels, threads; /* threads: as struct limoe_options has it */
    bool flip, skip_broken; /* mirrored pictures are of the same class; broken ones are left out */
    const char *base;       /* the digits (limoe_base) that the model must have; NULL: any */
    const char
        *first; /* with LIMOE_TUNE_AUTO: the probe is written there, whole, before a tail is tried; NULL:
                               nowhere */
    limoe_tune_told *tell; /* NULL: nobody */
    void *context;
};

/* Teaches the model in `dir` the classes of folders in `pictures`, one for each, and writes the adapter `out`,
 * whole or not at all. After each epoch of a tail OUT.partial holds its state, from which the same call goes on; the
 * adapter's bits are those of an undisturbed call, at any number of threads. LIMOE_LOST: `tell` stopped it.
 * LIMOE_BAD_IMAGE: a file is no picture. */
enum limoe_status limoe_tune(const char *dir, const char *pictures, const char *out,
                             const struct limoe_tune_options *options, struct limoe_error *err);

/* Fills pixels[size, size, 3] of settings->preprocess with an example, as limoe_process_image_by does. */
typedef enum limoe_status limoe_tune_read(void *context, size_t example,
                                          const struct limoe_image_settings *settings, uint8_t *pixels,
                                          struct limoe_error *err);

/* Examples that are no files in folders. */
struct limoe_tune_examples {
    const char *const
        *classes; /* [n_classes], at least 2: their labels, each its own. One may have no examples:
                                   pictures are none of it */
    const char *const *names; /* [n]: what messages call each */
    const uint32_t *of;       /* [n]: its class; at least two classes have some */
    uint32_t n_classes;
    size_t n;
    limoe_tune_read *read; /* asked for each in turn, twice: for two sizes */
    void *context;
};
/* The same from examples, in this order; `labels` of the options are not used. From examples in the order of folders and
 * files, which is that of their names' bytes, the adapter is the same. */
enum limoe_status limoe_tune_from(const char *dir, const struct limoe_tune_examples *examples,
                                  const char *out, const struct limoe_tune_options *options,
                                  struct limoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
