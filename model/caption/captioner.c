/* captioner.c - captions in the making: which of them read what in a step, and where the decoder keeps it.
 *
 * The decoder's rows are handed out by pages. A picture's captions get all the pages that they may need when they begin, and
 * give them back at their end, so that none of them finds no room half way. Pools grow with what is begun, and are given
 * back when the last caption ends.
 *
 * A captioning owns its search and the list of its pages; the captioner owns everything else, and lists the captionings.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "model/caption/captioner.h"
#include "model/caption/options.h"
#include "model/caption/search.h"
#include "model/forward/decoder.h"
#include "model/model.h"

enum { PAGE = 16 }; /* rows */

static_assert(CAPTIONER_TEXTS >= LIMOE_CAPTION_MAX && CAPTIONER_TEXTS >= LIMOE_CAPTION_MAX_BEAMS,
              "a picture's texts fit a step");

/* Numbers that are free, of those below `all`. */
struct numbers {
    uint32_t *free; /* [n_free], of room for `all` */
    size_t n_free, all;
};

struct limoe_captioning {
    struct limoe_captioning *next, **link; /* in the captioner's list; *link is this */
    struct search search;
    uint32_t picture, steps;
    size_t pages_per_text;
    uint32_t page[]; /* [texts, pages_per_text] */
};

struct limoe_captioner {
    struct limoe_model *model;
    const struct config *config;
    struct limoe_captioning *first;
    struct decoder *decoder; /* as are the others but the lists: NULL, 0 while there is nothing to caption */
    struct numbers pages, pictures;
    float *logits;  /* [CAPTIONER_TEXTS, vocab] */
    uint32_t *seen; /* [CAPTIONER_TEXTS, length] */
};

/* ---- numbers */

/* Room for `more` beyond what is taken: *all is how many there are to be then. False: no memory. */
static bool numbers_room(struct numbers *numbers, size_t more, size_t *all) {
    const size_t wanted = numbers->all - numbers->n_free + more;
    *all = numbers->all;
    if (wanted <= numbers->all)
        return true;
    *all = wanted > 2 * numbers->all ? wanted : 2 * numbers->all;
    uint32_t *room = *all <= UINT32_MAX ? realloc(numbers->free, *all * sizeof *room) : NULL;
    numbers->free = room ? room : numbers->free;
    return room;
}

/* The lowest are handed out first. */
static void numbers_add(struct numbers *numbers, size_t all) {
    for (size_t i = all; i > numbers->all; i--)
        numbers->free[numbers->n_free++] = (uint32_t)(i - 1);
    numbers->all = all;
}

static uint32_t numbers_take(struct numbers *numbers) {
    return numbers->free[--numbers->n_free];
}

static void numbers_give_back(struct numbers *numbers, uint32_t number) {
    numbers->free[numbers->n_free++] = number;
}

/* ---- life */

enum limoe_status limoe_captioner_open(struct limoe_model *model, struct limoe_captioner **out,
                                       struct limoe_error *err) {
    const struct limoe_info *info = limoe_model_info(model);
    struct limoe_caption_options ignored;
    const enum limoe_status status = limoe_caption_check(info, NULL, &ignored, err);
    *out = NULL;
    if (status)
        return status;
    if (model_ranks(model) > 1)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "\"%s\" is on %u ranks; captions are made on 1", info->name,
                          model_ranks(model));
    *out = calloc(1, sizeof **out);
    if (!*out)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for captions");
    (*out)->model = model;
    (*out)->config = model_config(model);
    return LIMOE_OK;
}

/* Gives back all that captions need; there are none. */
static void rest(struct limoe_captioner *c) {
    decoder_destroy(c->decoder);
    free(c->pages.free);
    free(c->pictures.free);
    free(c->logits);
    free(c->seen);
    c->decoder = NULL;
    c->pages = c->pictures = (struct numbers){NULL, 0, 0};
    c->logits = NULL;
    c->seen = NULL;
}

void limoe_captioner_close(struct limoe_captioner *c) {
    if (!c)
        return;
    for (struct limoe_captioning *one = c->first, *next; one; one = next) {
        next = one->next;
        limoe_captioner_end(c, one);
    }
    rest(c);
    free(c);
}

