/* search.c - greedy search, beams and sampling. Whoever begins a search owns it.
 *
 * Beams: of all that could follow the live texts, the most probable are kept, as many as there are beams less those that
 * are done. Greedy search is that of one beam. Sampling draws by Philox, keyed by seed, sample and position (base/draws.h). */
#include "model/caption/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/draws.h"
#include "base/error.h"
#include "model/caption/options.h"

struct search_choice {
    uint32_t text; /* the live one that it follows */
    int32_t token;
    float logit;
    double logprob; /* of the text with it */
};

enum limoe_status search_begin(struct search *s, const struct limoe_caption_options *options, uint32_t vocab,
                               int32_t begin_id, int32_t end_id, struct limoe_error *err) {
    const uint32_t texts = options_texts(options);
    *s = (struct search){
        .options = *options, .vocab = vocab, .begin_id = begin_id, .end_id = end_id, .n_live = 1};
    const size_t choices = options->top_k ? options->top_k : (size_t)options->beams * options->beams;
    s->live = calloc(texts, sizeof *s->live);
    s->next = calloc(texts, sizeof *s->next);
    s->done = calloc(texts, sizeof *s->done);
    s->choice = calloc(choices, sizeof *s->choice);
    if (!s->live || !s->next || !s->done || !s->choice) {
        search_end(s);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %u texts", texts);
    }
    if (options->top_k)
        s->n_live = options->n;
    for (uint32_t i = 0; i < s->n_live; i++)
        s->live[i].sample = i;
    return LIMOE_OK;
}

void search_end(struct search *s) {
    free(s->choice);
    free(s->done);
    free(s->next);
    free(s->live);
    *s = (struct search){0};
}

int32_t search_next_token(const struct search *s, uint32_t text) {
    const struct search_text *t = &s->live[text];
    return t->length ? t->token[t->length - 1] : s->begin_id;
}

/* ---- what could follow */

static bool is_barred(const struct search *s, const struct search_text *text, int32_t token) {
    return token == s->begin_id || (token == s->end_id && text->length < s->options.min_length);
}

/* Whether a comes behind b: the less probable, of equals the greater id. */
static bool is_behind(const struct search_choice *a, const struct search_choice *b) {
    return a->logit != b->logit ? a->logit < b->logit : a->token > b->token;
}

