/* route_vocabularies.c - /v1/vocabularies: PUT, GET and DELETE of one, GET of the list.
 *
 * PUT is answered once the terms are on the disk; they are embedded behind it, and GET tells how far that is.
 */
#include "server/api/vocabularies.h"

#include <stdio.h>
#include <string.h>

#include "server/api/answer.h"
#include "server/api/classifier.h"
#include "server/front/calls/call.h"
#include "server/front/vocabularies/vocabularies.h"
#include "server/vocabulary/vocabulary.h"

/* ---- what is said of one */

/* The models that make something of vocabularies, with how far each is; [*n], in the arena. NULL: no memory. */
static const struct vocabulary_progress *progress_of(struct call *call, struct text name, size_t *n) {
    struct roster *roster = server_roster(call->server);
    const size_t most = roster ? roster->models.n : 0;
    struct vocabulary_progress *progress = arena_array(call->arena, most + 1, sizeof *progress);
    bool good = progress != NULL;
    *n = 0;
    for (size_t i = 0; good && i < most; i++) {
        const struct engine_info *info = engine_info(roster->generation[i]->engine);
        struct vocabularies_found found;
        if (!limoe_has(&info->model, LIMOE_IMAGE) || !limoe_has(&info->model, LIMOE_TEXT) ||
            !vocabularies_find(call->server->vocabularies, name, info->fingerprint, &found))
            continue;
        const char *model = roster->generation[i]->model->name;
        classifier_release(found.words);
        progress[*n] = found.progress;
        progress[*n].model = arena_copy(call->arena, model, strlen(model));
        good = progress[(*n)++].model != NULL;
    }
    roster_release(roster);
    return good ? progress : NULL;
}

static struct vocabulary_definition own_definition(const struct vocabulary *own) {
    return (struct vocabulary_definition){
        .terms = own->terms, .n = own->n, .template = text_of("{}"), .automatic = true};
}

static struct vocabulary_definition definition_of(const struct vocabularies_found *found) {
    return (struct vocabulary_definition){.terms = found->words->labels,
                                          .n = found->words->n_labels,
                                          .template = found->words->templates[0],
                                          .automatic = found->automatic,
                                          .threshold = found->threshold};
}

/* Appends what is stored under the name: an entry of a list, or `page` of it alone. *there: there is something. False: no memory. */
static bool append(struct call *call, struct text name, const struct vocabulary_request *page, size_t i,
                   bool *there) {
    const struct vocabulary *own = vocabulary_find(name);
    struct vocabularies_found found = {.words = NULL};
    struct vocabulary_answer answer = {.name = name, .own = own != NULL};
    *there = own || vocabularies_find(call->server->vocabularies, name, NULL, &found);
    if (!*there)
        return true;
    const struct vocabulary_definition definition = own ? own_definition(own) : definition_of(&found);
    answer.definition = &definition;
    answer.models = own ? NULL : progress_of(call, name, &answer.n_models);
    const bool good = own || answer.models;
    if (found.words) {
        answer.created = found.words->created;
        answer.updated = found.words->updated;
    }
    if (page) {
        answer.offset = page->offset;
        answer.limit = page->limit;
    }
    if (good && page)
        answer_vocabulary(&call->answer, &answer);
    else if (good)
        answer_vocabularies_entry(&call->answer, i, &answer);
    classifier_release(found.words);
    return good;
}

static bool answer_one(struct call *call, const struct vocabulary_request *page, struct api_error *error) {
    char nearest[CLASSIFIER_NAME_BYTES + 1];
    bool there;
    if (!append(call, call_below(call), page, 0, &there))
        return api_fail_memory(error);
    return there ||
           vocabulary_refuse_unknown(
               call_below(call),
               vocabularies_nearest(call->server->vocabularies, call_below(call), nearest) ? nearest : NULL,
               error);
}

/* What waits for the disk, or for who does, is answered by workers that have the time. */
static bool wait_for_disk(struct call *call) {
    call->slow = true;
    return true;
}

/* ---- PUT */

bool route_vocabulary_put_parse(struct call *call, struct api_error *error) {
    return request_vocabulary_json(call_below(call), call->body.data, call->body.size, call->arena,
                                   &call->request.vocabulary, error) &&
           call_choose(call, 0) && /* for all models */
           wait_for_disk(call);
}

