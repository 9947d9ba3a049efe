/* route_adapters.c - /v1/adapters: PUT, GET and DELETE of one, GET of the list.
 *
 * PUT writes the file beside the others and has the engine embed something by it, so that what is kept is what can be used; then
 * it gets its name. A name that has nothing but a job, which is to learn its adapter, is told of and listed as well.
 */
#include <string.h>

#include "server/api/adapter.h"
#include "server/api/answer.h"
#include "server/api/classifier.h"
#include "server/front/calls/call.h"
#include "server/front/training/training.h"

/* A picture of one pixel, for models that take no texts. */
static const uint8_t pixel[] = {0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d,
                                0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01,
                                0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53, 0xde, 0x00, 0x00, 0x00,
                                0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0, 0x00,
                                0x00, 0x03, 0x01, 0x01, 0x00, 0xc9, 0xfe, 0x92, 0xef, 0x00, 0x00, 0x00,
                                0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

/* The disk's failure, or a file that is no adapter. */
static bool fail_file(struct call *call, enum limoe_status status, bool full, const struct limoe_error *cause,
                      struct api_error *error) {
    if (full)
        return api_fail(error, 507, "store_full", NULL, "there is no room for the adapter: %s",
                        status == LIMOE_TOO_LARGE ? cause->message : "the disk is full");
    if (status == LIMOE_NO_MEMORY)
        return api_fail_memory(error);
    if (status == LIMOE_CORRUPT || status == LIMOE_UNSUPPORTED || status == LIMOE_TOO_LARGE)
        return api_fail(error, 400, "invalid_adapter", NULL, "the body is no adapter: %s", cause->message);
    log_print(call->server->log, LOG_ERROR, call->id, "adapters: %s", cause->message);
    return api_fail(error, 500, "store_error", NULL,
                    "the adapters on disk could not be read or written; the server's log says why");
}

/* The model that serves an adapter of this base, into the arena; NULL: none does. */
static const char *model_of(struct call *call, const char *base) {
    struct roster *roster = server_roster(call->server);
    const char *name = NULL;
    for (size_t i = 0; roster && i < roster->models.n && !name; i++) {
        const struct engine_info *info = engine_info(roster->generation[i]->engine);
        if (info && strcmp(info->base, base) == 0)
            name = arena_copy(call->arena, info->model.name, strlen(info->model.name));
    }
    roster_release(roster);
    return name;
}

static struct adapter_answer describe(struct call *call, const struct adapter *adapter) {
    return (struct adapter_answer){.name = adapter->name,
                                   .model = model_of(call, adapter->base),
                                   .created = adapter->created,
                                   .bytes = adapter->bytes};
}

/* The whole of what the file says, which is not kept in memory. */
static bool answer_whole(struct call *call, const struct adapter *adapter, const struct training_answer *job,
                         struct api_error *error) {
    struct limoe_adapter *opened;
    struct limoe_error cause;
    const enum limoe_status status = limoe_adapter_open(adapter->path, &opened, &cause);
    if (status)
        return fail_file(call, status == LIMOE_NO_MEMORY ? status : LIMOE_IO, false, &cause, error);
    struct adapter_answer answer = describe(call, adapter);
    answer.job = job;
    answer_adapter(&call->answer, &answer, limoe_adapter_about(opened));
    limoe_adapter_close(opened);
    return true;
}

/* The 404 for the name in the path. False. */
static bool refuse_unknown(const struct call *call, struct api_error *error) {
    char nearest[129];
    const bool any = adapters_nearest(call->server->adapters, call_below(call), nearest);
    return adapter_refuse_unknown(call_below(call), "name", any ? nearest : NULL, error);
}

/* ---- PUT */

/* One text, or one picture: by any of them all of the tail is read. */
static bool list_trial(struct call *call, struct api_error *error) {
    struct request_item *input = arena_array(call->arena, 1, sizeof *input);
    struct adapting *own = &call->adapting;
    if (!input)
        return api_fail_memory(error);
    *input = limoe_has(call->generation->model, LIMOE_TEXT)
                 ? (struct request_item){.modality = LIMOE_TEXT, .bytes = (const uint8_t *)"a", .size = 1}
                 : (struct request_item){.modality = LIMOE_IMAGE, .bytes = pixel, .size = sizeof pixel};
    input->param = "adapter";
    call->inputs = input;
    call->n = 1;
    memcpy(own->key.sha256, own->draft->sha256, sizeof own->key.sha256);
    own->key.strength = own->draft->strength > 0 ? own->draft->strength : 1;
    own->on = true;
    return adapting_all(call, error);
}

bool route_adapter_put_parse(struct call *call, struct api_error *error) {
    struct limoe_error cause;
    bool full;
    if (!request_adapter_name(call_below(call), error) || !call_choose_named(call, true, error))
        return false;
    const enum limoe_status status = adapters_draft_upload(
        call->server->adapters, call->body.data, call->body.size, engine_info(call->generation->engine)->base,
        &call->adapting.draft, &full, &cause);
    if (status)
        return fail_file(call, status, full, &cause, error);
    return adapting_fits(call, call->adapting.draft, error) &&
           (call->adapting.draft->probe || list_trial(call, error));
}

bool route_adapter_put_answer(struct call *call, struct api_error *error) {
    struct limoe_error cause;
    bool full;
    const struct adapter *draft = call->adapting.draft;
    call->adapting.draft = NULL;
    const enum limoe_status status = adapters_keep(call->server->adapters, draft, call_below(call),
                                                   &call->adapting.adapter, &full, &cause);
    if (status == LIMOE_TOO_LARGE && !full)
        return api_fail(error, 400, "too_many_adapters", "name", "%s", cause.message);
    if (status)
        return fail_file(call, status == LIMOE_TOO_LARGE ? status : LIMOE_IO, full, &cause, error);
    return answer_whole(call, call->adapting.adapter, NULL, error);
}

/* ---- GET: the adapter, the job that learns it, or both */

bool route_adapter_get_parse(struct call *call, struct api_error *error) {
    return classifier_check_name(call_below(call), "name", error) && call_choose(call, 0);
}

bool route_adapter_get_answer(struct call *call, struct api_error *error) {
    struct training_answer job;
    const struct adapter *adapter = adapters_find(call->server->adapters, call_below(call));
    const bool known = training_look(call->server->training, call_below(call), adapter, &job);
    call->adapting.adapter = adapter;
    if (adapter)
        return answer_whole(call, adapter, known ? &job : NULL, error);
    if (!known)
        return refuse_unknown(call, error);
    answer_training_alone(&call->answer, call_below(call), &job);
    return true;
}

/* ---- DELETE */

bool route_adapter_delete_parse(struct call *call, struct api_error *error) {
    return classifier_check_name(call_below(call), "name", error) && call_choose(call, 0);
}

bool route_adapter_delete_answer(struct call *call, struct api_error *error) {
    struct limoe_error cause;
    bool found;
    /* First, so that it stores nothing afterwards. */
    const bool dropped = training_drop(call->server->training, call_below(call));
    const enum limoe_status status =
        adapters_delete(call->server->adapters, call_below(call), &found, &cause);
    if (status)
        return fail_file(call, status, false, &cause, error);
    if (!found && !dropped)
        return refuse_unknown(call, error);
    answer_deleted(&call->answer, "adapter", call_below(call));
    return true;
}

/* ---- the list */

bool route_adapters_parse(struct call *call, struct api_error *error) {
    return request_classifier_list(call->args, call->n_args, &call->request.classifier, error) &&
           call_choose(call, 0); /* of no model in particular */
}

static void list_adapter(struct call *call, size_t i, const struct adapter *adapter) {
    struct training_answer job;
    struct adapter_answer answer = describe(call, adapter);
    if (training_look(call->server->training, text_of(adapter->name), adapter, &job))
        answer.job = &job;
    answer_adapters_entry(&call->answer, i, &answer, adapter->kind, adapter->strength, adapter->n_labels);
}

/* False: it has gone meanwhile. */
static bool list_job(struct call *call, size_t i, const char *name) {
    struct training_answer job;
    const bool known = training_look(call->server->training, text_of(name), NULL, &job);
    if (known)
        answer_adapters_job(&call->answer, i, name, &job);
    return known;
}

/* A page of two lists, each in the order of names: adapters[n], and names that have but a job. Whether there is more of either. */
static bool list_both(struct call *call, const struct classifier_request *request,
                      const struct adapter *const *adapters, size_t n) {
    struct training *training = call->server->training;
    char job[CLASSIFIER_NAME_BYTES + 1];
    bool waits = training_next(training, request->after, job);
    size_t at = 0;
    for (size_t i = 0; i < request->limit && (at < n || waits);) {
        const int order = at == n ? 1 : waits ? strcmp(adapters[at]->name, job) : -1;
        if (order <= 0)
            list_adapter(call, i++, adapters[at++]);
        else
            i += list_job(call, i, job);
        if (order >= 0)
            waits = training_next(training, text_of(job), job);
    }
    return at < n || waits;
}

bool route_adapters_answer(struct call *call, struct api_error *error) {
    const struct classifier_request *request = &call->request.classifier;
    const struct adapter **page = arena_array(call->arena, request->limit, sizeof(void *));
    bool more;
    if (!page)
        return api_fail_memory(error);
    const size_t n = adapters_list(call->server->adapters, request->after, request->limit, page, &more);
    answer_list_begin(&call->answer);
    more |= list_both(call, request, page, n);
    answer_list_end(&call->answer, more);
    for (size_t i = 0; i < n; i++)
        adapter_release(page[i]);
    return true;
}