static enum limoe_status wake(struct limoe_captioner *c, struct limoe_error *err) {
    if (c->decoder)
        return LIMOE_OK;
    c->logits = calloc(CAPTIONER_TEXTS, c->config->text.vocab * sizeof *c->logits);
    c->seen = calloc(CAPTIONER_TEXTS, c->config->decoder.length * sizeof *c->seen);
    if (!c->logits || !c->seen)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for captions");
    return decoder_create(c->config, model_kernels(c->model), &model_weights(c->model)->decoder,
                          CAPTIONER_TEXTS, &c->decoder, err);
}

/* ---- begin */

static size_t pages_of(const struct limoe_caption_options *options) {
    return (options->max_length + PAGE - 1) / PAGE;
}

static enum limoe_status reserve(struct limoe_captioner *c,
                                 const struct limoe_caption_options *const *options, size_t n,
                                 struct limoe_error *err) {
    size_t more = 0, pages, pictures;
    for (size_t i = 0; i < n; i++)
        more += options_texts(options[i]) * pages_of(options[i]);
    if (!numbers_room(&c->pages, more, &pages) || !numbers_room(&c->pictures, n, &pictures))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for captions of %zu pictures", n);
    const enum limoe_status status = decoder_reserve(c->decoder, pictures, pages * PAGE, err);
    if (status)
        return status;
    numbers_add(&c->pages, pages);
    numbers_add(&c->pictures, pictures);
    return LIMOE_OK;
}

static void list(struct limoe_captioner *c, struct limoe_captioning *one) {
    one->next = c->first;
    one->link = &c->first;
    if (one->next)
        one->next->link = &one->next;
    c->first = one;
}

/* One more in the list, which has a place for its picture and its pages. */
static enum limoe_status add(struct limoe_captioner *c, const struct limoe_caption_options *options,
                             struct limoe_captioning **out, struct limoe_error *err) {
    const size_t pages = options_texts(options) * pages_of(options);
    struct limoe_captioning *one = calloc(1, sizeof *one + pages * sizeof *one->page);
    if (!one)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a caption");
    const enum limoe_status status =
        search_begin(&one->search, options, c->config->text.vocab, c->config->decoder.begin_id,
                     c->config->decoder.end_id, err);
    if (status) {
        free(one);
        return status;
    }
    one->pages_per_text = pages_of(options);
    one->picture = numbers_take(&c->pictures);
    for (size_t i = 0; i < pages; i++)
        one->page[i] = numbers_take(&c->pages);
    list(c, one);
    *out = one;
    return LIMOE_OK;
}

/* The pictures pass their tower, as many at once as a step holds. */
static enum limoe_status look(struct limoe_captioner *c, const struct limoe_item *pictures,
                              struct limoe_captioning *const *captionings, size_t n,
                              struct limoe_error *err) {
    const struct config_tower *tower = &c->config->tower[LIMOE_IMAGE];
    const size_t tokens = config_image_tokens(c->config), floats = tokens * tower->width,
                 fit = limoe_model_step_tokens(c->model) / tokens, most = fit ? fit : 1;
    float *rows = calloc(n < most ? n : most, floats * sizeof *rows);
    enum limoe_status status = LIMOE_OK;
    if (!rows)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the rows of %zu pictures", n);
    for (size_t first = 0; first < n && !status; first += most) {
        const size_t count = n - first < most ? n - first : most;
        status = model_trunk(c->model, pictures + first, count, tower->blocks, rows, err);
        for (size_t i = 0; i < count && !status; i++)
            decoder_look(c->decoder, captionings[first + i]->picture, rows + i * floats);
    }
    free(rows);
    return status;
}

