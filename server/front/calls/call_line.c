/* call_line.c - the beginning of a call that is a line of another's body (bulk.h). */
#include <string.h>

#include "server/front/calls/call.h"
#include "server/front/calls/quotas.h"
#include "server/front/http/account.h"

struct call *call_begin_line(const struct line_head *head, struct bulk_line *line, struct buffer *body,
                             bool charged) {
    struct call *call = call_new(head->server);
    if (!call)
        return NULL;
    call->route = head->route;
    call->line = line;
    call->form = REQUEST_BODY_JSON;
    memcpy(call->id, head->id, sizeof call->id);
    call->body_complete = call->began;
    if (head->within)
        call->deadline = call->began + head->within;
    if (head->account) {
        account_retain(head->account);
        call->account = head->account;
    }
    call->body = *body;
    *body = (struct buffer){0};
    atomic_fetch_add(&call->server->calls, 1);
    call->roster = server_roster(call->server);
    if (charged || quotas_begin(call))
        call_let_in(call);
    return call;
}
