/* trace.c - traceparent is read by position: a form of fixed length leaves nothing to skip or to guess. */
#include "server/front/http/trace.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

#define TRACE_DIGITS  32
#define SPAN_DIGITS   16
#define VERSION_AT    0
#define TRACE_AT      3
#define PARENT_AT     (TRACE_AT + TRACE_DIGITS + 1)
#define FLAGS_AT      (PARENT_AT + SPAN_DIGITS + 1)
#define HEADER_LENGTH (FLAGS_AT + 2)
#define HEX           "0123456789abcdef"
#define ZEROS         "00000000000000000000000000000000"

static bool hexadecimal(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!text[i] || !strchr(HEX, text[i]))
            return false;
    return true;
}

static bool nonzero(const char *digits, size_t n) {
    return strncmp(digits, ZEROS, n) != 0;
}

static unsigned byte_at(const char *digits) {
    return (unsigned)(strchr(HEX, digits[0]) - HEX) << 4 | (unsigned)(strchr(HEX, digits[1]) - HEX);
}

bool trace_parse(const char *header, struct trace *trace) {
    if (strnlen(header, HEADER_LENGTH) < HEADER_LENGTH)
        return false;
    bool shape = hexadecimal(header + VERSION_AT, 2) && header[TRACE_AT - 1] == '-' &&
                 hexadecimal(header + TRACE_AT, TRACE_DIGITS) && header[PARENT_AT - 1] == '-' &&
                 hexadecimal(header + PARENT_AT, SPAN_DIGITS) && header[FLAGS_AT - 1] == '-' &&
                 hexadecimal(header + FLAGS_AT, 2);
    if (!shape || !nonzero(header + TRACE_AT, TRACE_DIGITS) || !nonzero(header + PARENT_AT, SPAN_DIGITS))
        return false;
    unsigned version = byte_at(header + VERSION_AT);
    char after = header[HEADER_LENGTH];
    if (version == 0xff || (after && (version == 0 || after != '-')))
        return false;
    memcpy(trace->trace_id, header + TRACE_AT, TRACE_DIGITS);
    memcpy(trace->parent_id, header + PARENT_AT, SPAN_DIGITS);
    trace->trace_id[TRACE_DIGITS] = trace->parent_id[SPAN_DIGITS] = '\0';
    trace->flags = (uint8_t)byte_at(header + FLAGS_AT);
    return true;
}

/* Without entropy, which is missing only in a system's first moments, the time serves: ids have to differ,
 * not to be secret. */
static void random_bytes(uint8_t *bytes, size_t n) {
    if (getrandom(bytes, n, GRND_NONBLOCK) == (ssize_t)n)
        return;
    uint64_t seed = (uint64_t)clock_now() | 1;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)((seed *= UINT64_C(6364136223846793005)) >> 56);
}

static void print_digits(const uint8_t *bytes, size_t digits, char *out) {
    for (size_t i = 0; i < digits; i++)
        out[i] = HEX[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
    out[digits] = '\0';
}

void trace_begin(const char *header, struct trace *trace) {
    uint8_t bytes[(TRACE_DIGITS + SPAN_DIGITS) / 2];
    *trace = (struct trace){0};
    const bool given = header && trace_parse(header, trace);
    do {
        random_bytes(bytes, sizeof bytes);
        if (!given)
            print_digits(bytes, TRACE_DIGITS, trace->trace_id);
        print_digits(bytes + TRACE_DIGITS / 2, SPAN_DIGITS, trace->span_id);
    } while (!nonzero(trace->trace_id, TRACE_DIGITS) || !nonzero(trace->span_id, SPAN_DIGITS));
}

bool trace_sample(struct trace *trace, double ratio) {
    if (trace->parent_id[0])
        return trace->flags & TRACE_SAMPLED;
    uint64_t low = 0; /* the id's last 56 bits, which are random by the W3C's second level */
    for (int i = TRACE_DIGITS - 14; i < TRACE_DIGITS; i++)
        low = low << 4 | (uint64_t)(strchr(HEX, trace->trace_id[i]) - HEX);
    if ((double)low >= ratio * 0x1p56)
        return false;
    trace->flags |= TRACE_SAMPLED;
    return true;
}

void trace_print(const struct trace *trace, char out[TRACE_HEADER_SIZE]) {
    snprintf(out, TRACE_HEADER_SIZE, "00-%s-%s-%02x", trace->trace_id, trace->span_id, trace->flags);
}
