/* course.c - trials on what is not held out, the choice, and what is kept learnt of all.
 *
 * A run owns the lists of pictures and the rows of an epoch; kernels' threads are used. */
#include "model/tuning/course.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/model.h"
#include "model/tuning/probe.h"
#include "model/tuning/split.h"
#include "model/tuning/views.h"

const float course_strengths[KEPT_STRENGTHS] = {0, 0.25f, 0.5f, 0.75f, 1};
static const double probe_rates[] = {0.1, 0.03, 0.3}, tail_rate = 5e-4;
static const double slack =
    1; /* points that are given up for a smaller strength: other classes suffer less by it */

enum {
    RATES = sizeof probe_rates / sizeof *probe_rates,
    PROBE_VIEWS = 4, /* of each picture: one of it whole and the others augmented */
    PROBE_STEPS = 200,
    ALL = KEPT_STRENGTHS - 1 /* of course_strengths */
};

/* Pictures that are learnt from, or judged by. */
struct part {
    uint32_t *picture, *label; /* [n] */
    size_t n;
};

struct run {
    const struct course *course;
    struct course_outcome *out;
    struct views views;
    struct part shown, held, all;
    uint32_t classes, embed;
    float *embedding; /* [PROBE_VIEWS, all.n, embed], once a probe is learnt; NULL: not yet */
    float *rows;      /* of all pictures */
    float *exam;      /* of those held out, whole: rows */
    uint32_t *answer; /* [held] */
    struct kept kept; /* what a tail goes on from, and what is kept of it next */
    bool learnt;      /* the outcome's probe is of all pictures already */
    struct limoe_tune_progress told;
    struct limoe_error *err;
};

static enum limoe_status no_memory(const struct run *r) {
    return limoe_fail(r->err, LIMOE_NO_MEMORY, "no memory to learn from %zu pictures", r->all.n);
}

/* ---- telling */

/* False: to stop. */
static bool tell(struct run *r) {
    return r->course->tell(r->course->context, &r->told);
}

static enum limoe_status stopped(const struct run *r) {
    return limoe_fail(r->err, LIMOE_LOST, "stopped");
}

static bool note(struct run *r, const char *line) {
    const struct limoe_tune_progress progress = {.note = line};
    return r->course->tell(r->course->context, &progress);
}

/* ---- parts */

static bool reserve_part(struct part *p, size_t n) {
    p->picture = calloc(n + 1, sizeof *p->picture);
    p->label = calloc(n + 1, sizeof *p->label);
    return p->picture && p->label;
}

static void add(struct part *p, const struct pictures *from, uint32_t picture) {
    p->picture[p->n] = picture;
    p->label[p->n++] = from->label[picture];
}

static void free_part(struct part *p) {
    free(p->picture);
    free(p->label);
}

static enum limoe_status split(struct run *r) {
    const struct pictures *p = r->course->pictures;
    bool *held = calloc(p->n + 1, sizeof *held);
    const bool room =
        held && reserve_part(&r->shown, p->n) && reserve_part(&r->held, p->n) && reserve_part(&r->all, p->n);
    if (!room ||
        split_held_out(p->label, p->n, p->classes, r->course->share, r->course->seed, held) == SIZE_MAX) {
        free(held);
        return no_memory(r);
    }
    for (uint32_t i = 0; i < p->n; i++) {
        add(held[i] ? &r->held : &r->shown, p, i);
        add(&r->all, p, i);
    }
    free(held);
    r->out->held = r->held.n;
    r->answer = calloc(r->held.n + 1, sizeof *r->answer);
    return r->answer ? LIMOE_OK : no_memory(r);
}

/* ---- judging */

static double points(const struct run *r, uint32_t right) {
    return 100.0 * right / (double)r->held.n;
}

static uint32_t count_right(const struct run *r) {
    uint32_t right = 0;
    for (size_t i = 0; i < r->held.n; i++)
        right += r->answer[i] == r->held.label[i];
    return right;
}

/* Without texts there is nothing between the base and what is learnt. */
static void choose_place(const struct run *r, struct course_trial *t) {
    uint32_t most = 0;
    t->place = ALL;
    for (uint32_t i = 1; i < KEPT_STRENGTHS; i++)
        most = t->right[i] > most ? t->right[i] : most;
    for (uint32_t i = ALL; i >= 1 && r->course->zero_shot; i--)
        if (points(r, t->right[i]) >= points(r, most) - slack)
            t->place = i;
}

/* ---- a probe */

