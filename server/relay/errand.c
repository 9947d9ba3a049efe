/* errand.c - what libcurl is told, and what its end means.
 *
 * The server that is asked is the operator's, but it may fail in any way, or be another than was meant: what it sends is
 * bounded, no redirect is followed, no proxy or netrc of the environment is heeded, and nothing that it sends is run through
 * a decompressor.
 */
#include "server/relay/errand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/text.h"
#include "limoe.h"
#include "server/formats/json_reader.h"

#define CONNECT_MS 5000u
#define HEAD_MOST  (64u << 10) /* bytes of an answer's head, interim answers' included */

static const char *const paths[RELAY_ENDPOINTS] = {
    [RELAY_CHAT] = "/chat/completions", [RELAY_COMPLETIONS] = "/completions"};

/* ---- the policy */

static bool add_header(struct errand_policy *policy, const char *line) {
    struct curl_slist *more = curl_slist_append(policy->headers, line);
    if (more)
        policy->headers = more;
    return more != NULL;
}

bool errand_policy_open(struct errand_policy *policy) {
    static const char *const lines[] = {"Content-Type: application/json",
                                        "Accept: application/json, text/event-stream", "Expect:"};
    char line[RELAY_KEY_SIZE + 32];
    bool good = true;
    for (size_t i = 0; good && i < sizeof lines / sizeof *lines; i++)
        good = add_header(policy, lines[i]);
    if (good && *policy->settings.key) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", policy->settings.key);
        good = add_header(policy, line);
    }
    return good;
}

void errand_policy_close(struct errand_policy *policy) {
    curl_slist_free_all(policy->headers);
    policy->headers = NULL;
}

/* ---- libcurl's questions */

/* The answer is a stream of events, not an error, nor an answer in one piece. */
static bool is_stream(const struct errand *errand) {
    static const char type[] = "text/event-stream";
    const char *said = NULL;
    long status = 0;
    curl_easy_getinfo(errand->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(errand->curl, CURLINFO_CONTENT_TYPE, &said);
    return errand->streamed && status == 200 && said && strncasecmp(said, type, strlen(type)) == 0;
}

/* An error that answers a request for a stream is no stream. */
static uint64_t most_bytes(const struct errand *errand) {
    return errand->policy->settings.most_bytes * (errand->received ? RELAY_STREAM_FACTOR : 1);
}

/* What is given once an answer was found to be none is refused, too. */
static size_t keep_events(struct errand *errand, const char *bytes, size_t n) {
    if (errand->odd || errand->too_large)
        return 0;
    errand->paused = errand->bytes.size >= RELAY_WINDOW;
    if (errand->paused)
        return CURL_WRITEFUNC_PAUSE;
    errand->received += n;
    errand->too_large = errand->received > most_bytes(errand);
    return !errand->too_large && event_stream_feed(&errand->events, bytes, n, &errand->bytes, &errand->odd)
               ? n
               : 0;
}

static size_t keep_bytes(char *bytes, size_t one, size_t n, void *arg) {
    struct errand *errand = arg;
    (void)one; /* always 1 */
    if (is_stream(errand))
        return keep_events(errand, bytes, n);
    errand->too_large = n > errand->policy->settings.most_bytes - errand->bytes.size;
    if (errand->too_large)
        return 0;
    buffer_bytes(&errand->bytes, bytes, n);
    return errand->bytes.failed ? 0 : n;
}

static size_t count_head(char *bytes, size_t one, size_t n, void *arg) {
    struct errand *errand = arg;
    (void)bytes, (void)one;
    errand->head_bytes += n;
    errand->too_long_a_head = errand->head_bytes > HEAD_MOST;
    return errand->too_long_a_head ? 0 : n;
}

/* ---- what it is told */

static bool set_walls(CURL *curl, const struct relay_settings *settings) {
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           (!*settings->certificate ||
            curl_easy_setopt(curl, CURLOPT_CAINFO, settings->certificate) == CURLE_OK) &&
           curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK && /* do not wait for a resolver */
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
}

static bool set_calls(struct errand *errand) {
    CURL *curl = errand->curl;
    return curl_easy_setopt(curl, CURLOPT_PRIVATE, errand) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_bytes) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, errand) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, count_head) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HEADERDATA, errand) == CURLE_OK;
}

static bool set_limits(CURL *curl, uint32_t timeout_ms) {
    const uint32_t connect_ms = timeout_ms < CONNECT_MS ? timeout_ms : CONNECT_MS;
    return curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK;
}

static bool set_request(struct errand *errand, const struct relay_ask *ask) {
    char url[RELAY_URL_SIZE + 32];
    CURL *curl = errand->curl;
    snprintf(url, sizeof url, "%s%s", errand->policy->settings.url, paths[ask->endpoint]);
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, errand->policy->headers) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "limoe/" LIMOE_VERSION) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->size) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDS, errand->body) == CURLE_OK;
}

struct errand *errand_begin(const struct errand_policy *policy, const struct relay_ask *ask, char *body) {
    struct errand *errand = calloc(1, sizeof *errand);
    if (!errand) {
        free(body);
        return NULL;
    }
    errand->policy = policy;
    errand->body = body;
    errand->answer.id = ask->id;
    errand->streamed = ask->streamed;
    errand->curl = curl_easy_init();
    if (errand->curl && set_request(errand, ask) && set_walls(errand->curl, &policy->settings) &&
        set_calls(errand) && set_limits(errand->curl, ask->timeout_ms))
        return errand;
    errand_free(errand);
    return NULL;
}

