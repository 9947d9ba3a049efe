/* remote.c - one fetch a URL, all at once; the last that comes back hands the call to a worker. */
#include "server/front/calls/remote.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/front/calls/waiting.h"
#include "server/front/fetching/fetching.h"

/* Lives in the call's arena. */
struct remote {
    atomic_size_t left; /* not given back yet */
    size_t n;
    size_t *input_of;      /* [n] */
    struct fetch *fetches; /* [n]; their bytes are the call's to free */
};

size_t remote_count(const struct call *call) {
    size_t n = 0;
    for (size_t i = 0; i < call->n; i++)
        n += call->inputs[i].remote;
    return n;
}

/* ---- out */

static bool refuse_url(const struct request_item *item, struct api_error *error) {
    char quoted[48];
    return api_fail(error, 400, "invalid_image", item->param,
                    "%s: pictures are not fetched from the network (found \"%s\"); send the picture itself, "
                    "as a data URI or base64",
                    item->param,
                    text_quote((struct text){.data = (const char *)item->bytes, .size = item->size}, quoted,
                               sizeof quoted));
}

static bool check(const struct call *call, size_t n, struct api_error *error) {
    for (size_t i = 0; i < call->n; i++) {
        const struct request_item *item = &call->inputs[i];
        if (item->remote && !call->server->fetching)
            return refuse_url(item, error);
        if (item->remote && item->size > FETCH_URL_MOST)
            return api_fail(error, 400, "image_url_refused", item->param,
                            "%s: the URL has %zu bytes; up to %d are accepted", item->param, item->size,
                            FETCH_URL_MOST);
    }
    return n <= REMOTE_MOST ||
           api_fail(error, 400, "too_many_urls", NULL,
                    "%zu pictures are named by URLs; up to %d are accepted in one request", n, REMOTE_MOST);
}

/* Counts the picture as held; where others hold too much for it, the call is to be refused. */
static void hold(struct call *call, struct fetch *fetch) {
    if (call_hold(call, fetch->size))
        return;
    free(fetch->bytes);
    fetch->bytes = NULL;
    call->over = true;
}

/* On the fetching's thread, which the call belongs to until the last has come. */
static void fetched_one(struct fetch *fetch) {
    struct call *call = fetch->arg;
    if (fetch->bytes)
        hold(call, fetch);
    if (atomic_fetch_sub(&call->remote->left, 1) == 1)
        waiting_push(call, call->server->workers);
}

static struct remote *make(struct call *call, size_t n, bool (*wanted)(void *call)) {
    struct remote *remote = arena_array(call->arena, 1, sizeof *remote);
    size_t *input_of = arena_array(call->arena, n, sizeof *input_of);
    struct fetch *fetches = arena_array(call->arena, n, sizeof *fetches);
    if (!remote || !input_of || !fetches)
        return NULL;
    *remote = (struct remote){.n = n, .input_of = input_of, .fetches = fetches};
    atomic_init(&remote->left, n);
    for (size_t i = 0, k = 0; i < call->n; i++) {
        const struct request_item *item = &call->inputs[i];
        if (!item->remote)
            continue;
        input_of[k] = i;
        fetches[k++] = (struct fetch){.url = {.data = (const char *)item->bytes, .size = item->size},
                                      .wanted = wanted,
                                      .done = fetched_one,
                                      .arg = call};
    }
    return remote;
}

bool remote_fetch(struct call *call, bool (*wanted)(void *call), void (*fetched)(struct task *task),
                  struct api_error *error) {
    const size_t n = remote_count(call);
    if (!check(call, n, error))
        return false;
    struct remote *remote = make(call, n, wanted);
    if (!remote)
        return api_fail_memory(error);
    call->remote = remote;
    call->task.run = fetched;
    if (fetching_ask(call->server->fetching, remote->fetches, n))
        return true;
    call->over = true;
    return false;
}

/* ---- in */

static bool fail(const struct fetch *fetch, const char *param, struct api_error *error) {
    switch (fetch->outcome) {
    case FETCH_REFUSED:
        return api_fail(error, 400, "image_url_refused", param, "%s: %s", param, fetch->message);
    case FETCH_TOO_LARGE:
        return api_fail(error, 413, "too_large", param, "%s: %s", param, fetch->message);
    case FETCH_LATE:
    case FETCH_FAILED:
        return api_fail(error, 400, "image_url_failed", param, "%s: %s", param, fetch->message);
    default: /* who is not waited for any more is told so before this is asked */
        return api_fail(error, 500, "internal", param, "%s: %s", param, fetch->message);
    }
}

bool remote_take(struct call *call, struct api_error *error) {
    const struct remote *remote = call->remote;
    struct request_item *inputs = arena_array(call->arena, call->n, sizeof *inputs);
    if (!inputs)
        return api_fail_memory(error);
    memcpy(inputs, call->inputs, call->n * sizeof *inputs);
    for (size_t i = 0; i < remote->n; i++) {
        const struct fetch *fetch = &remote->fetches[i];
        struct request_item *item = &inputs[remote->input_of[i]];
        if (fetch->outcome != FETCH_DONE)
            return fail(fetch, item->param, error);
        item->remote = false;
        item->bytes = fetch->bytes;
        item->size = fetch->size;
    }
    call->inputs = inputs;
    return true;
}

void remote_free(struct call *call) {
    for (size_t i = 0; call->remote && i < call->remote->n; i++)
        free(call->remote->fetches[i].bytes);
    call->remote = NULL;
}
