/* describing.c - vocabularies are found, or embedded once and kept.
 *
 * A client's vocabulary is a stored one, which is ready or not, or a classifier. The program's own, and the reference
 * pictures, are kept as classifiers are, under names that no client can give. What the store has of them may be of another
 * version of the program: its labels tell. A store that does not answer delays nothing that can be computed without it.
 */
#include "server/front/calls/describing.h"

#include <string.h>

#include "server/api/classifier.h"
#include "server/front/calls/classifying.h"
#include "server/front/vocabularies/vocabularies.h"
#include "server/vocabulary/vocabulary.h"

/* In front of the names of what is the program's (ROW_CLIENTS of server/front/store/rows.h). */
#define OWN_PREFIX ":"
/* More scores than these take longer than a slice. */
#define SLOW_SCORES 50000u

static const struct text own_templates[] = {{"{}", 2}};
static const char *const params[] = {[DESCRIBE_TAGS] = "tags.vocabulary",
                                     [DESCRIBE_ATTRIBUTES] = "attributes.vocabulary",
                                     [DESCRIBE_CAPTIONS] = "captions.vocabulary"};

static struct text *reference_names(struct arena *arena) {
    struct text *names = arena_array(arena, vocabulary_references, sizeof *names);
    for (size_t i = 0; names && i < vocabulary_references; i++)
        names[i] = vocabulary_reference[i].name;
    return names;
}

static bool describe_own(struct call *call, struct describing_set *set, const char *name,
                         const struct text *labels, size_t n) {
    const char *key = arena_print(call->arena, OWN_PREFIX "%s", name);
    *set = (struct describing_set){.wanted = true, .own = true, .labels = labels, .n = n};
    set->key = text_of(key ? key : "");
    return key && labels;
}

static bool list_sets(struct call *call) {
    const struct describe_request *request = &call->request.describe;
    struct describing_set *sets = call->describing.sets;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        const struct text name = request->words[i].vocabulary;
        const struct vocabulary *own = request->words[i].most ? vocabulary_find(name) : NULL;
        if (own && !describe_own(call, &sets[i], own->name, own->terms, own->n))
            return false;
        if (!own)
            sets[i] = (struct describing_set){.wanted = request->words[i].most > 0, .key = name};
    }
    return describe_own(call, &sets[DESCRIBING_REFERENCE], "reference", reference_names(call->arena),
                        vocabulary_references);
}

/* ---- found */

static bool same_labels(const struct describing_set *set, const struct classifier *found) {
    bool same = found->n_labels == set->n && found->n_templates == 1 && text_is(found->templates[0], "{}");
    for (size_t i = 0; same && i < set->n; i++)
        same = text_equal(found->labels[i], set->labels[i]);
    return same;
}

/* Takes what was found, which is the set's from here on; what is another version's is let go. */
static void take(struct describing_set *set, const struct classifier *found) {
    if (set->own && !same_labels(set, found)) {
        classifier_release(found);
        return;
    }
    set->held = found;
    set->matrix = found->matrix;
    set->shortlist = found->shortlist;
    set->labels = found->labels;
    set->n = found->n_labels;
}

static bool refuse_unready(struct call *call, const char *param, const struct vocabularies_found *found,
                           struct api_error *error) {
    const struct vocabulary_progress *progress = &found->progress;
    const struct text name = found->words->name;
    call->retry_after = found->seconds;
    if (progress->state == VOCABULARY_FAILED)
        return api_fail(error, 503, "vocabulary_not_ready", param,
                        "the vocabulary \"%.*s\" could not be made ready for this model: %s", (int)name.size,
                        name.data, progress->why);
    return api_fail(
        error, 503, "vocabulary_not_ready", param,
        "the terms of the vocabulary \"%.*s\" are being embedded for this model, %zu of %zu so far; "
        "try again in %u s",
        (int)name.size, name.data, progress->embedded, found->words->n_labels, found->seconds);
}

/* A list's words from the stored vocabulary of that name, if there is one. False: it is not ready. */
static bool take_stored(struct call *call, size_t list, struct api_error *error) {
    struct describing_set *set = &call->describing.sets[list];
    struct describe_words *words = &call->request.describe.words[list];
    const struct classifier_model model = classifying_model(call);
    struct vocabularies_found found;
    if (!set->wanted || set->own ||
        !vocabularies_find(call->server->vocabularies, set->key, model.fingerprint, &found))
        return true;
    if (found.progress.state != VOCABULARY_READY) {
        refuse_unready(call, params[list], &found, error);
        classifier_release(found.words);
        return false;
    }
    take(set, found.words);
    if (!words->told) {
        words->automatic = found.automatic;
        words->threshold = found.threshold;
    }
    return true;
}

