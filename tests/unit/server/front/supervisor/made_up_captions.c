/* made_up_captions.c - stands in for limoe_captioner: the made-up model has no decoder, so that none is ever opened. */
#include <stdlib.h>

#include "base/error.h"
#include "limoe_caption.h"

enum limoe_status limoe_captioner_open(struct limoe_model *model, struct limoe_captioner **out,
                                       struct limoe_error *err) {
    (void)model;
    *out = NULL;
    return limoe_fail(err, LIMOE_UNSUPPORTED, "it has no decoder");
}

void limoe_captioner_close(struct limoe_captioner *captioner) {
    (void)captioner;
}

enum limoe_status limoe_caption_check(const struct limoe_info *info,
                                      const struct limoe_caption_options *asked,
                                      struct limoe_caption_options *options, struct limoe_error *err) {
    (void)info;
    (void)asked;
    (void)options;
    (void)err;
    abort();
}

enum limoe_status limoe_captioner_begin(struct limoe_captioner *captioner, const struct limoe_item *pictures,
                                        const struct limoe_caption_options *const *options, size_t n,
                                        struct limoe_captioning **out, struct limoe_error *err) {
    (void)captioner;
    (void)pictures;
    (void)options;
    (void)n;
    (void)out;
    (void)err;
    abort();
}

enum limoe_status limoe_captioner_step(struct limoe_captioner *captioner,
                                       struct limoe_captioning *const *captionings, size_t n,
                                       struct limoe_error *err) {
    (void)captioner;
    (void)captionings;
    (void)n;
    (void)err;
    abort();
}

void limoe_captioner_end(struct limoe_captioner *captioner, struct limoe_captioning *captioning) {
    (void)captioner;
    (void)captioning;
    abort();
}

uint32_t limoe_captioning_steps(const struct limoe_captioning *captioning) {
    (void)captioning;
    abort();
}

bool limoe_captioning_done(const struct limoe_captioning *captioning) {
    (void)captioning;
    abort();
}

void limoe_captioning_answer(const struct limoe_captioning *captioning, struct limoe_caption *captions) {
    (void)captioning;
    (void)captions;
    abort();
}