/* Mends a heap[n] whose root alone may be out of place: no choice comes behind its parent's. */
static void sift(struct search_choice *heap, size_t n) {
    for (size_t at = 0, child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_behind(&heap[child + 1], &heap[child]))
            child++;
        if (!is_behind(&heap[child], &heap[at]))
            return;
        const struct search_choice moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

static void insert(struct search_choice *heap, size_t n, struct search_choice added) {
    size_t at = n;
    for (; at && is_behind(&added, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = added;
}

/* The most probable tokens that may follow, at most `most`, in their order. Their number. */
static size_t find_best(const struct search *s, uint32_t text, const float *logits, size_t most,
                        struct search_choice *best) {
    size_t n = 0;
    for (uint32_t id = 0; id < s->vocab; id++) {
        const struct search_choice c = {.text = text, .token = (int32_t)id, .logit = logits[id]};
        if (n == most && !is_behind(&best[0], &c))
            continue;
        if (is_barred(s, &s->live[text], c.token))
            continue;
        if (n < most) {
            insert(best, n++, c);
        } else {
            best[0] = c;
            sift(best, n);
        }
    }
    for (size_t left = n; left > 1; left--) { /* the last of them goes to the end */
        const struct search_choice last = best[0];
        best[0] = best[left - 1];
        best[left - 1] = last;
        sift(best, left - 1);
    }
    return n;
}

/* ln sum exp(logit): what a logit is above it is its token's ln p. */
static double log_sum(const float *logits, uint32_t n) {
    float most = logits[0];
    double sum = 0;
    for (uint32_t i = 1; i < n; i++)
        most = logits[i] > most ? logits[i] : most;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)expf(logits[i] - most);
    return (double)most + log(sum);
}

/* ---- going on */

/* The text with one token more goes on or is done. */
static uint32_t append(struct search *s, const struct search_choice *c, uint32_t row, uint32_t next) {
    const struct search_text *from = &s->live[c->text];
    const bool ended = c->token == s->end_id, done = ended || from->length + 1 == s->options.max_length;
    struct search_text *to = done ? &s->done[s->n_done++] : &s->next[next];
    *to = *from;
    to->logprob = c->logprob;
    to->ended = ended;
    to->row[to->length] = row;
    if (!ended)
        to->token[to->length++] = c->token;
    return done ? next : next + 1;
}

static int by_logprob(const void *a, const void *b) {
    const struct search_choice *x = a, *y = b;
    if (x->logprob != y->logprob)
        return x->logprob < y->logprob ? 1 : -1;
    if (x->text != y->text)
        return x->text < y->text ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

static uint32_t advance_beams(struct search *s, const float *logits, const uint32_t *row) {
    const size_t most = s->options.beams - s->n_done;
    size_t n = 0;
    uint32_t next = 0;
    for (uint32_t i = 0; i < s->n_live; i++) {
        const float *own = logits + (size_t)i * s->vocab;
        const double base = s->live[i].logprob - log_sum(own, s->vocab);
        struct search_choice *best = s->choice + n;
        n += find_best(s, i, own, most, best);
        for (; best < s->choice + n; best++)
            best->logprob = base + (double)best->logit;
    }
    qsort(s->choice, n, sizeof *s->choice, by_logprob);
    for (size_t i = 0; i < n && i < most; i++)
        next = append(s, &s->choice[i], row[s->choice[i].text], next);
    return next;
}

/* One of choice[n], each with probability proportional to exp(logit / temperature). */
static size_t draw(const struct search *s, const struct search_text *text, size_t n) {
    const struct draws_place place = {
        .seed = s->options.seed, .use = DRAWS_CAPTION, .item = text->sample, .epoch = text->length};
    const double most = (double)s->choice[0].logit, temperature = (double)s->options.temperature;
    double all = 0, below = 0;
    size_t i = 0;
    float u;
    draws_uniform(&place, 1, &u);
    for (size_t j = 0; j < n; j++)
        all += exp(((double)s->choice[j].logit - most) / temperature);
    for (; i + 1 < n; i++) {
        below += exp(((double)s->choice[i].logit - most) / temperature);
        if ((double)u * all < below)
            break;
    }
    return i;
}

static uint32_t advance_samples(struct search *s, const float *logits, const uint32_t *row) {
    uint32_t next = 0;
    for (uint32_t i = 0; i < s->n_live; i++) {
        const float *own = logits + (size_t)i * s->vocab;
        const size_t n = find_best(s, i, own, s->options.top_k, s->choice);
        struct search_choice *drawn = &s->choice[draw(s, &s->live[i], n)];
        drawn->logprob = s->live[i].logprob + (double)drawn->logit - log_sum(own, s->vocab);
        next = append(s, drawn, row[i], next);
    }
    return next;
}

void search_advance(struct search *s, const float *logits, const uint32_t *row) {
    const uint32_t next = s->options.top_k ? advance_samples(s, logits, row) : advance_beams(s, logits, row);
    struct search_text *const before = s->live;
    s->live = s->next;
    s->next = before;
    s->n_live = next;
}

/* ---- the answer */

/* ln p for a token. */
static double mean(const struct search_text *t) {
    return t->logprob / (t->length + t->ended);
}

/* Whether a comes before b. */
static bool is_before(const struct search *s, const struct search_text *a, const struct search_text *b) {
    return s->options.top_k ? a->sample < b->sample : mean(a) > mean(b);
}

/* order[n_done]: which text is which in the answer; of equals the one that was done first comes first. */
static void sort_done(const struct search *s, uint32_t *order) {
    for (uint32_t i = 0; i < s->n_done; i++) {
        uint32_t at = i;
        for (; at > 0 && is_before(s, &s->done[i], &s->done[order[at - 1]]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

void search_answer(const struct search *s, struct limoe_caption *captions) {
    uint32_t order[LIMOE_CAPTION_MAX];
    sort_done(s, order);
    for (uint32_t i = 0; i < s->options.n; i++) {
        captions[i] = (struct limoe_caption){.logprob = -INFINITY};
        if (i >= s->n_done)
            continue;
        const struct search_text *text = &s->done[order[i]];
        captions[i].length = text->length;
        captions[i].ended = text->ended;
        captions[i].logprob = text->logprob;
        memcpy(captions[i].tokens, text->token, text->length * sizeof *text->token);
    }
}