enum limoe_status captioner_check(const struct limoe_model *m, const struct limoe_item *pictures, size_t n,
                                  struct limoe_error *err) {
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

enum limoe_status limoe_captioner_begin(struct limoe_captioner *c, const struct limoe_item *pictures,
                                        const struct limoe_caption_options *const *options, size_t n,
                                        struct limoe_captioning **out, struct limoe_error *err) {
    enum limoe_status status = captioner_check(c->model, pictures, n, err);
    size_t begun = 0;
    if (!n || status)
        return status;
    if (!(status = wake(c, err)))
        status = reserve(c, options, n, err);
    while (begun < n && !status)
        if (!(status = add(c, options[begun], &out[begun], err)))
            begun++;
    if (!status)
        status = look(c, pictures, out, n, err);
    while (status && begun)
        limoe_captioner_end(c, out[--begun]);
    if (status && !c->first)
        rest(c);
    return status;
}

void limoe_captioner_end(struct limoe_captioner *c, struct limoe_captioning *one) {
    if (!one)
        return;
    const size_t pages = options_texts(&one->search.options) * one->pages_per_text;
    for (size_t i = pages; i > 0; i--)
        numbers_give_back(&c->pages, one->page[i - 1]);
    numbers_give_back(&c->pictures, one->picture);
    *one->link = one->next;
    if (one->next)
        one->next->link = one->link;
    search_end(&one->search);
    free(one);
    if (!c->first)
        rest(c);
}

/* ---- steps */

/* Of one pass of the decoder. */
struct pass {
    size_t n;
    int32_t token[CAPTIONER_TEXTS];
    uint32_t position[CAPTIONER_TEXTS], picture[CAPTIONER_TEXTS], row[CAPTIONER_TEXTS],
        start[CAPTIONER_TEXTS + 1];
};

/* The row that text `text` of a picture leaves in the step to come: no other step, and no other text of this, leaves one
 * there. */
static uint32_t row_of(const struct limoe_captioning *one, uint32_t text) {
    return one->page[text * one->pages_per_text + one->steps / PAGE] * PAGE + one->steps % PAGE;
}

static void add_text(const struct limoe_captioner *c, const struct limoe_captioning *one, uint32_t text,
                     struct pass *pass) {
    const struct search_text *t = &one->search.live[text];
    uint32_t *seen = c->seen + pass->start[pass->n];
    for (uint32_t i = 0; i < t->length; i++)
        seen[i] = t->row[i];
    seen[t->length] = row_of(one, text);
    pass->token[pass->n] = search_next_token(&one->search, text);
    pass->position[pass->n] = t->length;
    pass->picture[pass->n] = one->picture;
    pass->row[pass->n] = seen[t->length];
    pass->start[pass->n + 1] = pass->start[pass->n] + t->length + 1;
    pass->n++;
}

/* As many captionings as the pass has room for; their number. */
static size_t fill(const struct limoe_captioner *c, struct limoe_captioning *const *captionings, size_t n,
                   struct pass *pass) {
    size_t taken = 0;
    pass->n = 0;
    pass->start[0] = 0;
    for (; taken < n && pass->n + captionings[taken]->search.n_live <= CAPTIONER_TEXTS; taken++)
        for (uint32_t i = 0; i < captionings[taken]->search.n_live; i++)
            add_text(c, captionings[taken], i, pass);
    return taken;
}

static void advance(struct limoe_captioner *c, struct limoe_captioning *const *captionings, size_t n,
                    const struct pass *pass) {
    size_t first = 0; /* text of the pass */
    for (size_t i = 0; i < n; i++) {
        struct search *search = &captionings[i]->search;
        const uint32_t texts = search->n_live;
        if (!texts)
            continue;
        search_advance(search, c->logits + first * c->config->text.vocab, pass->row + first);
        captionings[i]->steps++;
        first += texts;
    }
}

enum limoe_status limoe_captioner_step(struct limoe_captioner *c, struct limoe_captioning *const *captionings,
                                       size_t n, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    struct pass pass;
    for (size_t first = 0, taken; first < n && !status; first += taken) {
        taken = fill(c, captionings + first, n - first, &pass);
        const struct decoder_step step = {.n = pass.n,
                                          .token = pass.token,
                                          .position = pass.position,
                                          .picture = pass.picture,
                                          .row = pass.row,
                                          .start = pass.start,
                                          .seen = c->seen};
        if (pass.n && !(status = decoder_step(c->decoder, &step, c->logits, err)))
            advance(c, captionings + first, taken, &pass);
    }
    return status;
}

uint32_t limoe_captioning_steps(const struct limoe_captioning *one) {
    return one->steps;
}

bool limoe_captioning_done(const struct limoe_captioning *one) {
    return one->search.n_live == 0;
}

void limoe_captioning_answer(const struct limoe_captioning *one, struct limoe_caption *captions) {
    search_answer(&one->search, captions);
}