static bool go_on(struct call *call, struct api_error *error) {
    struct describing *describing = &call->describing;
    const struct classifier_model model = classifying_model(call);
    for (; describing->at < DESCRIBING_SETS; describing->at++) {
        struct describing_set *set = &describing->sets[describing->at];
        if (!set->wanted || set->held)
            continue;
        const struct classifier *found =
            classifiers_recall(call->server->classifiers, set->key, &model, false);
        if (!found)
            return stages_ask(call, store_job_get(set->key, &model), error);
        take(set, found);
    }
    return true;
}

bool describing_look(struct call *call, struct api_error *error) {
    if (!list_sets(call))
        return api_fail_memory(error);
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        if (!take_stored(call, i, error))
            return false;
    return go_on(call, error);
}

/* A name that no classifier has may be meant for a vocabulary. False. */
static bool refuse_unknown(const struct call *call, struct text name, struct api_error *error) {
    char nearest[CLASSIFIER_NAME_BYTES + 1], quoted[CLASSIFIER_NAME_BYTES + 1];
    if (strcmp(error->code, "classifier_not_found") != 0 ||
        !vocabularies_nearest(call->server->vocabularies, name, nearest))
        return false;
    return api_fail(error, 404, "classifier_not_found", params[call->describing.at],
                    "there is no vocabulary \"%s\", nor a classifier; the nearest vocabulary: \"%s\"",
                    text_quote(name, quoted, sizeof quoted), nearest);
}

/* Of the program's own what the store does not tell, in time or at all, is made again. */
static void take_own(struct call *call, struct describing_set *set) {
    const struct classifier_model model = classifying_model(call);
    struct store_job *job = call->asked;
    const struct classifier *found = NULL;
    if (!job || job->outcome != STORE_DONE) {
        found = classifiers_recall(call->server->classifiers, set->key, &model, true);
    } else if (job->found) {
        found = job->classifier;
        job->classifier = NULL;
    }
    if (found)
        take(set, found);
}

bool describing_found(struct call *call, struct api_error *error) {
    struct describing_set *set = &call->describing.sets[call->describing.at];
    if (set->own) {
        take_own(call, set);
    } else {
        if (!classifying_take(call, set->key, params[call->describing.at], error))
            return refuse_unknown(call, set->key, error);
        take(set, call->classifier);
        call->classifier = NULL;
    }
    call->describing.at++;
    return go_on(call, error);
}

void describing_release(struct call *call) {
    for (size_t i = 0; i < DESCRIBING_SETS; i++) {
        classifier_release(call->describing.sets[i].held);
        call->describing.sets[i].held = NULL;
    }
}

/* ---- made */

static struct classify_request definition_of(const struct describing_set *set) {
    const struct classifier *held = set->own ? NULL : set->held;
    return (struct classify_request){.labels = set->labels,
                                     .n_labels = set->n,
                                     .templates = held ? held->templates : own_templates,
                                     .n_templates = held ? held->n_templates : 1};
}

static void list_references(struct request_item *inputs) {
    for (size_t i = 0; i < vocabulary_references; i++)
        inputs[i] = (struct request_item){.modality = LIMOE_IMAGE,
                                          .bytes = vocabulary_reference[i].bytes,
                                          .size = vocabulary_reference[i].size,
                                          .param = "reference"};
}

static size_t longest(const struct describing_set *set) {
    size_t most = 0;
    for (size_t i = 0; i < set->n; i++)
        most = set->labels[i].size > most ? set->labels[i].size : most;
    return most;
}

size_t describing_words_size(const struct call *call) {
    size_t size = 0;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        size += call->request.describe.words[i].most * (64 + longest(&call->describing.sets[i]));
    return size;
}

static bool admit_scores(struct call *call, struct api_error *error) {
    const size_t images = call->request.describe.n_images;
    size_t terms = 0;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        terms += call->describing.sets[i].n;
    call->scratch += describe_rank_bytes(terms);
    call->slow = images * terms > SLOW_SCORES;
    return images * terms <= CLASSIFYING_MOST_SCORES ||
           api_fail(error, 400, "too_many_items", "images",
                    "%zu images × %zu terms are more than the %u scores of one request", images, terms,
                    CLASSIFYING_MOST_SCORES);
}

