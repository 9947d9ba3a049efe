/* draft.c - tensors listed with their numbers, a header, then the numbers in order. Owns nothing past a call. */
#include "model/tuning/draft.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/checkpoint/adapter.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors_write.h"
#include "model/replacement.h"

struct job {
    const struct draft *draft;
    struct safetensors_entry *entry; /* [entries] */
    const float **value;             /* [entries] */
    size_t entries;
    float **turned; /* [turns]: numbers brought to the checkpoint's form, owned */
    size_t turns;
    struct limoe_error *err;
};

/* ---- what the file says of itself */

static void print_about(struct buffer *out, const struct draft *d) {
    const struct limoe_adapter_info info = {.kind = d->tuner ? LIMOE_ADAPTER_TAIL : LIMOE_ADAPTER_PROBE,
                                            .start_block = d->start_block,
                                            .strength = d->strength,
                                            .labels = d->label,
                                            .n_labels = d->labels,
                                            .templates = d->template,
                                            .n_templates = d->templates,
                                            .training = d->training};
    adapter_print_about(out, &info, d->base);
}

/* ---- tensors */

static void add(struct job *job, const char *name, uint32_t rank, const uint64_t *shape, const float *value) {
    struct safetensors_entry *e = &job->entry[job->entries];
    uint64_t elements = 1;
    *e = (struct safetensors_entry){.name = name, .dtype = "F32", .rank = rank};
    for (uint32_t i = 0; i < rank; i++) {
        e->shape[i] = shape[i];
        elements *= shape[i];
    }
    e->bytes = elements * sizeof(float);
    job->value[job->entries++] = value;
}

static void add_probe(struct job *job) {
    const struct draft *d = job->draft;
    const uint64_t shape[2] = {d->labels, d->embed};
    add(job, "probe.weight", 2, shape, d->weight);
    add(job, "probe.bias", 1, shape, d->bias);
}

/* The checkpoint has [in, out] where the parameters have [out, in]. */
static const float *turn(struct job *job, const struct parameter *p, const float *value) {
    const uint64_t out = p->tensor.shape[0], in = p->tensor.shape[1];
    float *to = malloc(p->tensor.elements * sizeof *to);
    if (!to)
        return NULL;
    for (uint64_t o = 0; o < out; o++)
        for (uint64_t i = 0; i < in; i++)
            to[i * out + o] = value[o * in + i];
    job->turned[job->turns++] = to;
    return to;
}

static enum limoe_status add_parameter(struct job *job, const struct parameter *p, const float *value) {
    const struct draft *d = job->draft;
    struct layout_source source;
    enum limoe_status status = layout_find(d->config, p->id, p->block, d->st, &source, job->err);
    if (status)
        return status;
    if (source.form == NAMES_TRANSPOSED && !(value = turn(job, p, value)))
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for tensor \"%s\"", p->tensor.name);
    for (uint32_t i = 0; i < source.parts; i++) {
        const struct tensor *part = source.part[i];
        add(job, part->name, part->rank, part->shape, value);
        value += part->elements;
    }
    return LIMOE_OK;
}

static enum limoe_status add_tails(struct job *job) {
    const struct parameters *p;
    enum limoe_status status = LIMOE_OK;
    for (uint32_t tail = 0; (p = tuner_parameters(job->draft->tuner, tail)); tail++)
        for (uint32_t i = 0; i < p->count && !status; i++)
            if (!p->item[i].frozen)
                status = add_parameter(job, &p->item[i], p->weight + p->item[i].first);
    return status;
}

static bool reserve(struct job *job) {
    const struct parameters *p;
    size_t parameters = 1;
    for (uint32_t tail = 0; job->draft->tuner && (p = tuner_parameters(job->draft->tuner, tail)); tail++)
        parameters += p->count;
    job->entry = calloc(parameters * NAMES_PARTS, sizeof *job->entry);
    job->value = calloc(parameters * NAMES_PARTS, sizeof *job->value);
    job->turned = calloc(parameters, sizeof *job->turned);
    return job->entry && job->value && job->turned;
}

/* Lists the tensors. */
static enum limoe_status fill(struct job *job) {
    if (!reserve(job))
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for an adapter's tensors");
    if (job->draft->tuner)
        return add_tails(job);
    add_probe(job);
    return LIMOE_OK;
}

/* ---- the file */

static enum limoe_status write_file(const struct job *job, struct replacement *r, const char *about) {
    enum limoe_status status =
        safetensors_write_header(r->fd, r->place, ADAPTER_KEY, about, job->entry, job->entries, job->err);
    for (size_t i = 0; i < job->entries && !status; i++)
        status = safetensors_write_at(r->fd, r->place, job->entry[i].offset, job->value[i],
                                      job->entry[i].bytes, job->err);
    return status ? status : replacement_finish(r, true, job->err);
}

enum limoe_status draft_write(const char *path, const struct draft *draft, struct limoe_error *err) {
    struct job job = {.draft = draft, .err = err};
    struct buffer about = {0};
    struct replacement r = {0};
    print_about(&about, draft);
    buffer_bytes(&about, "", 1);
    enum limoe_status status = fill(&job);
    if (!status && about.failed)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory to write %.300s", path);
    if (!status && !(status = replacement_begin(&r, path, err)))
        status = write_file(&job, &r, about.data);
    replacement_end(&r);
    buffer_free(&about);
    for (size_t i = 0; i < job.turns; i++)
        free(job.turned[i]);
    free(job.turned);
    free(job.value);
    free(job.entry);
    return status;
}
