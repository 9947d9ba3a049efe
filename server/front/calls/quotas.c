/* quotas.c - requests are charged by their heads, tokens as soon as they are counted. */
#include "server/front/calls/quotas.h"

#include "base/clock.h"
#include "server/front/calls/call.h"
#include "server/front/http/account.h"

static bool refuse(struct call *call, const struct account_refusal *refusal) {
    struct api_error error;
    api_fail(&error, 429, "quota_exceeded", NULL,
             "the key \"%s\" has used up its quota of %llu %s per minute; try again in %u s",
             account_name(call->account), (unsigned long long)refusal->quota,
             account_kind_names[refusal->kind], refusal->seconds);
    call->retry_after = refusal->seconds;
    call_fail(call, &error);
    return false;
}

bool quotas_begin(struct call *call) {
    struct account_refusal refusal;
    const bool takes_tokens = call->route->parse && call->route->bodies;
    return !call->account || account_begin(call->account, takes_tokens, clock_now(), &refusal) ||
           refuse(call, &refusal);
}

/* Where some inputs are shared, all others are pictures. */
static size_t pictures(const struct call *call) {
    return call->shared ? call->n - call->shared : call->pictures;
}

bool quotas_charge(struct call *call) {
    struct account_refusal refusal;
    const uint64_t tokens = (call->shared ? 0 : call->usage.prompt_tokens) +
                            pictures(call) * call->generation->model->image_tokens + captioning_tokens(call);
    if (!call->account)
        return true;
    if (!account_charge(call->account, tokens, clock_now(), &refusal))
        return refuse(call, &refusal);
    call->charged = tokens;
    return true;
}

void quotas_settle(struct call *call) {
    const bool ours = call->status >= 500; /* whatever was computed of it, nobody has got it */
    const bool computed = call->status < 400 || (!ours && call_job(call)->started);
    if (call->charged)
        account_settle(call->account, computed, call->charged, pictures(call));
    call->charged = 0;
}

void quotas_describe(const struct call *call, struct MHD_Response *response) {
    char policy[ACCOUNT_HEADER_SIZE], left[ACCOUNT_HEADER_SIZE];
    if (!call->account || !account_headers(call->account, clock_now(), policy, left))
        return;
    MHD_add_response_header(response, "RateLimit-Policy", policy);
    MHD_add_response_header(response, "RateLimit", left);
}
