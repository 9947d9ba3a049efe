/* caption.c - limoe_model_caption: pictures through the tower, then a token a step of all their captions at once.
 *
 * Pictures are taken in groups of a bounded size. Since nothing depends on what stands beside it, neither do the groups
 * matter. */
#include "model/caption/captioner.h"
#include "model/caption/options.h"

/* Those that are not done go to the front. Their number. */
static size_t leave_done_out(struct limoe_captioning **captionings, size_t n) {
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (!limoe_captioning_done(captionings[i]))
            captionings[left++] = captionings[i];
    return left;
}

static enum limoe_status caption_group(struct limoe_captioner *captioner, const struct limoe_item *pictures,
                                       size_t n, const struct limoe_caption_options *options,
                                       struct limoe_caption *captions, struct limoe_error *err) {
    const struct limoe_caption_options *each[CAPTIONER_TEXTS] = {NULL};
    struct limoe_captioning *all[CAPTIONER_TEXTS], *live[CAPTIONER_TEXTS];
    for (size_t i = 0; i < n; i++)
        each[i] = options;
    enum limoe_status status = limoe_captioner_begin(captioner, pictures, each, n, all, err);
    if (status)
        return status;
    for (size_t i = 0; i < n; i++)
        live[i] = all[i];
    for (size_t left = n; !status && left; left = leave_done_out(live, left))
        status = limoe_captioner_step(captioner, live, left, err);
    for (size_t i = 0; i < n; i++) {
        if (!status)
            limoe_captioning_answer(all[i], captions + i * options->n);
        limoe_captioner_end(captioner, all[i]);
    }
    return status;
}

enum limoe_status limoe_model_caption(struct limoe_model *model, const struct limoe_item *pictures, size_t n,
                                      const struct limoe_caption_options *asked,
                                      struct limoe_caption *captions, struct limoe_error *err) {
    struct limoe_caption_options options;
    struct limoe_captioner *captioner;
    enum limoe_status status;
    if ((status = limoe_caption_check(limoe_model_info(model), asked, &options, err)) ||
        (status = limoe_captioner_open(model, &captioner, err)))
        return status;
    const size_t most = CAPTIONER_TEXTS / options_texts(&options);
    status = captioner_check(model, pictures, n, err);
    for (size_t first = 0; first < n && !status; first += most)
        status = caption_group(captioner, pictures + first, n - first < most ? n - first : most, &options,
                               captions + first * options.n, err);
    limoe_captioner_close(captioner);
    return status;
}
