/* tuner.c - batches through the tails, and weights between the base's and the tuned ones.
 *
 * Owns its tails, the base's weights and a batch's arrays; kernels' threads are used. One caller at a time. */
#include "model/tuning/tuner.h"

#include <stdlib.h>
#include <string.h>

#include "base/draws.h"
#include "base/error.h"
#include "kernels/backward.h"
#include "model/tuning/objective.h"
#include "model/tuning/schedule.h"
#include "model/tuning/tail.h"

static const double decay = 0.01;

struct tuner {
    struct tuner_setup setup;
    struct tail *tail[LIMOE_MODALITIES];         /* by tower */
    float *base[LIMOE_MODALITIES];               /* their weights at first */
    size_t prompts, image_floats, prompt_floats; /* floats: of a picture's rows; of all prompts' */
    /* Of a batch. */
    float *rows;     /* its pictures', then, where one tower takes both, the prompts' */
    uint32_t *start; /* of pictures, and likewise of prompts */
    uint32_t *label; /* [TUNER_BATCH] */
    float *z, *dz;   /* [pictures + prompts, embed] */
    float *mean;     /* [classes, embed]: of a class' prompts, before it is a unit vector */
    float *class;    /* [classes, embed] */
    float *dclass;   /* the same */
    float *cosine;   /* [TUNER_BATCH, classes] */
    float *loss;     /* [TUNER_BATCH] */
    uint32_t *order; /* of an epoch's pictures */
    size_t order_room;
};

/* ---- life */

static bool reserve(struct tuner *t) {
    const struct tuner_setup *s = &t->setup;
    const size_t sequences = TUNER_BATCH + t->prompts, embed = s->config->embed, classes = s->classes;
    t->rows = calloc(TUNER_BATCH * t->image_floats + t->prompt_floats, sizeof *t->rows);
    t->start = calloc(sequences + 1, sizeof *t->start);
    t->label = calloc(TUNER_BATCH, sizeof *t->label);
    t->z = calloc(sequences * embed, sizeof *t->z);
    t->dz = calloc(sequences * embed, sizeof *t->dz);
    t->mean = calloc(classes * embed, sizeof *t->mean);
    t->class = calloc(classes * embed, sizeof *t->class);
    t->dclass = calloc(classes * embed, sizeof *t->dclass);
    t->cosine = calloc(TUNER_BATCH * classes, sizeof *t->cosine);
    t->loss = calloc(TUNER_BATCH, sizeof *t->loss);
    return t->rows && t->start && t->label && t->z && t->dz && t->mean && t->class && t->dclass &&
           t->cosine && t->loss;
}

static enum limoe_status create_tails(struct tuner *t, const struct safetensors *st,
                                      struct limoe_error *err) {
    const struct tuner_setup *s = &t->setup;
    for (uint32_t i = 0; i < s->config->towers; i++) {
        const struct tail_shape shape = {.tower = (enum limoe_modality)i, .first_block = s->start_block};
        enum limoe_status status = tail_create(s->config, st, s->k, &shape, &t->tail[i], err);
        if (status)
            return status;
        const struct parameters *p = tail_parameters(t->tail[i]);
        t->base[i] = malloc((p->elements + 1) * sizeof *t->base[i]);
        if (!t->base[i])
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to tune %zu parameters", p->elements);
        memcpy(t->base[i], p->weight, p->elements * sizeof *t->base[i]);
    }
    return LIMOE_OK;
}

enum limoe_status tuner_create(const struct tuner_setup *setup, struct tuner **out, struct limoe_error *err) {
    struct tuner *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to tune with");
    t->setup = *setup;
    t->setup.st = NULL;
    t->prompts = (size_t)setup->classes * setup->templates;
    t->image_floats = (size_t)config_image_tokens(setup->config) * setup->config->tower[LIMOE_IMAGE].width;
    t->prompt_floats = (size_t)setup->prompt_start[t->prompts] * setup->config->tower[LIMOE_TEXT].width;
    enum limoe_status status = LIMOE_OK;
    if (!reserve(t))
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory to tune for %u classes", setup->classes);
    if (!status)
        status = create_tails(t, setup->st, err);
    if (status)
        tuner_destroy(t);
    else
        *out = t;
    return status;
}

void tuner_destroy(struct tuner *t) {
    if (!t)
        return;
    for (int i = 0; i < LIMOE_MODALITIES; i++) {
        tail_destroy(t->tail[i]);
        free(t->base[i]);
    }
    void *const arrays[] = {t->rows,  t->start,  t->label,  t->z,    t->dz,   t->mean,
                            t->class, t->dclass, t->cosine, t->loss, t->order};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    free(t);
}

/* ---- a batch: n pictures, whose rows are in t->rows */

static bool one_tower(const struct tuner *t) {
    return t->setup.config->towers == 1;
}