/* ---- its end */

static void fail(struct errand *errand, enum relay_outcome outcome, const char *message) {
    errand->answer.outcome = outcome;
    snprintf(errand->answer.message, sizeof errand->answer.message, "%.*s", RELAY_MESSAGE_SIZE - 1, message);
}

/* {"error": {"message": "…"}}, as OpenAI's, or {"error": "…"}, or {"message": "…"}: what of it can be told. "": nothing. */
static void quote_error(const struct errand *errand, char *out, size_t size) {
    struct arena *arena = arena_new();
    struct json_value *root;
    struct json_error error;
    *out = '\0';
    if (arena && errand->bytes.size &&
        json_read(errand->bytes.data, errand->bytes.size, arena, &root, &error)) {
        const struct json_value *told = json_given(root, text_of("error"));
        const struct json_value *message = json_given(told ? told : root, text_of("message"));
        if (!message)
            message = told;
        if (message && message->type == JSON_STRING)
            text_quote(message->string, out, size);
    }
    arena_free(arena);
}

/* What is wrong with a key is not told to who has none of it: such answers often quote the key. */
static bool is_of_keys(long status) {
    return status == 401 || status == 403 || status == 407;
}

static void refuse_status(struct errand *errand, long status) {
    char message[RELAY_MESSAGE_SIZE], quoted[200] = "";
    errand->answer.status = (uint32_t)status;
    if (!is_of_keys(status))
        quote_error(errand, quoted, sizeof quoted);
    snprintf(message, sizeof message, "the language model's server answers %ld%s%s%s", status,
             status >= 300 && status < 400 ? "; no redirect is followed" : "", *quoted ? ": " : "", quoted);
    fail(errand, RELAY_ERROR, message);
}

static bool is_encoded(CURL *curl) {
    struct curl_header *coding;
    return curl_easy_header(curl, "Content-Encoding", 0, CURLH_HEADER, -1, &coding) == CURLHE_OK &&
           strcasecmp(coding->value, "identity") != 0;
}

static void read_stream(struct errand *errand) {
    if (!is_stream(errand))
        fail(errand, RELAY_INVALID,
             "the language model's server answers in one piece, where a stream was asked for");
    else if (event_stream_may_end(&errand->events))
        errand->answer.outcome = RELAY_DONE;
    else
        fail(errand, RELAY_INVALID, "the language model's server answers with a stream without an end");
}

/* An answer of HTTP came, whole. */
static void read_status(struct errand *errand) {
    long status = 0;
    curl_easy_getinfo(errand->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        refuse_status(errand, status);
    else if (is_encoded(errand->curl))
        fail(errand, RELAY_INVALID,
             "the language model's server answers in a Content-Encoding that nobody asked for");
    else if (errand->streamed)
        read_stream(errand);
    else if (!errand->bytes.size)
        fail(errand, RELAY_INVALID, "the language model's server answers with nothing");
    else
        errand->answer.outcome = RELAY_DONE;
}

static void explain(struct errand *errand, CURLcode code) {
    char message[RELAY_MESSAGE_SIZE];
    if (errand->too_large) {
        snprintf(message, sizeof message,
                 "the language model's server answers with more than %llu bytes (--llm-bytes)",
                 (unsigned long long)most_bytes(errand));
        fail(errand, RELAY_INVALID, message);
    } else if (errand->odd) {
        snprintf(message, sizeof message, "the language model's server answers with %s", errand->odd);
        fail(errand, RELAY_INVALID, message);
    } else if (errand->too_long_a_head) {
        fail(errand, RELAY_INVALID, "the head of the language model's server's answer is too long");
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        fail(errand, RELAY_LATE, "the language model has not answered in time (--llm-timeout)");
    } else if (code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL) {
        fail(errand, RELAY_INVALID, "what answers as the language model's server does not speak HTTP/1.1");
    } else {
        snprintf(message, sizeof message, "the language model's server %s: %s",
                 errand->head_bytes ? "breaks its answer off" : "cannot be reached",
                 curl_easy_strerror(code));
        fail(errand, RELAY_UNREACHABLE, message);
    }
}

static void let_go(struct errand *errand) {
    if (errand->curl)
        curl_easy_cleanup(errand->curl);
    errand->curl = NULL;
    free(errand->body);
    errand->body = NULL;
}

/* A stream that has said that it ends has, whatever becomes of its connection. What came before a fault is sent. */
void errand_end(struct errand *errand, CURLcode code) {
    if (code == CURLE_OK || errand->events.done)
        read_status(errand);
    else
        explain(errand, code);
    const bool keeps = errand->streamed ? errand->events.events > 0 : errand->answer.outcome == RELAY_DONE;
    let_go(errand);
    if (!keeps)
        buffer_free(&errand->bytes);
}

bool errand_has_piece(const struct errand *errand) {
    return errand->streamed && errand->events.events && errand->bytes.size && errand->unread < RELAY_WINDOW;
}

CURLcode errand_resume(struct errand *errand) {
    if (!errand->paused || errand->bytes.size >= RELAY_WINDOW)
        return CURLE_OK;
    errand->paused = false;
    return curl_easy_pause(errand->curl, CURLPAUSE_CONT); /* which may stop it again */
}

void errand_free(struct errand *errand) {
    if (!errand)
        return;
    let_go(errand);
    buffer_free(&errand->bytes);
    event_stream_free(&errand->events);
    free(errand);
}