static bool refuse(struct call *call, enum vocabularies_outcome outcome, const struct limoe_error *cause,
                   struct api_error *error) {
    switch (outcome) {
    case VOCABULARIES_TOO_MANY:
        return api_fail(error, 400, "too_many_vocabularies", "name", "%s", cause->message);
    case VOCABULARIES_FULL:
        return api_fail(error, 507, "store_full", NULL, "there is no room for the vocabulary: %s",
                        cause->status == LIMOE_TOO_LARGE ? cause->message : "the disk is full");
    case VOCABULARIES_NO_MEMORY:
        return api_fail_memory(error);
    default:
        log_print(call->server->log, LOG_ERROR, call->id, "vocabularies: %s", cause->message);
        return api_fail(error, 500, "store_error", NULL,
                        "the vocabularies on disk could not be written; the server's log says why");
    }
}

bool route_vocabulary_put_answer(struct call *call, struct api_error *error) {
    const struct vocabulary_request *request = &call->request.vocabulary;
    static const struct vocabulary_request none = {.limit = 0};
    struct limoe_error cause;
    const enum vocabularies_outcome outcome =
        vocabularies_put(call->server->vocabularies, request->name, &request->definition, &cause);
    return outcome ? refuse(call, outcome, &cause, error) : answer_one(call, &none, error);
}

/* ---- GET */

bool route_vocabulary_get_parse(struct call *call, struct api_error *error) {
    return request_vocabulary_page(call_below(call), call->args, call->n_args, &call->request.vocabulary,
                                   error) &&
           call_choose(call, 0);
}

bool route_vocabulary_get_answer(struct call *call, struct api_error *error) {
    return answer_one(call, &call->request.vocabulary, error);
}

/* ---- DELETE */

bool route_vocabulary_delete_parse(struct call *call, struct api_error *error) {
    return request_vocabulary_name(call_below(call), error) && call_choose(call, 0) && wait_for_disk(call);
}

bool route_vocabulary_delete_answer(struct call *call, struct api_error *error) {
    static const struct vocabulary_request none = {.limit = 0};
    struct limoe_error cause;
    bool found;
    if (vocabularies_delete(call->server->vocabularies, call_below(call), &found, &cause) != LIMOE_OK)
        return refuse(call, VOCABULARIES_UNWRITTEN, &cause, error);
    if (!found)
        return answer_one(call, &none, error); /* that there is none */
    answer_deleted(&call->answer, "vocabulary", call_below(call));
    return true;
}

/* ---- the list: what is stored, and what the program brings, by name */

bool route_vocabularies_parse(struct call *call, struct api_error *error) {
    return request_classifier_list(call->args, call->n_args, &call->request.classifier, error) &&
           call_choose(call, 0);
}

bool route_vocabularies_answer(struct call *call, struct api_error *error) {
    static const char *const own[] = {VOCABULARY_ATTRIBUTES, VOCABULARY_TAGS}; /* by name */
    enum { OWN = sizeof own / sizeof *own };
    const struct classifier_request *request = &call->request.classifier;
    char(*names)[CLASSIFIER_NAME_BYTES + 1] = arena_array(call->arena, request->limit, sizeof *names);
    bool more, there, good = true;
    if (!names)
        return api_fail_memory(error);
    const size_t n =
        vocabularies_list(call->server->vocabularies, request->after, request->limit, names, &more);
    size_t at = 0, mine = 0, written = 0;
    while (mine < OWN && text_compare(text_of(own[mine]), request->after) <= 0)
        mine++;
    answer_list_begin(&call->answer);
    while (good && written < request->limit && (at < n || (mine < OWN && !more))) {
        const bool is_own =
            mine < OWN && (at == n || text_compare(text_of(own[mine]), text_of(names[at])) < 0);
        good = append(call, text_of(is_own ? own[mine] : names[at]), NULL, written, &there);
        written += there;
        mine += is_own;
        at += !is_own;
    }
    answer_list_end(&call->answer, more || at < n || mine < OWN);
    return good || api_fail_memory(error);
}
