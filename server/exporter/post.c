/* post.c - libcurl's easy interface over one connection that is kept.
 *
 * Answers come from whoever the endpoint names: what is kept of one is bounded, no redirect is followed, and only HTTP is
 * spoken. What an answer means is the OTLP specification's: 429, 502, 503 and 504 may be sent again, other failures not.
 */
#include "server/exporter/post.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "limoe.h"
#include "server/formats/header_list.h"
#include "server/formats/json_reader.h"

#define ANSWER_MOST     (64u << 10) /* bytes that are kept of an answer */
#define CONNECT_SECONDS 5L
#define LONGEST_AFTER   60

struct post {
    CURL *curl;
    struct curl_slist *headers;
    struct buffer answer;
    post_given_up *given_up;
    void *arg;
};

static size_t keep_answer(char *bytes, size_t one, size_t n, void *arg) {
    struct buffer *answer = arg;
    (void)one; /* always 1 */
    const size_t room = ANSWER_MOST - answer->size;
    buffer_bytes(answer, bytes, n < room ? n : room);
    return n;
}

static int ask(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const struct post *post = arg;
    (void)a, (void)b, (void)c, (void)d;
    return post->given_up(post->arg);
}

static bool add_header(struct post *post, const char *line) {
    struct curl_slist *more = curl_slist_append(post->headers, line);
    if (more)
        post->headers = more;
    return more != NULL;
}

static bool add_headers(struct post *post, const char *list) {
    struct header_pair pair;
    bool good = add_header(post, "Content-Type: application/json") && add_header(post, "Expect:");
    while (good && header_list_next(&list, &pair) == HEADER_LIST_PAIR) {
        char line[HEADER_LIST_NAME_SIZE + HEADER_LIST_VALUE_SIZE + 2];
        /* "name;" is how libcurl is told of one without a value */
        snprintf(line, sizeof line, *pair.value ? "%s: %s" : "%s;", pair.name, pair.value);
        good = add_header(post, line);
    }
    return good;
}

struct post *post_new(const struct span_settings *settings, post_given_up *given_up, void *arg) {
    struct post *post = calloc(1, sizeof *post);
    if (!post)
        return NULL;
    post->given_up = given_up;
    post->arg = arg;
    post->curl = curl_easy_init();
    if (!post->curl || !add_headers(post, settings->headers)) {
        post_free(post);
        return NULL;
    }
    CURL *curl = post->curl;
    curl_easy_setopt(curl, CURLOPT_URL, settings->endpoint);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, post->headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "limoe/" LIMOE_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &post->answer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, ask);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, post);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (*settings->certificate)
        curl_easy_setopt(curl, CURLOPT_CAINFO, settings->certificate);
    return post;
}

void post_free(struct post *post) {
    if (!post)
        return;
    if (post->curl)
        curl_easy_cleanup(post->curl);
    curl_slist_free_all(post->headers);
    buffer_free(&post->answer);
    free(post);
}

/* ---- the answer */

static const struct json_value *member(const struct json_value *object, const char *name) {
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    for (const struct json_value *value = object->child; value; value = value->next)
        if (text_is(value->name, name))
            return value;
    return NULL;
}

/* 64-bit integers are strings in this encoding, and numbers are to be understood. */
static uint64_t count_of(const struct json_value *value) {
    if (value && value->type == JSON_NUMBER)
        return value->number > 0 && value->number < 1e15 ? (uint64_t)value->number : 0;
    uint64_t count = 0;
    for (size_t i = 0; value && value->type == JSON_STRING && i < value->string.size && i < 15; i++) {
        const char c = value->string.data[i];
        if (c < '0' || c > '9')
            return 0;
        count = count * 10 + (uint64_t)(c - '0');
    }
    return count;
}

/* {"partialSuccess": {"rejectedSpans": "3", "errorMessage": "…"}}, all of which may be missing. */
static void read_partial(const struct post *post, struct post_answer *answer) {
    struct arena *arena = arena_new();
    struct json_value *root;
    struct json_error error;
    if (arena && post->answer.size && json_read(post->answer.data, post->answer.size, arena, &root, &error)) {
        const struct json_value *partial = member(root, "partialSuccess");
        const struct json_value *why = member(partial, "errorMessage");
        char quoted[160] = "";
        answer->rejected = count_of(member(partial, "rejectedSpans"));
        if (why && why->type == JSON_STRING)
            text_quote(why->string, quoted, sizeof quoted);
        if (answer->rejected || *quoted)
            snprintf(answer->fault, sizeof answer->fault, "the collector rejects %llu spans: %s",
                     (unsigned long long)answer->rejected, *quoted ? quoted : "it does not say why");
    }
    if (arena)
        arena_free(arena);
}

static void read_answer(const struct post *post, struct post_answer *answer) {
    long code = 0;
    curl_off_t after = 0;
    curl_easy_getinfo(post->curl, CURLINFO_RESPONSE_CODE, &code);
    if (code >= 200 && code < 300) {
        answer->outcome = POST_TAKEN;
        read_partial(post, answer);
        return;
    }
    const bool again = code == 429 || code == 502 || code == 503 || code == 504;
    answer->outcome = again ? POST_LATER : POST_REFUSED;
    if (again && curl_easy_getinfo(post->curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK)
        answer->after_seconds = after < LONGEST_AFTER ? after : LONGEST_AFTER;
    snprintf(answer->fault, sizeof answer->fault, "the collector answers %ld%s", code,
             code == 404 ? " (--otlp-endpoint is to name its traces' path, /v1/traces as a rule)" : "");
}

void post_send(struct post *post, const struct buffer *json, long milliseconds, struct post_answer *answer) {
    *answer = (struct post_answer){.outcome = POST_LATER};
    buffer_free(&post->answer);
    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)json->size);
    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDS, json->data);
    curl_easy_setopt(post->curl, CURLOPT_TIMEOUT_MS, milliseconds);
    const CURLcode code = curl_easy_perform(post->curl);
    if (code == CURLE_OK)
        read_answer(post, answer);
    else
        snprintf(answer->fault, sizeof answer->fault, "the collector cannot be reached: %s",
                 curl_easy_strerror(code));
}