bool describing_list(struct call *call, struct api_error *error) {
    const struct describe_request *request = &call->request.describe;
    struct describing_set *sets = call->describing.sets;
    if (!admit_scores(call, error))
        return false;
    size_t n = request->n_images;
    for (size_t i = 0; i < DESCRIBING_SETS; i++) {
        const struct classify_request definition = definition_of(&sets[i]);
        sets[i].first = n;
        sets[i].inputs = sets[i].wanted && !sets[i].matrix ? classify_prompt_count(&definition) : 0;
        n += sets[i].inputs;
    }
    struct request_item *inputs = arena_array(call->arena, n, sizeof *inputs);
    if (!inputs)
        return api_fail_memory(error);
    memcpy(inputs, request->images, request->n_images * sizeof *inputs);
    for (size_t i = 0; i < DESCRIBING_SETS; i++) {
        const struct classify_request definition = definition_of(&sets[i]);
        if (sets[i].inputs && i == DESCRIBING_REFERENCE)
            list_references(inputs + sets[i].first);
        else if (sets[i].inputs && !classify_prompts(&definition, call->arena, inputs + sets[i].first))
            return api_fail_memory(error);
    }
    call->inputs = inputs;
    call->n = n;
    call->shared = n - request->n_images;
    /* The store's copies of what is made. */
    call->scratch += call->shared * call->generation->model->embed * sizeof(float);
    return true;
}

/* What the store is to have of a set that was made. */
static struct store_job *keep(const struct call *call, const struct describing_set *set) {
    const struct classifier_model model = classifying_model(call);
    const struct classifier_draft draft = {.name = set->key,
                                           .labels = set->labels,
                                           .n_labels = set->n,
                                           .templates = own_templates,
                                           .n_templates = 1,
                                           .matrix = set->matrix};
    /* Whoever classifies by a client's classifier is told its prompts' tokens. */
    return set->held ? store_job_put_matrix(set->held, &model, set->matrix, call->usage.prompt_tokens)
                     : store_job_put(&draft, &model);
}

/* Of several whose prompts were embedded at once nobody has counted the tokens apart: a client's is not kept then. */
static bool is_kept(const struct call *call, const struct describing_set *set) {
    const struct describing_set *sets = call->describing.sets;
    size_t made = 0;
    for (size_t i = 0; i < DESCRIBING_REFERENCE; i++)
        made += sets[i].inputs > 0;
    return set->inputs && !set->told && (set->own || made == 1);
}

/* Hands what was made to the store, one after the other. */
static bool keep_next(struct call *call, struct api_error *error) {
    for (size_t i = 0; i < DESCRIBING_SETS; i++) {
        struct describing_set *set = &call->describing.sets[i];
        if (!is_kept(call, set))
            continue;
        set->told = true;
        return stages_ask(call, keep(call, set), error);
    }
    return true;
}

bool describing_make(struct call *call, struct api_error *error) {
    const size_t embed = call->generation->model->embed;
    for (size_t i = 0; i < DESCRIBING_SETS; i++) {
        struct describing_set *set = &call->describing.sets[i];
        const struct classify_request definition = definition_of(set);
        float *rows = call->embeddings + set->first * embed;
        if (!set->inputs)
            continue;
        classify_labels(rows, definition.n_labels, definition.n_templates, embed, rows);
        set->matrix = rows;
    }
    return keep_next(call, error);
}

/* An answer is as good where the store has not kept what it is made of: the next request makes it again. */
bool describing_kept(struct call *call, struct api_error *error) {
    const struct store_job *job = call->asked;
    if (!job || job->outcome != STORE_DONE)
        log_print(call->server->log, LOG_WARNING, call->id, "vocabularies: %s",
                  job ? job->error.message : "the disk has not answered");
    return keep_next(call, error);
}

/* ---- ranked */

bool describing_measure(struct call *call, struct describe_vocabulary *vocabularies) {
    const struct describing_set *sets = call->describing.sets;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        vocabularies[i] = (struct describe_vocabulary){.terms = sets[i].labels,
                                                       .matrix = sets[i].matrix,
                                                       .shortlist = sets[i].shortlist,
                                                       .n = sets[i].n,
                                                       .reference = sets[DESCRIBING_REFERENCE].matrix,
                                                       .n_reference = sets[DESCRIBING_REFERENCE].n,
                                                       .embed = call->generation->model->embed};
        if (sets[i].wanted && !describe_measure(&vocabularies[i], call->arena))
            return false;
    }
    return true;
}

bool describing_rank(struct call *call, const struct describe_vocabulary *vocabularies, size_t image,
                     struct described_words *words) {
    const float *row = call->embeddings + image * call->generation->model->embed;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        words[i] = (struct described_words){0};
        if (call->describing.sets[i].wanted &&
            !describe_rank(&vocabularies[i], &call->request.describe.words[i], row, call->arena, &words[i]))
            return false;
    }
    return true;
}