/* To t->z. */
static enum limoe_status forward(struct tuner *t, size_t n, struct limoe_error *err) {
    const struct tuner_setup *s = &t->setup;
    const uint32_t tokens = config_image_tokens(s->config);
    for (uint32_t i = 0; i <= n; i++)
        t->start[i] = i * tokens;
    if (!one_tower(t)) {
        const struct tail_batch pictures = {.rows = t->rows, .start = t->start, .images = n},
                                texts = {
                                    .rows = s->prompt_rows, .start = s->prompt_start, .texts = t->prompts};
        enum limoe_status status = tail_forward(t->tail[LIMOE_IMAGE], &pictures, t->z, err);
        return status ? status : tail_forward(t->tail[LIMOE_TEXT], &texts, t->z + n * s->config->embed, err);
    }
    for (size_t i = 1; i <= t->prompts; i++)
        t->start[n + i] = t->start[n] + s->prompt_start[i];
    memcpy(t->rows + n * t->image_floats, s->prompt_rows, t->prompt_floats * sizeof *t->rows);
    const struct tail_batch batch = {.rows = t->rows, .start = t->start, .images = n, .texts = t->prompts};
    return tail_forward(t->tail[LIMOE_IMAGE], &batch, t->z, err);
}

/* Adds to the gradients, from t->dz. */
static enum limoe_status backward(struct tuner *t, size_t n, struct limoe_error *err) {
    enum limoe_status status = tail_backward(t->tail[LIMOE_IMAGE], t->dz, err);
    if (status || one_tower(t))
        return status;
    return tail_backward(t->tail[LIMOE_TEXT], t->dz + n * t->setup.config->embed, err);
}

/* t->class, from the prompts' vectors: their mean, as a unit vector; of one template, itself. */
static void classes_forward(struct tuner *t, const float *prompts) {
    const uint32_t embed = t->setup.config->embed, templates = t->setup.templates;
    const size_t floats = (size_t)t->setup.classes * embed;
    for (size_t i = 0; i < floats; i++) {
        const float *first = prompts + (i / embed * templates) * embed + i % embed;
        float sum = 0;
        for (uint32_t j = 0; j < templates; j++)
            sum += first[(size_t)j * embed];
        t->mean[i] = sum / (float)templates;
    }
    memcpy(t->class, t->mean, floats * sizeof *t->class);
    if (templates > 1)
        t->setup.k->ops->normalize(t->setup.k, t->class, t->setup.classes, embed);
}

/* dprompts, from t->dclass. */
static void classes_backward(struct tuner *t, float *dprompts) {
    struct kernels *k = t->setup.k;
    const uint32_t embed = t->setup.config->embed, templates = t->setup.templates;
    if (templates > 1)
        k->backward->normalize(k, t->mean, t->dclass, t->setup.classes, embed, t->dclass);
    for (size_t p = 0; p < t->prompts; p++)
        for (uint32_t i = 0; i < embed; i++)
            dprompts[p * embed + i] = t->dclass[p / templates * embed + i] / (float)templates;
}

/* Sums gradients up; *loss is the batch's sum. */
static enum limoe_status differentiate(struct tuner *t, size_t n, double *loss, struct limoe_error *err) {
    const struct tuner_setup *s = &t->setup;
    const size_t embed = s->config->embed;
    enum limoe_status status = forward(t, n, err);
    if (status)
        return status;
    classes_forward(t, t->z + n * embed);
    memset(t->dclass, 0, s->classes * embed * sizeof *t->dclass);
    const struct objective o = {.pictures = t->z,
                                .classes = t->class,
                                .label = t->label,
                                .n = n,
                                .count = s->classes,
                                .embed = (uint32_t)embed,
                                .scale = s->scale};
    objective_gradient(s->k, &o, t->cosine, t->loss, t->dz, t->dclass);
    if ((status = s->k->ops->sync(s->k, err)))
        return status;
    classes_backward(t, t->dz + n * embed);
    for (size_t i = 0; i < n; i++)
        *loss += (double)t->loss[i];
    return backward(t, n, err);
}

/* ---- epochs */

static void descend(struct tuner *t, const struct adamw *how) {
    for (uint32_t i = 0; i < t->setup.config->towers; i++) {
        parameters_step(t->setup.k, how, tail_parameters(t->tail[i]));
        tail_repack(t->tail[i]);
    }
}

static void clear_gradients(struct tuner *t) {
    for (uint32_t i = 0; i < t->setup.config->towers; i++)
        parameters_clear_gradients(tail_parameters(t->tail[i]));
}

static enum limoe_status draw_order(struct tuner *t, const struct tuner_epoch *e, struct limoe_error *err) {
    const struct draws_place place = {.seed = e->seed, .use = DRAWS_ORDER, .epoch = e->epoch};
    if (e->n > t->order_room) {
        uint32_t *order = realloc(t->order, e->n * sizeof *order);
        if (!order)
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an order of %zu pictures", e->n);
        t->order = order;
        t->order_room = e->n;
    }
    draws_order(&place, (uint32_t)e->n, t->order);
    return LIMOE_OK;
}

