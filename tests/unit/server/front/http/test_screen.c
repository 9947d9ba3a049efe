/* Protects the screen: what it lets through of a stream of requests, in which form, and what it refuses,
 * however the bytes are divided among reads and however little is asked for at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/front/http/head.h"
#include "server/front/http/screen.h"

#define STAND_IN "- - HTTP/1.0\r\n\r\n"

/* A stream that comes in pieces: after each the source has nothing more, once. */
struct stream {
    const char *bytes;
    size_t size, at, piece, left;
    bool ends; /* behind the last byte, without a pause */
};

static ssize_t read_stream(void *arg, char *out, size_t size) {
    struct stream *stream = arg;
    if (stream->left == 0 && stream->at < stream->size) {
        stream->left = stream->piece;
        return SCREEN_AGAIN;
    }
    size_t n = stream->size - stream->at < stream->left ? stream->size - stream->at : stream->left;
    n = n < size ? n : size;
    if (n == 0)
        return stream->ends ? 0 : SCREEN_AGAIN;
    memcpy(out, stream->bytes + stream->at, n);
    stream->at += n;
    stream->left -= n;
    return (ssize_t)n;
}

struct outcome {
    char *released; /* NUL-terminated */
    size_t size;
    unsigned requests; /* that were complete, the refused one among them */
    ssize_t last;      /* what the last read said */
    bool cut_off;
    struct api_error refusal; /* status 0: none */
};

static void append(struct outcome *outcome, const char *bytes, size_t size) {
    outcome->released = realloc(outcome->released, outcome->size + size + 1);
    assert_non_null(outcome->released);
    memcpy(outcome->released + outcome->size, bytes, size);
    outcome->size += size;
    outcome->released[outcome->size] = '\0';
}

/* Answers each request as soon as it is complete; reads `ask` bytes at a time. */
static struct outcome run(struct stream stream, size_t ask) {
    struct screen screen = {0};
    const struct screen_source source = {.read = read_stream, .arg = &stream};
    struct outcome outcome = {0};
    char *out = malloc(ask);
    unsigned idle = 0;
    append(&outcome, "", 0);
    stream.left = stream.piece;
    while (idle < 3) {
        const ssize_t n = screen_read(&screen, &source, out, ask);
        outcome.last = n;
        idle = n > 0 ? 0 : stream.at < stream.size && !screen_refusal(&screen) ? 0 : idle + 1;
        if (n > 0)
            append(&outcome, out, (size_t)n);
        if (screen.shut && idle == 0) {
            outcome.requests++;
            screen_next(&screen);
        }
        if (n == 0 || n == SCREEN_LOST)
            break;
    }
    outcome.cut_off = screen_cut_off(&screen);
    if (screen_refusal(&screen))
        outcome.refusal = *screen_refusal(&screen);
    screen_free(&screen);
    free(out);
    return outcome;
}

static struct stream stream_of(const char *bytes, size_t size, size_t piece) {
    return (struct stream){.bytes = bytes, .size = size, .piece = piece};
}

static const size_t pieces[] = {1, 2, 3, 7, 61, SIZE_MAX};
static const size_t asks[] = {1, 3, 17, 4096, 65536};

/* In every division, `bytes` give `released`, and are refused with `status` (0: are not) by a message that
 * has `words`. */
static void expect_bytes(const char *bytes, size_t size, const char *released, int status,
                         const char *words) {
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (size_t j = 0; j < sizeof asks / sizeof *asks; j++) {
            struct outcome outcome = run(stream_of(bytes, size, pieces[i]), asks[j]);
            if (released)
                assert_string_equal(outcome.released, released);
            assert_int_equal(outcome.refusal.status, status);
            if (words && !strstr(outcome.refusal.message, words))
                fail_msg("\"%s\" does not say \"%s\"", outcome.refusal.message, words);
            free(outcome.released);
        }
}

static void expect(const char *bytes, const char *released) {
    expect_bytes(bytes, strlen(bytes), released, 0, NULL);
}

/* Behind a good request and before another: the one is let through, the other is not. */
static void expect_refused(const char *bytes, int status, const char *words) {
    static const char good[] = "GET /first HTTP/1.1\r\nHost: x\r\n\r\n";
    char stream[4096], released[4096];
    expect_bytes(bytes, strlen(bytes), STAND_IN, status, words);
    snprintf(stream, sizeof stream, "%s%sGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", good, bytes);
    snprintf(released, sizeof released, "%s" STAND_IN, good);
    expect_bytes(stream, strlen(stream), released, status, words);
}

