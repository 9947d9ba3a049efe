/* json_scan.c - one pass, no recursion, no allocation. */
#include "model/text/json_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

#define MAX_DEPTH 16 /* as STRICT_JSON_MAX_DEPTH: what is skipped here is parsed there */

static enum limoe_status fail(const struct json_scan *scan, const char *at, const char *what) {
    return limoe_fail(scan->err, LIMOE_CORRUPT, "%s: %s at byte %zu", scan->where, what,
                      (size_t)(at - scan->start));
}

enum limoe_status json_scan_begin(struct json_scan *scan, char *bytes, size_t size, const char *where,
                                  struct limoe_error *err) {
    *scan = (struct json_scan){.start = bytes, .at = bytes, .end = bytes + size, .where = where, .err = err};
    const size_t valid = utf8_check(bytes, size);
    return valid == size ? LIMOE_OK : fail(scan, bytes + valid, "not UTF-8");
}

static void skip_space(struct json_scan *scan) {
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
}

enum limoe_status json_scan_finish(struct json_scan *scan) {
    skip_space(scan);
    return scan->at == scan->end ? LIMOE_OK : fail(scan, scan->at, "something after the JSON value");
}

char json_scan_peek(struct json_scan *scan) {
    skip_space(scan);
    return scan->at < scan->end ? *scan->at : '\0';
}

enum limoe_status json_scan_take(struct json_scan *scan, char c) {
    if (json_scan_peek(scan) != c) {
        char what[] = "not JSON as expected: no \"?\"";
        *strchr(what, '?') = c;
        return fail(scan, scan->at, what);
    }
    scan->at++;
    return LIMOE_OK;
}

enum limoe_status json_scan_more(struct json_scan *scan, char close, bool *opened, bool *more) {
    const bool first = !*opened;
    *opened = true;
    *more = json_scan_peek(scan) != close;
    if (!*more) {
        scan->at++;
        return LIMOE_OK;
    }
    return first ? LIMOE_OK : json_scan_take(scan, ',');
}

/* ---- strings */

static bool hex4(const char *at, const char *end, uint32_t *value) {
    uint32_t v = 0;
    if (end - at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const char c = at[i], lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            v = v * 16 + (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            v = v * 16 + (uint32_t)(lower - 'a' + 10);
        else
            return false;
    }
    *value = v;
    return true;
}

static char *write_utf8(char *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *to++ = (char)(0xE0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        *to++ = (char)(0x80 | (c & 0x3F));
    } else {
        *to++ = (char)(0xF0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3F));
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        *to++ = (char)(0x80 | (c & 0x3F));
    }
    return to;
}

/* From behind "\u": the character, of one escape or two. */
static bool read_unicode(struct json_scan *scan, uint32_t *c) {
    uint32_t low;
    if (!hex4(scan->at, scan->end, c))
        return false;
    scan->at += 4;
    if (*c < 0xD800 || *c > 0xDFFF)
        return true;
    if (*c > 0xDBFF || scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u' ||
        !hex4(scan->at + 2, scan->end, &low) || low < 0xDC00 || low > 0xDFFF)
        return false;
    scan->at += 6;
    *c = 0x10000 + ((*c - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

/* From behind a backslash: writes what the escape stands for, which is never longer than the escape. */
static bool read_escape(struct json_scan *scan, char **to) {
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    if (scan->at >= scan->end)
        return false;
    const char c = *scan->at++;
    uint32_t character;
    if (c == 'u') {
        if (!read_unicode(scan, &character))
            return false;
        *to = write_utf8(*to, character);
        return true;
    }
    for (const char *e = escapes; *e; e += 2) {
        if (*e == c) {
            *(*to)++ = e[1];
            return true;
        }
    }
    return false;
}

enum limoe_status json_scan_string(struct json_scan *scan, struct text *text) {
    if (json_scan_peek(scan) != '"')
        return fail(scan, scan->at, "no string");
    char *const from = ++scan->at;
    char *to = from;
    for (;;) {
        char *run = scan->at;
        while (scan->at < scan->end && (unsigned char)*scan->at >= 0x20 && *scan->at != '"' &&
               *scan->at != '\\')
            scan->at++;
        if (to != run)
            memmove(to, run, (size_t)(scan->at - run));
        to += scan->at - run;
        if (scan->at >= scan->end)
            return fail(scan, from, "a string that does not end");
        if (*scan->at == '"')
            break;
        if (*scan->at != '\\')
            return fail(scan, scan->at, "a control character inside a string");
        scan->at++;
        if (!read_escape(scan, &to))
            return fail(scan, scan->at, "a malformed escape");
    }
    scan->at++;
    *text = (struct text){.data = from, .size = (size_t)(to - from)};
    return LIMOE_OK;
}

/* ---- numbers, and what is not looked at */

enum limoe_status json_scan_integer(struct json_scan *scan, uint32_t max, struct text what, uint32_t *value) {
    json_scan_peek(scan);
    const char *const from = scan->at;
    uint64_t v = 0;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9' && v <= max)
        v = v * 10 + (uint64_t)(*scan->at++ - '0');
    const char next = scan->at < scan->end ? *scan->at : '\0';
    if (scan->at == from || v > max || next == '.' || next == 'e' || next == 'E') {
        char quoted[64];
        return limoe_fail(scan->err, LIMOE_CORRUPT,
                          "%s: \"%s\" is not a whole number from 0 to %u, at byte %zu", scan->where,
                          text_quote(what, quoted, sizeof quoted), max, (size_t)(from - scan->start));
    }
    *value = (uint32_t)v;
    return LIMOE_OK;
}

enum limoe_status json_scan_number(struct json_scan *scan, double *value) {
    char digits[64], *end = digits;
    size_t n = 0;
    json_scan_peek(scan);
    const char *const from = scan->at;
    while (scan->at < scan->end && n < sizeof digits - 1 && *scan->at != '\0' &&
           strchr("+-.0123456789eE", *scan->at))
        digits[n++] = *scan->at++;
    digits[n] = '\0';
    *value = n > 0 ? strtod(digits, &end) : 0;
    return n > 0 && *end == '\0' && isfinite(*value) ? LIMOE_OK : fail(scan, from, "no number");
}

static enum limoe_status skip_string(struct json_scan *scan) {
    const char *const from = scan->at++;
    while (scan->at < scan->end && *scan->at != '"')
        scan->at += *scan->at == '\\' && scan->end - scan->at > 1 ? 2 : 1;
    if (scan->at >= scan->end)
        return fail(scan, from, "a string that does not end");
    scan->at++;
    return LIMOE_OK;
}

enum limoe_status json_scan_skip(struct json_scan *scan) {
    size_t depth = 0;
    const char *const from = scan->at;
    do {
        const char c = json_scan_peek(scan);
        if (scan->at >= scan->end)
            return fail(scan, from, "a value that does not end");
        if (c == '"') {
            enum limoe_status status = skip_string(scan);
            if (status != LIMOE_OK)
                return status;
            continue;
        }
        if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH)
                return fail(scan, scan->at, "nested too deeply");
            scan->at++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return fail(scan, scan->at, "no value");
            depth--;
            scan->at++;
        } else if (depth > 0 && (c == ',' || c == ':')) {
            scan->at++;
        } else {
            const char *const word = scan->at;
            while (scan->at < scan->end && !strchr(" \t\r\n,:[]{}\"", *scan->at))
                scan->at++;
            if (scan->at == word)
                return fail(scan, scan->at, "no value");
        }
    } while (depth > 0);
    return LIMOE_OK;
}