/* Pictures first .. first + n - 1 in the epoch's order, to the batch's arrays. */
static void gather(struct tuner *t, const struct tuner_epoch *e, size_t first, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const size_t picture = t->order[first + i];
        memcpy(t->rows + i * t->image_floats, e->rows + picture * t->image_floats,
               t->image_floats * sizeof *t->rows);
        t->label[i] = e->label[picture];
    }
}

enum limoe_status tuner_epoch(struct tuner *t, const struct tuner_epoch *e, struct limoe_error *err) {
    const uint64_t batches = (e->n + TUNER_BATCH - 1) / TUNER_BATCH, steps = batches * e->epochs;
    uint64_t step = batches * e->epoch;
    double loss = 0;
    enum limoe_status status = draw_order(t, e, err);
    for (size_t first = 0, n; first < e->n && !status; first += n) {
        n = e->n - first < TUNER_BATCH ? e->n - first : TUNER_BATCH;
        const struct adamw how = schedule_adamw(++step, steps, e->rate, decay);
        gather(t, e, first, n);
        clear_gradients(t);
        if ((status = differentiate(t, n, &loss, err)))
            return status;
        descend(t, &how);
        if (!e->tell(e->context, first + n, (float)(loss / (double)(first + n))))
            status = limoe_fail(err, LIMOE_LOST, "stopped before the end of epoch %u of %u", e->epoch + 1,
                                e->epochs);
    }
    return status ? status : t->setup.k->ops->sync(t->setup.k, err);
}

/* ---- strengths: gradients are of no use between steps, and their place keeps the tuned weights meanwhile */

static void mix(struct tuner *t, float strength) {
    for (uint32_t i = 0; i < t->setup.config->towers; i++) {
        struct parameters *p = tail_parameters(t->tail[i]);
        memcpy(p->gradient, p->weight, p->elements * sizeof *p->gradient);
        if (strength < 1)
            for (size_t j = 0; j < p->elements; j++)
                p->weight[j] = t->base[i][j] + strength * (p->weight[j] - t->base[i][j]);
        tail_repack(t->tail[i]);
    }
}

static void unmix(struct tuner *t) {
    for (uint32_t i = 0; i < t->setup.config->towers; i++) {
        struct parameters *p = tail_parameters(t->tail[i]);
        memcpy(p->weight, p->gradient, p->elements * sizeof *p->gradient);
        tail_repack(t->tail[i]);
    }
}

static uint32_t greatest(const float *value, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (value[i] > value[best])
            best = i;
    return best;
}

static enum limoe_status classify(struct tuner *t, const float *rows, size_t n, uint32_t *class,
                                  struct limoe_error *err) {
    const struct tuner_setup *s = &t->setup;
    memcpy(t->rows, rows, n * t->image_floats * sizeof *rows);
    enum limoe_status status = forward(t, n, err);
    if (status)
        return status;
    classes_forward(t, t->z + n * s->config->embed);
    s->k->ops->router_logits(s->k, t->z, t->class, n, s->config->embed, s->classes, t->cosine);
    for (size_t i = 0; i < n; i++)
        class[i] = greatest(t->cosine + i * s->classes, s->classes);
    return s->k->ops->sync(s->k, err);
}

enum limoe_status tuner_classify(struct tuner *t, float strength, const float *rows, size_t n,
                                 uint32_t *class, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    mix(t, strength);
    for (size_t i = 0, some; i < n && !status; i += some) {
        some = n - i < TUNER_BATCH ? n - i : TUNER_BATCH;
        status = classify(t, rows + i * t->image_floats, some, class + i, err);
    }
    unmix(t);
    return status;
}

/* ---- state */

void tuner_restart(struct tuner *t) {
    for (uint32_t i = 0; i < t->setup.config->towers; i++) {
        struct parameters *p = tail_parameters(t->tail[i]);
        const size_t bytes = p->elements * sizeof *p->weight;
        memcpy(p->weight, t->base[i], bytes);
        memset(p->mean, 0, bytes);
        memset(p->square, 0, bytes);
        tail_repack(t->tail[i]);
    }
}

size_t tuner_state(struct tuner *t, struct tuner_array array[TUNER_ARRAYS]) {
    size_t n = 0;
    for (uint32_t i = 0; i < t->setup.config->towers; i++) {
        const struct parameters *p = tail_parameters(t->tail[i]);
        array[n++] = (struct tuner_array){p->weight, p->elements};
        array[n++] = (struct tuner_array){p->mean, p->elements};
        array[n++] = (struct tuner_array){p->square, p->elements};
    }
    return n;
}

void tuner_resume(struct tuner *t) {
    for (uint32_t i = 0; i < t->setup.config->towers; i++)
        tail_repack(t->tail[i]);
}

const struct parameters *tuner_parameters(const struct tuner *t, uint32_t tail) {
    return tail < t->setup.config->towers ? tail_parameters(t->tail[tail]) : NULL;
}