/* Of every picture in every view, each computed once: what is learnt on trial and then of all has most of them in common. */
static enum limoe_status embed_all(struct run *r) {
    const size_t n = r->all.n;
    enum limoe_status status = LIMOE_OK;
    if (r->embedding)
        return LIMOE_OK;
    r->embedding = calloc(PROBE_VIEWS * n * r->embed + 1, sizeof *r->embedding);
    if (!r->embedding)
        return no_memory(r);
    for (uint32_t view = 0; view < PROBE_VIEWS && !status; view++)
        status = views_embed(&r->views, r->all.picture, n, view, r->embedding + view * n * r->embed, r->err);
    return status;
}

/* x[views * n, embed] and their labels, view by view. */
static void gather(const struct run *r, const struct part *p, uint32_t views, float *x, uint32_t *label) {
    for (uint32_t view = 0; view < views; view++)
        for (size_t i = 0; i < p->n; i++) {
            memcpy(x, r->embedding + (view * r->all.n + p->picture[i]) * r->embed, r->embed * sizeof *x);
            x += r->embed;
            *label++ = p->label[i];
        }
}

static size_t weights_of(const struct run *r) {
    return (size_t)r->classes * r->embed;
}

/* out->weight and bias, from the zero-shot classifier on. */
static enum limoe_status train_probe(struct run *r, const struct probe_set *set, double rate) {
    struct course_outcome *out = r->out;
    const float *first = r->course->zero_shot;
    for (size_t i = 0; i < weights_of(r); i++)
        out->weight[i] = first ? first[i] : 0;
    memset(out->bias, 0, r->classes * sizeof *out->bias);
    return probe_train(model_kernels(r->course->model), set, rate, PROBE_STEPS, out->weight, out->bias,
                       r->err);
}

/* What held-out embeddings x are answered, at each strength: logits are linear in it. */
static enum limoe_status judge_probe(struct run *r, const float *x, struct course_trial *t) {
    const struct course *c = r->course;
    const size_t n = r->held.n, classes = r->classes;
    float *logit = calloc(2 * n * classes + classes, sizeof *logit), *base = logit + n * classes;
    struct kernels *k = model_kernels(c->model);
    if (!logit)
        return no_memory(r);
    probe_logits(k, x, n, r->embed, r->out->weight, r->out->bias, r->classes, logit);
    if (c->zero_shot)
        probe_logits(k, x, n, r->embed, c->zero_shot, base + n * classes, r->classes, base);
    for (uint32_t s = 0; s < KEPT_STRENGTHS; s++) {
        const float strength = course_strengths[s];
        for (size_t i = 0; i < n; i++) {
            float best = 0;
            for (uint32_t class = 0; class < classes; class ++) {
                const size_t at = i * classes + class;
                const float v = (1 - strength) * base[at] + strength * logit[at];
                if (class == 0 || v > best) {
                    best = v;
                    r->answer[i] = class;
                }
            }
        }
        t->right[s] = count_right(r);
    }
    free(logit);
    choose_place(r, t);
    return k->ops->sync(k, r->err);
}

/* The best of the rates; ties: the first. */
static enum limoe_status try_rates(struct run *r, const struct probe_set *set, const float *exam) {
    struct course_trial *best = &r->out->probe;
    const size_t rates = r->course->rate > 0 ? 1 : RATES;
    for (size_t i = 0; i < rates; i++) {
        struct course_trial t = {.made = true,
                                 .rate = r->course->rate > 0 ? r->course->rate : probe_rates[i]};
        enum limoe_status status;
        if ((status = train_probe(r, set, t.rate)) || (status = judge_probe(r, exam, &t)))
            return status;
        if (!best->made || t.right[t.place] > best->right[best->place])
            *best = t;
        r->told.epoch = (uint32_t)i + 1;
        if (!tell(r))
            return stopped(r);
    }
    return LIMOE_OK;
}

/* x and label have room for a part's views and, behind them, for what is held out, which judges where there is an `exam`; else the
 * rate is the one that was chosen. */
static enum limoe_status learn_gathered(struct run *r, const struct part *p, bool exam, float *x,
                                        uint32_t *label) {
    const size_t n = PROBE_VIEWS * p->n;
    const struct probe_set set = {.x = x, .label = label, .n = n, .classes = r->classes, .embed = r->embed};
    float *held = x + n * r->embed;
    const enum limoe_status status = embed_all(r);
    if (status)
        return status;
    gather(r, p, PROBE_VIEWS, x, label);
    if (!exam)
        return train_probe(r, &set, r->out->rate);
    gather(r, &r->held, 1, held, label + n);
    return try_rates(r, &set, held);
}

