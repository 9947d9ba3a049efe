/* warming.c - one thread: classifier after classifier, then vocabularies, by its feeder. */
#include "server/front/serve/warming.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/event.h"
#include "server/api/classifier.h"
#include "server/api/classify.h"
#include "server/front/feeder.h"

struct warming {
    struct generation *generation;
    struct classifiers *store;
    struct vocabularies *vocabularies; /* or NULL */
    struct log *log;
    int done_event;
    char *like; /* fingerprint whose matrices the classifiers must have; NULL: any will do */
    pthread_t thread;
    struct feeder feeder;
};

static enum limoe_status warm(struct warming *warming, const struct classifier *classifier,
                              const struct classifier_model *model, struct limoe_error *err) {
    const struct classify_request request = {
        .labels = classifier->labels,
        .n_labels = classifier->n_labels,
        .templates = classifier->templates,
        .n_templates = classifier->n_templates,
    };
    size_t n = classify_prompt_count(&request);
    uint64_t tokens = 0;
    enum limoe_status status = LIMOE_OK;
    struct arena *arena = arena_new();
    float *embeddings = calloc(n * model->embed, sizeof *embeddings);
    struct request_item *prompts = arena ? arena_array(arena, n, sizeof *prompts) : NULL;
    if (!embeddings || !prompts || !classify_prompts(&request, arena, prompts))
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu prompts", n);
    for (size_t first = 0; status == LIMOE_OK && first < n; first += FEEDER_PART)
        status = feeder_embed(&warming->feeder, warming->generation, prompts + first,
                              n - first < FEEDER_PART ? n - first : FEEDER_PART,
                              embeddings + first * model->embed, &tokens, err);
    if (status == LIMOE_OK) {
        classify_labels(embeddings, request.n_labels, request.n_templates, model->embed, embeddings);
        struct store_job *job = store_job_put_matrix(classifier, model, embeddings, tokens);
        if (classifiers_wait(warming->store, &job, err) != STORE_DONE)
            status = err->status;
        store_job_free(job);
    }
    free(embeddings);
    arena_free(arena);
    return status;
}

static void *warming_main(void *argument) {
    struct warming *warming = argument;
    const struct engine_info *engine = engine_info(warming->generation->engine);
    const struct classifier_model model = {.fingerprint = engine->fingerprint, .embed = engine->model.embed};
    const bool classifies = limoe_has(&engine->model, LIMOE_IMAGE) && limoe_has(&engine->model, LIMOE_TEXT);
    char after[CLASSIFIER_NAME_BYTES + 1] = "";
    size_t made = 0;
    pthread_setname_np(pthread_self(), "limoe-warming");
    while (classifies && !feeder_stopped(&warming->feeder)) {
        struct limoe_error err;
        struct store_job *job = store_job_next_without(text_of(after), &model, warming->like);
        if (classifiers_wait(warming->store, &job, &err) != STORE_DONE)
            log_print(warming->log, LOG_WARNING, NULL,
                      "classifiers: none is made ready, all will be on demand: %s", err.message);
        const struct classifier *classifier = job ? job->classifier : NULL;
        if (!classifier) {
            store_job_free(job);
            break;
        }
        memcpy(after, classifier->name.data, classifier->name.size);
        after[classifier->name.size] = '\0';
        if (warm(warming, classifier, &model, &err) == LIMOE_OK)
            made++;
        else if (!feeder_stopped(&warming->feeder))
            log_print(warming->log, LOG_WARNING, NULL,
                      "classifiers: %s is not made ready for the model, it will be on demand: %s", after,
                      err.message);
        store_job_free(job);
    }
    if (made > 0)
        log_print(warming->log, LOG_INFO, NULL, "classifiers: %zu made ready for %s %s", made,
                  engine->model.name, engine->fingerprint);
    if (classifies && warming->vocabularies)
        vocabularies_prepare(warming->vocabularies, warming->generation, &warming->feeder);
    event_signal(warming->done_event);
    return NULL;
}

static void warming_free(struct warming *warming) {
    feeder_destroy(&warming->feeder);
    free(warming->like);
    free(warming);
}

enum limoe_status warming_start(const struct warming_options *options, struct warming **out,
                                struct limoe_error *err) {
    const struct generation *before = options->instead_of;
    struct warming *warming = calloc(1, sizeof *warming);
    char *like = before ? strdup(engine_info(before->engine)->fingerprint) : NULL;
    if (!warming || (before && !like)) {
        free(warming);
        free(like);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to make classifiers ready");
    }
    warming->generation = options->generation;
    warming->store = options->store;
    warming->vocabularies = options->vocabularies;
    warming->log = options->log;
    warming->done_event = options->done_event;
    warming->like = like;
    feeder_init(&warming->feeder);
    generation_retain(warming->generation);
    int code = pthread_create(&warming->thread, NULL, warming_main, warming);
    if (code) {
        generation_release(warming->generation);
        warming_free(warming);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start a thread to make classifiers ready: %s",
                          strerror(code));
    }
    *out = warming;
    return LIMOE_OK;
}

void warming_stop(struct warming *warming) {
    if (!warming)
        return;
    feeder_stop(&warming->feeder);
    pthread_join(warming->thread, NULL);
    generation_release(warming->generation);
    warming_free(warming);
}
