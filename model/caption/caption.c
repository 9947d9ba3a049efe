/* caption.c - limoe_model_caption: pictures through the tower, then a token a step of all their captions at once.
 *
 * Pictures are taken in groups of a bounded size: a group has a decoder of its own, whose kept rows go with it. Since
 * nothing depends on what stands beside it, neither do the groups matter. */
#include <stdlib.h>

#include "base/error.h"
#include "model/caption/options.h"
#include "model/caption/search.h"
#include "model/forward/decoder.h"
#include "model/model.h"

enum { MOST_TEXTS = 64 }; /* of a step: past these a step's rows win little, and cost memory */

struct group {
    struct limoe_model *model;
    const struct config *config;
    const struct limoe_caption_options *options;
    size_t pictures;
    struct search *search; /* [pictures] */
    struct decoder *decoder;
    float *rows;   /* [pictures, image tokens, width]: of the tower */
    float *logits; /* [texts, vocab] */
    /* Of one step, as struct decoder_step has them. */
    int32_t *token;
    uint32_t *position, *picture, *start, *seen;
};

/* ---- memory */

static enum limoe_status group_begin(struct group *g, struct limoe_error *err) {
    const struct config *c = g->config;
    const size_t texts = g->pictures * options_texts(g->options), length = g->options->max_length;
    const struct decoder_room room = {.pictures = g->pictures, .texts = texts, .rows = texts * length};
    g->search = calloc(g->pictures, sizeof *g->search);
    g->rows = calloc(g->pictures * config_image_tokens(c), c->tower[LIMOE_IMAGE].width * sizeof *g->rows);
    g->logits = calloc(texts, c->text.vocab * sizeof *g->logits);
    g->token = calloc(texts, sizeof *g->token);
    g->position = calloc(texts, sizeof *g->position);
    g->picture = calloc(texts, sizeof *g->picture);
    g->start = calloc(texts + 1, sizeof *g->start);
    g->seen = calloc(texts, length * sizeof *g->seen);
    if (!g->search || !g->rows || !g->logits || !g->token || !g->position || !g->picture || !g->start ||
        !g->seen)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu captions", texts);
    for (size_t i = 0; i < g->pictures; i++) {
        enum limoe_status status = search_begin(&g->search[i], g->options, c->text.vocab, c->decoder.begin_id,
                                                c->decoder.end_id, err);
        if (status)
            return status;
    }
    return decoder_create(c, model_kernels(g->model), &model_weights(g->model)->decoder, &room, &g->decoder,
                          err);
}

static void group_end(struct group *g) {
    decoder_destroy(g->decoder);
    for (size_t i = 0; g->search && i < g->pictures; i++)
        search_end(&g->search[i]);
    free(g->seen);
    free(g->start);
    free(g->picture);
    free(g->position);
    free(g->token);
    free(g->logits);
    free(g->rows);
    free(g->search);
}

/* ---- captions */

static enum limoe_status look(struct group *g, const struct limoe_item *pictures, struct limoe_error *err) {
    const struct config *c = g->config;
    const size_t floats = (size_t)config_image_tokens(c) * c->tower[LIMOE_IMAGE].width;
    enum limoe_status status =
        model_trunk(g->model, pictures, g->pictures, c->tower[LIMOE_IMAGE].blocks, g->rows, err);
    for (size_t i = 0; !status && i < g->pictures; i++)
        decoder_look(g->decoder, g->rows + i * floats);
    return status;
}

/* What text `text` of a picture reads, as the step's n-th. */
static void add_text(struct group *g, uint32_t picture, uint32_t text, size_t n) {
    const struct search *s = &g->search[picture];
    const struct search_text *t = &s->live[text];
    uint32_t *seen = g->seen + g->start[n];
    g->token[n] = search_next_token(s, text);
    g->position[n] = t->length;
    g->picture[n] = picture;
    for (uint32_t i = 0; i < t->length; i++)
        seen[i] = t->row[i];
    seen[t->length] = decoder_rows(g->decoder) + (uint32_t)n;
    g->start[n + 1] = g->start[n] + t->length + 1;
}

/* A token for each text that is not at its end; their number. */
static enum limoe_status take_step(struct group *g, size_t *n, struct limoe_error *err) {
    uint32_t row = decoder_rows(g->decoder);
    *n = 0;
    for (uint32_t p = 0; p < g->pictures; p++)
        for (uint32_t i = 0; i < g->search[p].n_live; i++)
            add_text(g, p, i, (*n)++);
    if (!*n)
        return LIMOE_OK;
    const struct decoder_step step = {.n = *n,
                                      .token = g->token,
                                      .position = g->position,
                                      .picture = g->picture,
                                      .start = g->start,
                                      .seen = g->seen};
    enum limoe_status status = decoder_step(g->decoder, &step, g->logits, err);
    const float *logits = g->logits;
    for (size_t p = 0; !status && p < g->pictures; p++) {
        const uint32_t texts = g->search[p].n_live;
        search_advance(&g->search[p], logits, row);
        logits += (size_t)texts * g->config->text.vocab;
        row += texts;
    }
    return status;
}

static enum limoe_status caption_group(struct group *g, const struct limoe_item *pictures,
                                       struct limoe_caption *captions, struct limoe_error *err) {
    size_t n = 1;
    enum limoe_status status;
    if ((status = group_begin(g, err)) || (status = look(g, pictures, err)))
        return status;
    while (!status && n)
        status = take_step(g, &n, err);
    for (size_t i = 0; !status && i < g->pictures; i++)
        search_answer(&g->search[i], captions + i * g->options->n);
    return status;
}

static enum limoe_status check_pictures(const struct limoe_model *m, const struct limoe_item *pictures,
                                        size_t n, struct limoe_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (pictures[i].modality != LIMOE_IMAGE)
            return limoe_fail(err, LIMOE_INVALID, "item %zu: a text; pictures are captioned", i);
        if (pictures[i].n_tails || pictures[i].shares)
            return limoe_fail(err, LIMOE_UNSUPPORTED,
                              "item %zu: %s, which captions have none of; a picture alone is accepted", i,
                              pictures[i].n_tails ? "tails" : "shares of patches");
    }
    return model_check(m, pictures, n, err);
}

/* How many pictures at once. */
static size_t group_size(const struct limoe_model *m, const struct limoe_caption_options *options) {
    const size_t by_texts = MOST_TEXTS / options_texts(options),
                 by_rows = limoe_model_step_tokens(m) / config_image_tokens(model_config(m));
    const size_t size = by_texts < by_rows ? by_texts : by_rows;
    return size ? size : 1;
}

enum limoe_status limoe_model_caption(struct limoe_model *model, const struct limoe_item *pictures, size_t n,
                                      const struct limoe_caption_options *asked,
                                      struct limoe_caption *captions, struct limoe_error *err) {
    struct limoe_caption_options options;
    enum limoe_status status = limoe_caption_check(limoe_model_info(model), asked, &options, err);
    if (!status && model_ranks(model) > 1)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "\"%s\" is on %u ranks; captions are made on 1",
                          limoe_model_info(model)->name, model_ranks(model));
    if (status || (status = check_pictures(model, pictures, n, err)))
        return status;
    const size_t most = group_size(model, &options);
    for (size_t first = 0; first < n && !status; first += most) {
        struct group g = {.model = model,
                          .config = model_config(model),
                          .options = &options,
                          .pictures = n - first < most ? n - first : most};
        status = caption_group(&g, pictures + first, captions + first * options.n, err);
        group_end(&g);
    }
    return status;
}
