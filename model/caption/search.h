/* search.h - which tokens a picture's captions get, from the logits of each step: the most probable, by beams, or drawn.
 *
 * A search owns its texts. It knows no model: whoever drives it computes the logits. Its answer depends on those, the
 * options and the seed alone. One thread at a time. */
#ifndef LIMOE_MODEL_CAPTION_SEARCH_H
#define LIMOE_MODEL_CAPTION_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "limoe_caption.h"

/* A text so far. */
struct search_text {
    uint32_t length; /* tokens behind the begin, the end left out */
    bool ended;
    double logprob;
    uint32_t sample; /* its number */
    int32_t token[LIMOE_CAPTION_MAX_TOKENS];
    uint32_t row
        [LIMOE_CAPTION_MAX_TOKENS]; /* [length]: where the decoder keeps the begin and all tokens but the last */
};

struct search {
    struct limoe_caption_options options; /* checked, defaults filled in */
    uint32_t vocab;
    int32_t begin_id, end_id;
    struct search_text *live, *next, *done; /* [options_texts] each */
    uint32_t n_live, n_done;
    struct search_choice *choice; /* what could follow */
};

enum limoe_status search_begin(struct search *s, const struct limoe_caption_options *options, uint32_t vocab,
                               int32_t begin_id, int32_t end_id, struct limoe_error *err);
void search_end(struct search *s); /* an empty one is fine */

/* What a live text reads next. */
int32_t search_next_token(const struct search *s, uint32_t text);

/* Goes on by a token each. logits [n_live, vocab] are finite; what live text i has read lies in row[i]. */
void search_advance(struct search *s, const float *logits, const uint32_t *row);

/* Once none is live: captions[options.n], in their order. Where there are fewer texts, the rest is empty, with logprob
 * -INFINITY. */
void search_answer(const struct search *s, struct limoe_caption *captions);

#endif