static enum limoe_status learn_probe(struct run *r, const struct part *p, bool exam) {
    const size_t n = PROBE_VIEWS * p->n + r->held.n;
    float *x = calloc(n * r->embed + 1, sizeof *x);
    uint32_t *label = calloc(n + 1, sizeof *label);
    const enum limoe_status status = x && label ? learn_gathered(r, p, exam, x, label) : no_memory(r);
    free(x);
    free(label);
    return status;
}

static enum limoe_status try_probe(struct run *r) {
    r->out->weight = calloc(weights_of(r) + 1, sizeof *r->out->weight);
    r->out->bias = calloc(r->classes, sizeof *r->out->bias);
    if (!r->out->weight || !r->out->bias)
        return no_memory(r);
    r->told = (struct limoe_tune_progress){.stage = "probe", .epochs = r->course->rate > 0 ? 1 : RATES};
    if (r->held.n)
        return learn_probe(r, &r->shown, true);
    r->out->probe =
        (struct course_trial){.rate = r->course->rate > 0 ? r->course->rate : probe_rates[0], .place = ALL};
    return LIMOE_OK;
}

/* ---- a tail */

static struct kept_bounds bounds_of(const struct run *r) {
    struct kept_bounds b = {.epochs = r->course->epochs, .held = (uint32_t)r->held.n};
    memcpy(b.digest, r->course->digest, sizeof b.digest);
    return b;
}

/* What an earlier run has left, or a beginning; false: to stop. */
static bool find_kept(struct run *r) {
    const struct kept_bounds bounds = bounds_of(r);
    struct tuner_array array[TUNER_ARRAYS];
    const size_t n = tuner_state(r->course->tuner, array);
    struct limoe_error why;
    char line[600];
    const enum limoe_status status = kept_read(r->course->state, &bounds, &r->kept, array, n, &why);
    if (!status) {
        tuner_resume(r->course->tuner);
        return true;
    }
    tuner_restart(r->course->tuner);
    r->kept = (struct kept){.part = r->held.n ? KEPT_TRIAL : KEPT_FINAL};
    memcpy(r->kept.digest, bounds.digest, sizeof bounds.digest);
    if (status == LIMOE_NOT_FOUND)
        return true;
    snprintf(line, sizeof line, "%s; this run begins anew", why.message);
    return note(r, line);
}

static enum limoe_status keep(struct run *r) {
    struct tuner_array array[TUNER_ARRAYS];
    const size_t n = tuner_state(r->course->tuner, array);
    return kept_write(r->course->state, &r->kept, array, n, r->err);
}

static bool tell_batch(void *context, size_t done, float loss) {
    struct run *r = context;
    const struct part *p = r->kept.part == KEPT_TRIAL ? &r->shown : &r->all;
    const double trial = r->held.n ? (double)r->shown.n : 0, all = (double)r->all.n,
                 epochs = r->course->epochs;
    const double before = r->kept.part == KEPT_FINAL ? trial * epochs : 0;
    const double work = before + (double)p->n * r->kept.epochs + (double)done;
    r->told.epoch = r->kept.epochs;
    r->told.loss = loss;
    r->told.done = work / ((trial + all) * epochs);
    return tell(r);
}

/* The epochs of a part that are still to be done, each told of once its state is kept. */
static enum limoe_status run_epochs(struct run *r, double rate) {
    const struct part *p = r->kept.part == KEPT_TRIAL ? &r->shown : &r->all;
    enum limoe_status status = LIMOE_OK;
    r->told = (struct limoe_tune_progress){.stage = r->kept.part == KEPT_TRIAL ? "tail, on trial" : "tail",
                                           .epochs = r->course->epochs};
    while (r->kept.epochs < r->course->epochs && !status) {
        const struct tuner_epoch epoch = {.rows = r->rows,
                                          .label = p->label,
                                          .n = p->n,
                                          .epoch = r->kept.epochs,
                                          .epochs = r->course->epochs,
                                          .rate = rate,
                                          .seed = r->course->seed,
                                          .tell = tell_batch,
                                          .context = r};
        status = views_rows(&r->views, p->picture, p->n, r->kept.epochs + 1, r->course->start_block, r->rows,
                            r->err);
        if (status || (status = tuner_epoch(r->course->tuner, &epoch, r->err)))
            return status;
        r->told.epoch = ++r->kept.epochs;
        if (!(status = keep(r)) && !tell(r))
            status = stopped(r);
    }
    return status;
}