#define GET  "GET / HTTP/1.1\r\nHost: x\r\n"
#define POST "POST / HTTP/1.1\r\nHost: x\r\n"

/* ---- what is let through as it is */

static void sound_requests_pass_as_they_are(void **state) {
    (void)state;
    static const char *const streams[] = {
        GET "\r\n",
        GET "Accept:*/*\r\nX-Empty:\r\nX-Latin: caf\xe9\r\nX-Tab: a\tb\r\n\r\n",
        "GET /v1/models?labels=\xe7\x8c\xab&x={} HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        POST "Content-Length: 5\r\n\r\nabcde",
        POST "Content-Length: 0\r\n\r\n",
        POST
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n1f\r\n0123456789012345678901234567890\r\n0\r\n\r\n",
        POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        expect(streams[i], streams[i]);
}

static void pipelined_requests_pass_one_at_a_time(void **state) {
    (void)state;
    static const char stream[] = GET "\r\n" POST "Content-Length: 3\r\n\r\nabc" POST
                                     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" GET "\r\n";
    expect(stream, stream);
    struct outcome outcome = run(stream_of(stream, sizeof stream - 1, SIZE_MAX), 65536);
    assert_int_equal(outcome.requests, 4);
    free(outcome.released);

    struct stream whole = stream_of(stream, sizeof stream - 1, SIZE_MAX);
    const struct screen_source source = {.read = read_stream, .arg = &whole};
    struct screen screen = {0};
    char out[4096];
    whole.left = SIZE_MAX;
    assert_int_equal(screen_read(&screen, &source, out, sizeof out), sizeof GET - 1 + 2);
    for (int i = 0; i < 3; i++) /* the next is kept back until this one is answered */
        assert_int_equal(screen_read(&screen, &source, out, sizeof out), SCREEN_LATER);
    assert_true(screen_holds(&screen));
    screen_next(&screen);
    assert_int_equal(screen_read(&screen, &source, out, sizeof out), sizeof POST - 1 + 24);
    screen_free(&screen);
}

/* ---- what is rewritten */

static void f6_white_space_around_values_is_trimmed(void **state) {
    (void)state;
    expect(POST "Content-Length: 3 \r\nA:  b\t \r\nC:\td\r\nE: \r\n\r\nabc",
           POST "Content-Length: 3\r\nA: b\r\nC: d\r\nE:\r\n\r\nabc");
    expect(POST "Transfer-Encoding: chunked \r\n\r\n1\r\na\r\n0\r\n\r\n",
           POST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
    expect(POST "Content-Length: 0003\r\n\r\nabc", POST "Content-Length: 3\r\n\r\nabc");
}

static void f9_absolute_targets_become_paths(void **state) {
    (void)state;
    expect("GET http://a.b:8080/c?d=http://e HTTP/1.1\r\nHost: somewhere-else\r\nX: y\r\n\r\n",
           "GET /c?d=http://e HTTP/1.1\r\nHost: a.b:8080\r\nX: y\r\n\r\n");
    expect("GET HTTPS://a HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost:a\r\n\r\n");
    expect("GET http://a?b HTTP/1.1\r\nX: y\r\nHost: c\r\n\r\n",
           "GET /?b HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n");
    expect("GET http://a HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n");
    expect_refused("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "user");
    expect_refused("GET http:///c HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host");
    expect_refused("GET http://a,b/c HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host");
    expect_refused("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "ftp://a/");
}

static void cookies_extensions_and_trailers_are_dropped(void **state) {
    (void)state;
    expect(GET "Cookie: a=b; c=d\r\nX: y\r\n\r\n", GET "X: y\r\n\r\n");
    expect(POST "Transfer-Encoding: chunked\r\n\r\n005;a=b\r\nabcde\r\nA ; c\r\n0123456789\r\n000\r\nT: "
                "u\r\nV: w\r\n\r\n" GET "\r\n",
           POST "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\na\r\n0123456789\r\n0\r\n\r\n" GET "\r\n");
}

static void empty_lines_before_a_request_are_skipped(void **state) {
    (void)state;
    expect("\r\n\r\n" GET "\r\n\r\n" GET "\r\n", GET "\r\n" GET "\r\n");
    expect_refused("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n" GET "\r\n", 400, "empty lines");
}

/* ---- what is refused */

static void f5_a_body_has_one_length(void **state) {
    (void)state;
    expect_refused(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400, "twice");
    expect_refused(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400, "twice");
    expect_refused(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "both");
    expect_refused(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400, "both");
    expect_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0");
}

static void f7_codings_that_are_not_read(void **state) {
    (void)state;
    expect_refused(POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "coding");
    expect_refused(POST "Transfer-Encoding: identity\r\n\r\n", 501, "coding");
    expect_refused(POST "Transfer-Encoding: xchunked\r\n\r\n", 501, "coding");
    expect_refused(POST "Transfer-Encoding: chunked;a=b\r\n\r\n", 501, "coding");
    expect_refused(POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501, "coding");
    expect_refused(POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, "more than once");
    expect_refused(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
                   "more than once");
    expect_refused(POST "Transfer-Encoding:\r\n\r\n", 400, "no coding");
    expect_refused(POST "Transfer-Encoding: ,chunked\r\n\r\n", 400, "no coding");
    expect_refused(POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, "no coding");
}

static void f8_lengths_that_are_none(void **state) {
    (void)state;
    static const char *const lengths[] = {"-1",  "+13", "13, 13", "13,",     "0x10",
                                          "1e3", "1 3", "13 a",   "\xc2\xb2"};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char stream[256];
        snprintf(stream, sizeof stream, POST "Content-Length: %s\r\n\r\n", lengths[i]);
        expect_refused(stream, 400, "digits");
    }
    expect_refused(POST "Content-Length:\r\n\r\n", 400, "empty");
    expect_refused(POST "Content-Length:  \r\n\r\n", 400, "empty");
    expect_refused(POST "Content-Length: 18446744073709551615\r\n\r\n", 413, "size");
    expect_refused(POST "Content-Length: 99999999999999999999999\r\n\r\n", 413, "size");
    expect_refused(POST "Content-Length: 18446744073709551616\r\n\r\n", 413, "size");
}

static void w8_what_a_head_may_not_have(void **state) {
    (void)state;
    expect_refused("GET / HTTP/1.1\nHost: x\r\n\r\n", 400, "LF alone");
    expect_refused("GET / HTTP/1.1\r\nHost: x\n\r\n", 400, "LF alone");
    expect_refused(GET "X: a\rb\r\n\r\n", 400, "CR with no LF");
    expect_refused(GET "X: a\r\r\n\r\n", 400, "CR with no LF");
    expect_refused(GET "X: y\r\n folded\r\n\r\n", 400, "folded");
    expect_refused(GET "X: y\r\n\tfolded\r\n\r\n", 400, "folded");
    expect_refused("GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400, "folded");
    expect_refused(POST "Content-Length : 3\r\n\r\n", 400, "before its colon");
    expect_refused(POST "Content-Length\t: 3\r\n\r\n", 400, "before its colon");
    expect_refused(GET ": y\r\n\r\n", 400, "name and a colon");
    expect_refused(GET "X\r\n\r\n", 400, "name and a colon");
    expect_refused(GET "X(: y\r\n\r\n", 400, "name and a colon");
    expect_refused(GET "X\x80: y\r\n\r\n", 400, "name and a colon");
    expect_refused("GET / HTTP/1.1\r\n\r\n", 400, "no Host");
    expect_refused(GET "Host: x\r\n\r\n", 400, "twice");
    expect_refused("GET / HTTP/1.0\r\nHost: x\r\nhost: y\r\n\r\n", 400, "twice");
    expect_refused("GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", 400, "Host is");
    expect_refused("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400, "Host is");
    expect_refused("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "Host is");
    expect_refused(POST "Expect: a miracle\r\nContent-Length: 3\r\n\r\n", 417, "miracle");
}

static void w8_bytes_that_are_no_text(void **state) {
    (void)state;
    static const char nul[] = GET "X: a\0b\r\n\r\n" GET "\r\n";
    static const char early[] = "\0GET / HTTP/1.1\r\n";
    expect_bytes(nul, sizeof nul - 1, STAND_IN, 400, "byte 0x00");
    expect_bytes(early, sizeof early - 1, STAND_IN, 400, "byte 0x00");
    expect_refused(GET "X: \x01\r\n\r\n", 400, "byte 0x01");
    expect_refused(GET "X: \x7f\r\n\r\n", 400, "byte 0x7f");
    expect_bytes("\x16\x03\x01", 3, STAND_IN, 400, "byte 0x16"); /* TLS, at once */
}

static void request_lines_that_are_none(void **state) {
    (void)state;
    expect_refused("GET\r\n\r\n", 400, "request line");
    expect_refused("GET /\r\n\r\n", 400, "request line");
    expect_refused("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "request line");
    expect_refused("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "b HTTP/1.1");
    expect_refused("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400, "HTTP/1.1 ");
    expect_refused("GET / http/1.1\r\nHost: x\r\n\r\n", 400, "http/1.1");
    expect_refused("GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400, "HTTP/1.10");
    expect_refused("G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "method");
    expect_refused("GET /\t HTTP/1.1\r\nHost: x\r\n\r\n", 400, "tab");
    expect_refused("GET - HTTP/1.1\r\nHost: x\r\n\r\n", 400, "target");
    expect_refused("GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "target");
    expect_refused("- - HTTP/1.0\r\n\r\n", 400, "target");
    expect_refused("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501, "CONNECT");
    expect_refused("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP/2.0");
    expect_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0");
    expect_refused("GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505, "HTTP/0.9");
}

static void w15_nul_in_a_target(void **state) {
    (void)state;
    expect_refused("GET /health%00x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "path has %00");
    expect_refused("GET /a?labels%00evil=b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "query has %00");
    expect_refused("GET http://a/b?%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "query has %00");
    expect("GET /%2500 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /%2500 HTTP/1.1\r\nHost: x\r\n\r\n");
}

/* The library gets an end that its own reading takes for one. */
static void bodies_that_are_not_chunked(void **state) {
    (void)state;
    static const struct {
        const char *body, *released, *words;
        int status;
    } cases[] = {
        {"zz\r\n", "0\r\n\r\n", "hexadecimal", 400},
        {"\r\n", "0\r\n\r\n", "hexadecimal", 400},
        {"0x5\r\nabcde\r\n", "0\r\n\r\n", "hexadecimal", 400},
        {"-1\r\n", "0\r\n\r\n", "hexadecimal", 400},
        {" 5\r\nabcde\r\n", "0\r\n\r\n", "hexadecimal", 400},
        {"5 \r\nabcde\r\n", "0\r\n\r\n", "hexadecimal", 400},
        {"5 a\r\nabcde\r\n", "0\r\n\r\n", "hexadecimal", 400},
        {";a\r\n", "0\r\n\r\n", "hexadecimal", 400},
        {"5\nabcde\r\n", "0\r\n\r\n", "LF alone", 400},
        {"5;a\rb\r\nabcde\r\n", "0\r\n\r\n", "CR with no LF", 400},
        {"10000000000000000\r\n", "0\r\n\r\n", "64 bits", 413},
        {"2\r\nabc\r\n0\r\n\r\n", "2\r\nab\r\n0\r\n\r\n", "CR LF", 400},
        {"2\r\nab\n0\r\n\r\n", "2\r\nab\r\n0\r\n\r\n", "CR LF", 400},
        {"1\r\na\r\n0\r\n folded\r\n\r\n", "1\r\na\r\n0\r\n\r\n", "folded", 400},
        {"1\r\na\r\n0\r\nno colon\r\n\r\n", "1\r\na\r\n0\r\n\r\n", "colon", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char stream[1024], released[1024];
        static const char head[] = POST "Transfer-Encoding: chunked\r\n\r\n";
        snprintf(stream, sizeof stream, "%s%s" GET "\r\n", head, cases[i].body);
        snprintf(released, sizeof released, "%s%s", head, cases[i].released);
        expect_bytes(stream, strlen(stream), released, cases[i].status, cases[i].words);
    }
}

/* ---- bounds */

static char *repeated(const char *before, const char *text, size_t times, const char *after) {
    const size_t each = strlen(text), first = strlen(before), last = strlen(after);
    char *out = malloc(first + times * each + last + 1);
    assert_non_null(out);
    memcpy(out, before, first);
    for (size_t i = 0; i < times; i++)
        memcpy(out + first + i * each, text, each);
    memcpy(out + first + times * each, after, last + 1);
    return out;
}

static void expect_long(char *stream, const char *released, int status, const char *words) {
    static const size_t few[] = {1000, SIZE_MAX};
    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome = run(stream_of(stream, strlen(stream), few[i]), 4096);
        assert_int_equal(outcome.refusal.status, status);
        assert_string_equal(outcome.released, released ? released : stream);
        if (words)
            assert_non_null(strstr(outcome.refusal.message, words));
        free(outcome.released);
    }
    free(stream);
}

static void heads_are_bounded(void **state) {
    (void)state;
    const size_t most = HEAD_MOST - (sizeof GET "X: \r\n\r\n" - 1);
    expect_long(repeated(GET "X: ", "a", most, "\r\n\r\n"), NULL, 0, NULL);
    expect_long(repeated(GET "X: ", "a", most + 1, "\r\n\r\n"), STAND_IN, 431, "57344");
    expect_long(repeated("GET /", "a", 100000, " HTTP/1.1\r\nHost: x\r\n\r\n"), STAND_IN, 414, "57344");
    expect_long(repeated(GET, "X: y\r\n", 800, "\r\n"), NULL, 0, NULL);
    expect_long(repeated(GET, "X: y\r\n", 900, "\r\n"), STAND_IN, 431, "fields");
    expect_long(repeated("GET /?a", "&b", 900, " HTTP/1.1\r\nHost: x\r\n\r\n"), NULL, 0, NULL);
    expect_long(repeated("GET /?a", "&b", 1000, " HTTP/1.1\r\nHost: x\r\n\r\n"), STAND_IN, 414, "arguments");
    expect_long(repeated(POST "Transfer-Encoding: chunked\r\n\r\n5;", "a", 2000, "\r\nabcde\r\n0\r\n\r\n"),
                POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "1024");
    expect_long(repeated(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n", "T: u\r\n", 2000, "\r\n"),
                POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL);
}

/* ---- ends */

static struct outcome run_to_end(const char *bytes, size_t piece) {
    struct stream stream = stream_of(bytes, strlen(bytes), piece);
    stream.ends = true;
    return run(stream, 65536);
}

/* The end comes in with the last bytes, and nothing announces it. */
static void w3_an_end_within_a_request_is_seen_at_once(void **state) {
    (void)state;
    static const char *const streams[] = {
        "GE",
        GET,
        POST "Content-Length: 5\r\n\r\n",
        POST "Content-Length: 5\r\n\r\nabc",
        POST "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n0\r\n",
        GET "\r\n" POST "Content-Length: 5\r\n\r\nabc",
    };
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        for (size_t j = 0; j < sizeof pieces / sizeof *pieces; j++) {
            struct outcome outcome = run_to_end(streams[i], pieces[j]);
            assert_true(outcome.cut_off);
            free(outcome.released);
        }
}

static void an_end_between_requests_is_one(void **state) {
    (void)state;
    struct outcome outcome = run_to_end(GET "\r\n" GET "\r\n", SIZE_MAX);
    assert_int_equal(outcome.last, 0);
    assert_int_equal(outcome.requests, 2);
    assert_string_equal(outcome.released, GET "\r\n" GET "\r\n");
    free(outcome.released);
}

static ssize_t read_lost(void *arg, char *out, size_t size) {
    (void)arg, (void)out, (void)size;
    return SCREEN_LOST;
}

static void a_broken_stream_stays_broken(void **state) {
    (void)state;
    const struct screen_source source = {.read = read_lost};
    struct screen screen = {0};
    char out[16];
    for (int i = 0; i < 3; i++)
        assert_int_equal(screen_read(&screen, &source, out, sizeof out), SCREEN_LOST);
    screen_free(&screen);
}

/* An answer before the request was complete leaves nothing that could be read as another. */
static void an_early_answer_is_the_last(void **state) {
    (void)state;
    static const char bytes[] = POST "Content-Length: 50\r\n\r\nabc";
    struct stream stream = stream_of(bytes, sizeof bytes - 1, SIZE_MAX);
    const struct screen_source source = {.read = read_stream, .arg = &stream};
    struct screen screen = {0};
    char out[4096];
    stream.left = SIZE_MAX;
    assert_int_equal(screen_read(&screen, &source, out, sizeof out), sizeof bytes - 1);
    screen_next(&screen);
    assert_int_equal(screen_read(&screen, &source, out, sizeof out), SCREEN_LOST);
    screen_free(&screen);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_requests_pass_as_they_are),
        cmocka_unit_test(pipelined_requests_pass_one_at_a_time),
        cmocka_unit_test(f6_white_space_around_values_is_trimmed),
        cmocka_unit_test(f9_absolute_targets_become_paths),
        cmocka_unit_test(cookies_extensions_and_trailers_are_dropped),
        cmocka_unit_test(empty_lines_before_a_request_are_skipped),
        cmocka_unit_test(f5_a_body_has_one_length),
        cmocka_unit_test(f7_codings_that_are_not_read),
        cmocka_unit_test(f8_lengths_that_are_none),
        cmocka_unit_test(w8_what_a_head_may_not_have),
        cmocka_unit_test(w8_bytes_that_are_no_text),
        cmocka_unit_test(request_lines_that_are_none),
        cmocka_unit_test(w15_nul_in_a_target),
        cmocka_unit_test(bodies_that_are_not_chunked),
        cmocka_unit_test(heads_are_bounded),
        cmocka_unit_test(w3_an_end_within_a_request_is_seen_at_once),
        cmocka_unit_test(an_end_between_requests_is_one),
        cmocka_unit_test(a_broken_stream_stays_broken),
        cmocka_unit_test(an_early_answer_is_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
