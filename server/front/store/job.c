/* job.c - jobs made and freed. No state, any thread. */
#include "server/front/store/job.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

static struct store_job *job_new(enum store_operation operation) {
    struct store_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->operation = operation;
    job->arena = arena_new();
    if (job->arena)
        return job;
    free(job);
    return NULL;
}

void store_job_free(struct store_job *job) {
    if (!job)
        return;
    classifier_release(job->classifier);
    arena_free(job->arena);
    free(job);
}

static bool copy_text(struct store_job *job, struct text text, struct text *out) {
    *out = (struct text){.data = arena_copy(job->arena, text.data ? text.data : "", text.size),
                         .size = text.size};
    return out->data != NULL;
}

static bool copy_model(struct store_job *job, const struct classifier_model *model) {
    job->model.embed = model->embed;
    job->model.fingerprint = arena_copy(job->arena, model->fingerprint, strlen(model->fingerprint));
    return job->model.fingerprint != NULL;
}

static bool copy_matrix(struct store_job *job, const float *matrix, size_t labels) {
    float *copy = arena_array(job->arena, labels * job->model.embed, sizeof *copy);
    if (copy)
        memcpy(copy, matrix, labels * job->model.embed * sizeof *copy);
    job->matrix = copy;
    job->n_labels = labels;
    return copy != NULL;
}

/* As a JSON list of strings. */
static bool copy_list(struct store_job *job, const struct text *texts, size_t n, struct text *out) {
    struct buffer list = {0};
    for (size_t i = 0; i < n; i++) {
        buffer_bytes(&list, i ? "," : "[", 1);
        buffer_json_text(&list, texts[i]);
    }
    buffer_bytes(&list, "]", 1);
    const bool copied =
        !list.failed && copy_text(job, (struct text){.data = list.data, .size = list.size}, out);
    buffer_free(&list);
    return copied;
}

static struct store_job *finished(struct store_job *job, bool good) {
    if (good)
        return job;
    store_job_free(job);
    return NULL;
}

struct store_job *store_job_get(struct text name, const struct classifier_model *model) {
    struct store_job *job = job_new(STORE_GET);
    return finished(job, job && copy_text(job, name, &job->name) && copy_model(job, model));
}

struct store_job *store_job_next_without(struct text after, const struct classifier_model *model,
                                         const char *like) {
    struct store_job *job = job_new(STORE_NEXT_WITHOUT);
    if (job && like)
        job->like = arena_copy(job->arena, like, strlen(like));
    return finished(job, job && copy_text(job, after, &job->name) && copy_model(job, model) &&
                             (!like || job->like));
}

struct store_job *store_job_list(struct text after, size_t limit) {
    struct store_job *job = job_new(STORE_LIST);
    if (job)
        job->limit = limit;
    return finished(job, job && copy_text(job, after, &job->name));
}

struct store_job *store_job_put(const struct classifier_draft *draft, const struct classifier_model *model) {
    struct store_job *job = job_new(STORE_PUT);
    if (job) {
        job->n_templates = draft->n_templates;
        job->prompt_tokens = draft->prompt_tokens;
    }
    return finished(job, job && copy_text(job, draft->name, &job->name) && copy_model(job, model) &&
                             copy_list(job, draft->labels, draft->n_labels, &job->labels) &&
                             copy_list(job, draft->templates, draft->n_templates, &job->templates) &&
                             copy_matrix(job, draft->matrix, draft->n_labels));
}

struct store_job *store_job_put_matrix(const struct classifier *classifier,
                                       const struct classifier_model *model, const float *matrix,
                                       uint64_t prompt_tokens) {
    struct store_job *job = job_new(STORE_PUT_MATRIX);
    if (job) {
        job->revision = classifier_revision(classifier);
        job->prompt_tokens = prompt_tokens;
    }
    return finished(job, job && copy_text(job, classifier->name, &job->name) && copy_model(job, model) &&
                             copy_matrix(job, matrix, classifier->n_labels));
}

struct store_job *store_job_delete(struct text name) {
    struct store_job *job = job_new(STORE_DELETE);
    return finished(job, job && copy_text(job, name, &job->name));
}

struct store_job *store_job_probe(bool writing) {
    return job_new(writing ? STORE_PROBE_WRITING : STORE_PROBE_READING);
}
