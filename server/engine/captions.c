/* captions.c - a list by number, and the captioner's calls for those of a step. */
#include "server/engine/captions.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "server/engine/test_hooks.h"

struct kept_caption {
    uint64_t id;
    struct limoe_captioning *one; /* NULL: to be begun in this step */
    uint32_t n;                   /* texts */
    uint64_t step;                /* the last that had it, as captions->steps counts them */
};

/* What the captioner is given of a step: each array has room for all of the step's captions. */
struct work {
    struct limoe_item *items;
    struct limoe_caption_options *checked;
    const struct limoe_caption_options **options;
    struct limoe_captioning **ones;
};

/* ---- the list */

/* Where the number is, or would be. */
static size_t place(const struct captions *c, uint64_t id, bool *found) {
    size_t low = 0, high = c->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (c->kept[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < c->n && c->kept[low].id == id;
    return low;
}

static struct kept_caption *find(const struct captions *c, uint64_t id) {
    bool found;
    const size_t at = place(c, id, &found);
    return found ? &c->kept[at] : NULL;
}

static bool make_room(struct captions *c, size_t more) {
    const size_t wanted = c->n + more;
    if (wanted <= c->room)
        return true;
    const size_t room = wanted > 2 * c->room ? wanted : 2 * c->room;
    struct kept_caption *kept = realloc(c->kept, room * sizeof *kept);
    c->kept = kept ? kept : c->kept;
    c->room = kept ? room : c->room;
    return kept;
}

static void forget(struct captions *c, uint64_t id) {
    bool found;
    const size_t at = place(c, id, &found);
    if (!found)
        return;
    limoe_captioner_end(c->captioner, c->kept[at].one);
    c->n--;
    memmove(c->kept + at, c->kept + at + 1, (c->n - at) * sizeof *c->kept);
}

void captions_free(struct captions *c) {
    captions_end_step(c);
    limoe_captioner_close(c->captioner);
    free(c->kept);
    *c = (struct captions){0};
}

/* ---- begun */

static bool make_work(struct work *work, size_t n) {
    work->items = calloc(n, sizeof *work->items);
    work->checked = calloc(n, sizeof *work->checked);
    work->options = calloc(n, sizeof(void *));
    work->ones = calloc(n, sizeof(void *));
    return work->items && work->checked && work->options && work->ones;
}

static void free_work(struct work *work) {
    free(work->items);
    free(work->checked);
    free((void *)work->options);
    free((void *)work->ones);
}

/* Puts a caption in the list that is not there and has its picture; notes of each that this step has it. */
static enum limoe_status enlist(struct captions *c, const struct frame_caption *caption,
                                struct limoe_error *err) {
    bool found;
    size_t at = place(c, caption->id, &found);
    if (found && c->kept[at].one && limoe_captioning_steps(c->kept[at].one) > caption->step) {
        forget(c, caption->id); /* it cannot go back: it is made anew */
        found = false;
    }
    if (found && (c->kept[at].step == c->steps || c->kept[at].n != caption->options.n))
        return limoe_fail(err, LIMOE_CORRUPT, "caption %llu is there twice", (unsigned long long)caption->id);
    if (found) {
        c->kept[at].step = c->steps;
    } else if (caption->pixels) {
        memmove(c->kept + at + 1, c->kept + at, (c->n - at) * sizeof *c->kept);
        c->kept[at] = (struct kept_caption){.id = caption->id, .n = caption->options.n, .step = c->steps};
        c->n++;
    }
    return LIMOE_OK;
}

/* What is in the list and could not be begun leaves it. */
static void leave_unbegun_out(struct captions *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (c->kept[i].one)
            c->kept[n++] = c->kept[i];
    c->n = n;
}

static enum limoe_status begin(struct captions *c, const struct limoe_info *info,
                               const struct frame_captions *step, struct work *work,
                               struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    size_t n = 0;
    for (size_t i = 0; i < step->n && !status; i++) {
        const struct frame_caption *caption = &step->captions[i];
        const struct kept_caption *kept = find(c, caption->id);
        if (!kept || kept->one)
            continue;
        work->items[n] = (struct limoe_item){
            .modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = caption->pixels};
        work->options[n] = &work->checked[n];
        status = limoe_caption_check(info, &caption->options, &work->checked[n++], err);
    }
    if (!status)
        test_hooks_step(work->items, n);
    if (!status && n)
        status = limoe_captioner_begin(c->captioner, work->items, work->options, n, work->ones, err);
    n = 0;
    for (size_t i = 0; i < step->n && !status; i++) {
        struct kept_caption *kept = find(c, step->captions[i].id);
        if (kept && !kept->one)
            kept->one = work->ones[n++];
    }
    return status;
}

/* Each caption of the step is in the list, or unknown. */
static enum limoe_status know(struct captions *c, const struct limoe_info *info,
                              const struct frame_captions *step, struct work *work, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    if (!make_room(c, step->n))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu captions", step->n);
    c->steps++;
    for (size_t i = 0; i < step->n && !status; i++)
        status = enlist(c, &step->captions[i], err);
    if (!status)
        status = begin(c, info, step, work, err);
    if (status)
        leave_unbegun_out(c);
    return status;
}

/* ---- steps */

/* A token at a time for all that are not as far as the step has them, which is all of them once, but for those begun anew. */
static enum limoe_status advance(struct captions *c, const struct frame_captions *step, struct work *work,
                                 struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    for (size_t n = 1; n && !status;) {
        n = 0;
        for (size_t i = 0; i < step->n; i++) {
            const struct kept_caption *kept = find(c, step->captions[i].id);
            if (kept && !limoe_captioning_done(kept->one) &&
                limoe_captioning_steps(kept->one) < step->captions[i].step)
                work->ones[n++] = kept->one;
        }
        if (n)
            status = limoe_captioner_step(c->captioner, work->ones, n, err);
    }
    return status;
}

/* Whether it is done, and how many texts it has then. */
static uint32_t written_of(const struct kept_caption *kept) {
    if (!kept)
        return FRAME_CAPTION_UNKNOWN;
    return limoe_captioning_done(kept->one) ? kept->n : 0;
}

static enum limoe_status answer(struct captions *c, const struct frame_captions *step,
                                struct limoe_error *err) {
    size_t texts = 0;
    c->written = calloc(step->n, sizeof *c->written);
    for (size_t i = 0; i < step->n && c->written; i++) {
        c->written[i] = written_of(find(c, step->captions[i].id));
        texts += c->written[i] == FRAME_CAPTION_UNKNOWN ? 0 : c->written[i];
    }
    c->texts = texts ? calloc(texts, sizeof *c->texts) : NULL;
    if (!c->written || (texts && !c->texts))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu captions", texts);
    for (size_t i = 0; i < step->n; i++) {
        if (c->written[i] == FRAME_CAPTION_UNKNOWN || !c->written[i])
            continue;
        limoe_captioning_answer(find(c, step->captions[i].id)->one, c->texts + c->n_texts);
        c->n_texts += c->written[i];
        forget(c, step->captions[i].id);
    }
    return LIMOE_OK;
}

enum limoe_status captions_step(struct captions *c, struct limoe_model *model,
                                const struct frame_captions *step, struct limoe_error *err) {
    struct work work = {0};
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0; i < step->n_over; i++)
        forget(c, step->over[i]);
    if (!step->n)
        return LIMOE_OK;
    if (!c->captioner)
        status = limoe_captioner_open(model, &c->captioner, err);
    if (!status && !make_work(&work, step->n))
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu captions", step->n);
    if (!status)
        status = know(c, limoe_model_info(model), step, &work, err);
    if (!status)
        status = advance(c, step, &work, err);
    if (!status)
        status = answer(c, step, err);
    free_work(&work);
    return status;
}

void captions_end_step(struct captions *c) {
    free(c->written);
    free(c->texts);
    c->written = NULL;
    c->texts = NULL;
    c->n_texts = 0;
}
