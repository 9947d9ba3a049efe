/* route_page.c - GET / and GET /page/…: the page, out of the program. It holds no data: what it shows it asks
 * for by the API, with the key of who looks at it. Who does not ask GET / for a page is told that the server is
 * alive. */
#include <string.h>

#include "server/front/calls/call.h"
#include "server/page/page.h"

/* Scripts, styles and requests are this server's own; nothing in the text is a script or a style; no other
 * site frames the page. Pictures are also what the reader chose (blob:). */
#define POLICY                                                                                               \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "    \
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "      \
    "trusted-types 'none'"

static const struct answer_header always[] = {
    {"Content-Security-Policy", POLICY},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Permissions-Policy", "camera=(self), microphone=(), geolocation=()"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-cache"}, /* kept, and asked for again by its tag: a new program, a new page */
};

#define ALWAYS (sizeof always / sizeof *always)

static const char *asked(const struct call *call, const char *name) {
    return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

static bool add_headers(struct call *call, const struct page_file *file, const struct page_form *form) {
    struct answer_header *headers = arena_array(call->arena, ALWAYS + 3, sizeof *headers);
    if (!headers)
        return false;
    memcpy(headers, always, sizeof always);
    call->n_headers = ALWAYS;
    headers[call->n_headers++] =
        (struct answer_header){"Vary", *file->name ? "Accept-Encoding" : "Accept, Accept-Encoding"};
    headers[call->n_headers++] = (struct answer_header){"ETag", form->etag};
    if (form == &file->gzip)
        headers[call->n_headers++] = (struct answer_header){"Content-Encoding", "gzip"};
    call->headers = headers;
    return true;
}

/* As KServe's first protocol has it. A client of it takes whatever comes ("*" of Accept), and so does curl. */
static void tell_alive(struct call *call) {
    static const struct answer_header vary[] = {{"Vary", "Accept"}};
    call->headers = vary;
    call->n_headers = 1;
    buffer_string(&call->answer, "{\"status\":\"alive\"}\n");
    call_succeed(call, "application/json");
}

void route_page(struct call *call) {
    struct api_error error;
    const char *below = strncmp(call->route_path, "/page/", 6) == 0 ? call->route_path + 6 : "";
    const struct page_file *file = page_find(below);
    char name[128];
    if (!file || (!*below && call->route_path[1])) {
        api_fail(&error, 404, "unknown_path", NULL, "the page has no file %s; it begins at GET /",
                 text_quote(text_of(below), name, sizeof name));
        call_fail(call, &error);
        return;
    }
    if (!*below && !page_asked(asked(call, "Accept")) &&
        dialects_have(call->server->dialects, &dialect_oip)) {
        tell_alive(call);
        return;
    }
    const struct page_form *form = page_form_for(file, asked(call, "Accept-Encoding"));
    if (!add_headers(call, file, form)) {
        api_fail_memory(&error);
        call_fail(call, &error);
        return;
    }
    if (page_has(asked(call, "If-None-Match"), form->etag)) {
        call_succeed(call, NULL);
        call->status = 304;
        return;
    }
    buffer_bytes(&call->answer, form->bytes, form->size);
    call_succeed(call, file->type);
}