static enum limoe_status judge_tail(struct run *r, struct course_trial *t) {
    enum limoe_status status = views_rows(&r->views, r->held.picture, r->held.n, VIEWS_WHOLE,
                                          r->course->start_block, r->exam, r->err);
    for (uint32_t s = 0; s < KEPT_STRENGTHS && !status; s++) {
        status = tuner_classify(r->course->tuner, course_strengths[s], r->exam, r->held.n, r->answer, r->err);
        t->right[s] = count_right(r);
    }
    return status;
}

static double tail_rate_of(const struct run *r) {
    return r->course->rate > 0 ? r->course->rate : tail_rate;
}

static enum limoe_status try_tail(struct run *r) {
    struct course_trial *t = &r->out->tail;
    const size_t floats = views_row_floats(&r->views);
    *t = (struct course_trial){.rate = tail_rate_of(r), .place = ALL};
    r->rows = malloc((r->all.n * floats + 1) * sizeof *r->rows);
    r->exam = malloc((r->held.n * floats + 1) * sizeof *r->exam);
    if (!r->rows || !r->exam)
        return no_memory(r);
    if (!find_kept(r))
        return stopped(r);
    if (!r->held.n)
        return LIMOE_OK;
    t->made = true;
    if (r->kept.part == KEPT_TRIAL) {
        enum limoe_status status = run_epochs(r, t->rate);
        if (status || (status = judge_tail(r, t)))
            return status;
        memcpy(r->kept.right, t->right, sizeof t->right);
    } else {
        memcpy(t->right, r->kept.right, sizeof t->right);
    }
    choose_place(r, t);
    return LIMOE_OK;
}

/* ---- the whole */

static bool tail_is_better(const struct course *c, const struct course_outcome *o) {
    const struct course_trial *p = &o->probe, *t = &o->tail;
    if (!c->tuner || !c->probe)
        return c->tuner;
    return t->made && t->right[t->place] > p->right[p->place];
}

static void choose(struct course_outcome *out, bool tail) {
    const struct course_trial *t = tail ? &out->tail : &out->probe;
    out->kind = tail ? LIMOE_ADAPTER_TAIL : LIMOE_ADAPTER_PROBE;
    out->strength = course_strengths[t->place];
    out->rate = t->rate;
}

/* The probe as it would be kept, for who waits for a first answer. */
static enum limoe_status give_first(struct run *r) {
    choose(r->out, false);
    const enum limoe_status status = learn_probe(r, &r->all, false);
    r->learnt = true;
    return status ? status : r->course->first(r->course->first_context);
}

static enum limoe_status learn(struct run *r) {
    struct course_outcome *out = r->out;
    const bool tail = tail_is_better(r->course, out);
    choose(out, tail);
    if (!tail)
        return r->learnt ? LIMOE_OK : learn_probe(r, &r->all, false);
    if (r->kept.part == KEPT_TRIAL) {
        tuner_restart(r->course->tuner);
        r->kept.part = KEPT_FINAL;
        r->kept.epochs = 0;
    }
    return run_epochs(r, out->rate);
}

static enum limoe_status run_all(struct run *r) {
    enum limoe_status status = split(r);
    if (status)
        return status;
    if (!r->held.n &&
        !note(r,
              r->course->share > 0
                  ? "nothing is held out, since a class has fewer than 4 pictures: nothing is chosen by trial"
                  : "nothing is held out, as asked: nothing is chosen by trial"))
        return stopped(r);
    if (r->course->probe && (status = try_probe(r)))
        return status;
    const bool both = r->course->tuner && r->course->probe;
    if (both && r->held.n && r->course->first && (status = give_first(r)))
        return status;
    if (r->course->tuner && (r->held.n || !both) && (status = try_tail(r)))
        return status;
    return learn(r);
}

enum limoe_status course_run(const struct course *course, struct course_outcome *out,
                             struct limoe_error *err) {
    struct run r = {.course = course,
                    .out = out,
                    .classes = course->pictures->classes,
                    .embed = limoe_model_info(course->model)->embed,
                    .err = err};
    *out = (struct course_outcome){0};
    enum limoe_status status =
        views_create(course->model, course->pictures, course->seed, course->flip, &r.views, err);
    if (!status)
        status = run_all(&r);
    views_free(&r.views);
    free_part(&r.shown);
    free_part(&r.held);
    free_part(&r.all);
    free(r.embedding);
    free(r.rows);
    free(r.exam);
    free(r.answer);
    return status;
}

void course_free(struct course_outcome *o) {
    free(o->weight);
    free(o->bias);
    *o = (struct course_outcome){0};
}
