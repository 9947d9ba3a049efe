/* classifying.c - the store's answers in HTTP's terms. */
#include "http/classifying.h"

#include "codec/classifier.h"

#define NEAREST_NAMES 3u

struct classifier_model classifier_model_of(const struct call *call) {
    const struct engine_info *info = engine_info(call->generation->engine);
    return (struct classifier_model){.fingerprint = info->fingerprint, .embed = info->model.embed};
}

/* The store's trouble is the operator's to read; a client is told that there was some. */
bool classifier_fail(struct call *call, const struct limoe_error *cause, struct api_error *error) {
    if (cause->status == LIMOE_NO_MEMORY)
        return api_fail_memory(error);
    log_print(call->server->log, LOG_ERROR, call->id, "classifiers: %s", cause->message);
    return api_fail(error, 500, "store_error", NULL,
                    "the classifiers on disk could not be read or written; the server's log says why");
}

bool classifier_fail_unknown(struct call *call, struct text name, const char *param,
                             struct api_error *error) {
    struct text nearest[NEAREST_NAMES];
    struct limoe_error cause;
    size_t n = 0;
    if (classifiers_nearest(call->server->classifiers, name, NEAREST_NAMES, call->arena, nearest, &n,
                            &cause) != LIMOE_OK)
        return classifier_fail(call, &cause, error);
    return classifier_refuse_unknown(name, param, nearest, n, error);
}
