/* head.c - one pass that checks, and a second that rewrites what is not canonical already, which is rare.
 *
 * Whatever is refused here is answered in the server's own words (screen.h), so each message says what was
 * found and what is accepted.
 */
#include "server/front/http/head.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define MALFORMED      "malformed_request"
#define MOST_AUTHORITY 262u /* of bytes: a name of 255, a colon, a port */

struct slice {
    const char *at;
    size_t size;
};

/* What a head says, as slices of it. */
struct parsed {
    struct slice method, target, authority; /* authority: of an absolute target, else empty */
    struct slice path;                      /* the target in origin-form; empty: "/" */
    bool minor_zero;                        /* HTTP/1.0 */
    bool canonical;                         /* nothing is to be rewritten */
    bool host, length, coding, unknown_coding;
    unsigned chunked; /* times the coding was named */
    uint64_t size;
    size_t fields;
};

static bool is_token(unsigned char byte) {
    static const bool token[256] = {
        ['!'] = true,         ['#'] = true,         ['$'] = true,         ['%'] = true, ['&'] = true,
        ['\''] = true,        ['*'] = true,         ['+'] = true,         ['-'] = true, ['.'] = true,
        ['^'] = true,         ['_'] = true,         ['`'] = true,         ['|'] = true, ['~'] = true,
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
    };
    return token[byte];
}

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

static bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

static bool all_tokens(struct slice s) {
    for (size_t i = 0; i < s.size; i++)
        if (!is_token((unsigned char)s.at[i]))
            return false;
    return s.size > 0;
}

static bool equals(struct slice s, const char *word) {
    return s.size == strlen(word) && strncasecmp(s.at, word, s.size) == 0;
}

static const char *quote(struct slice s, char *out, size_t limit) {
    return text_quote((struct text){.data = s.at, .size = s.size}, out, limit);
}

/* ---- ends */

static bool fail_byte(struct api_error *error, const char *bytes, size_t at) {
    if (bytes[at] == '\n')
        return api_fail(error, 400, MALFORMED, NULL,
                        "a line of the request ends with LF alone; lines end with CR LF");
    if (bytes[at] == '\r')
        return api_fail(error, 400, MALFORMED, NULL,
                        "the request has a CR with no LF behind it; lines end with CR LF");
    return api_fail(error, 400, MALFORMED, NULL,
                    "the request's head has the byte 0x%02x; control characters but the tab are not accepted",
                    (unsigned char)bytes[at]);
}

/* Whether any of eight bytes is a control character, DEL included. */
static bool has_control(const char *bytes) {
    const uint64_t each = UINT64_C(0x0101010101010101), high = 0x80 * each;
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    const uint64_t del = word ^ 0x7f * each;
    return (((word - 0x20 * each) & ~word) | ((del - each) & ~del)) & high;
}

/* Moves *at over the rest of a line, to its CR (HEAD_WHOLE), a byte that may not be there (HEAD_BAD), or to
 * where more must be known (HEAD_PARTIAL). */
static enum head_scan find_line_end(const char *bytes, size_t n, size_t *at) {
    for (size_t i = *at; i < n; i++) {
        while (n - i >= 8 && !has_control(bytes + i))
            i += 8;
        if (i == n)
            break;
        const unsigned char byte = (unsigned char)bytes[i];
        if ((byte >= ' ' && byte != 0x7f) || byte == '\t')
            continue;
        *at = i;
        if (byte != '\r')
            return HEAD_BAD;
        if (i + 1 == n)
            return HEAD_PARTIAL;
        return bytes[i + 1] == '\n' ? HEAD_WHOLE : HEAD_BAD;
    }
    *at = n;
    return HEAD_PARTIAL;
}

enum head_scan head_scan_line(const char *bytes, size_t n, size_t most, size_t *seen, size_t *length,
                              struct api_error *error) {
    const size_t within = n < most ? n : most;
    const enum head_scan found = find_line_end(bytes, within, seen);
    *length = *seen + 2;
    if (found == HEAD_BAD)
        fail_byte(error, bytes, *seen);
    if (found != HEAD_PARTIAL || n < most)
        return found;
    api_fail(error, 400, MALFORMED, NULL, "a line within the request's body is longer than %zu bytes", most);
    return HEAD_BAD;
}

static enum head_scan fail_long(const char *bytes, struct api_error *error) {
    if (memchr(bytes, '\n', HEAD_MOST))
        api_fail(error, 431, "head_too_large", NULL, "the request's head is longer than %u bytes", HEAD_MOST);
    else
        api_fail(error, 414, "uri_too_long", NULL, "the request line is longer than %u bytes", HEAD_MOST);
    return HEAD_BAD;
}

enum head_scan head_scan(const char *bytes, size_t n, size_t *seen, size_t *length, struct api_error *error) {
    const size_t within = n < HEAD_MOST ? n : HEAD_MOST;
    for (;;) {
        const enum head_scan found = find_line_end(bytes, within, seen);
        if (found == HEAD_BAD)
            fail_byte(error, bytes, *seen);
        if (found == HEAD_PARTIAL && n >= HEAD_MOST)
            return fail_long(bytes, error);
        if (found != HEAD_WHOLE)
            return found;
        const bool empty = *seen == 0 || bytes[*seen - 1] == '\n';
        *seen += 2;
        *length = *seen;
        if (empty)
            return HEAD_WHOLE;
    }
}

/* ---- the request line */

/* Whether it is host[:port], as Host and an absolute target have it. It is not taken apart here, but
 * nothing in it may pass for its end, or for a list. */
static bool is_authority(struct slice s) {
    static const char others[] = "-._~%!$&'()*+;=:[]";
    for (size_t i = 0; i < s.size; i++) {
        const unsigned char byte = (unsigned char)s.at[i] | 0x20;
        if (!is_digit(s.at[i]) && !(byte >= 'a' && byte <= 'z') && !strchr(others, s.at[i]))
            return false;
    }
    return s.size <= MOST_AUTHORITY;
}

static bool read_absolute(struct parsed *head, struct api_error *error) {
    const size_t scheme = strncasecmp(head->target.at, "https://", 8) == 0 ? 8 : 7;
    const struct slice rest = {head->target.at + scheme, head->target.size - scheme};
    size_t end = 0;
    while (end < rest.size && !strchr("/?#", rest.at[end]))
        end++;
    head->authority = (struct slice){rest.at, end};
    head->path = (struct slice){rest.at + end, rest.size - end};
    head->canonical = false;
    if (memchr(rest.at, '@', end))
        return api_fail(error, 400, MALFORMED, NULL,
                        "the request's target names a user; credentials are sent in Authorization");
    if (end == 0 || !is_authority(head->authority))
        return api_fail(
            error, 400, MALFORMED, NULL,
            "the request's target has no host that can be one; accepted are a name or address and a port");
    return true;
}

static bool check_target(struct parsed *head, struct api_error *error) {
    char quoted[64];
    const struct slice target = head->target;
    for (size_t i = 0; i < target.size; i++)
        if (target.at[i] == '\t')
            return api_fail(error, 400, MALFORMED, NULL, "the request's target has a tab; send it as %%09");
    for (size_t i = 0; i + 3 <= target.size; i++)
        if (memcmp(target.at + i, "%00", 3) == 0)
            return api_fail(error, 400, MALFORMED, NULL, "the request's %s has %%00: NUL is accepted nowhere",
                            memchr(target.at, '?', i) ? "query" : "path");
    head->path = target;
    if (equals(head->method, "CONNECT"))
        return api_fail(error, 501, "unsupported_method", NULL, "CONNECT is for proxies, which this is not");
    if (target.at[0] == '/')
        return true;
    if (strncasecmp(target.at, "http://", 7) == 0 || strncasecmp(target.at, "https://", 8) == 0)
        return read_absolute(head, error);
    if (equals(target, "*") && equals(head->method, "OPTIONS"))
        return true;
    return api_fail(error, 400, MALFORMED, NULL,
                    "the request's target is \"%s\"; it begins with \"/\", \"http://\" or \"https://\"",
                    quote(target, quoted, sizeof quoted));
}

static bool check_version(struct slice version, struct parsed *head, struct api_error *error) {
    char quoted[32];
    if (version.size != 8 || memcmp(version.at, "HTTP/", 5) != 0 || !is_digit(version.at[5]) ||
        version.at[6] != '.' || !is_digit(version.at[7]))
        return api_fail(error, 400, MALFORMED, NULL,
                        "the request line ends with \"%s\" in place of HTTP/1.1 or HTTP/1.0",
                        quote(version, quoted, sizeof quoted));
    if (version.at[5] != '1')
        return api_fail(error, 505, "unsupported_http_version", NULL, "%.8s is not spoken here; HTTP/1.1 is",
                        version.at);
    head->minor_zero = version.at[7] == '0';
    return true;
}

/* Reads method SP target SP version: all of them must be there, with one blank between. */
static bool read_request_line(struct slice line, struct parsed *head, struct api_error *error) {
    const char *first = memchr(line.at, ' ', line.size);
    const char *end = line.at + line.size;
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!second || second == first + 1)
        return api_fail(
            error, 400, MALFORMED, NULL,
            "the request line is not a method, a target and HTTP/1.1, with one blank between them");
    head->method = (struct slice){line.at, (size_t)(first - line.at)};
    head->target = (struct slice){first + 1, (size_t)(second - first - 1)};
    if (!all_tokens(head->method))
        return api_fail(error, 400, MALFORMED, NULL, "the request's method is not a word");
    return check_version((struct slice){second + 1, (size_t)(end - second - 1)}, head, error) &&
           check_target(head, error);
}

/* ---- fields */

struct field {
    struct slice name, raw, value; /* value: raw without the white space around it */
};

static struct slice trimmed(struct slice s) {
    while (s.size > 0 && is_blank(s.at[0]))
        s = (struct slice){s.at + 1, s.size - 1};
    while (s.size > 0 && is_blank(s.at[s.size - 1]))
        s.size--;
    return s;
}

static struct field split_field(struct slice line, size_t name) {
    const struct slice raw = {line.at + name + 1, line.size - name - 1};
    return (struct field){.name = {line.at, name}, .raw = raw, .value = trimmed(raw)};
}

static bool read_field(struct slice line, struct field *field, struct api_error *error) {
    char quoted[48];
    size_t name = 0;
    while (name < line.size && is_token((unsigned char)line.at[name]))
        name++;
    if (is_blank(line.at[0]))
        return api_fail(error, 400, MALFORMED, NULL,
                        "a line of the head begins with white space; fields are not folded over lines");
    if (name == line.size || line.at[name] != ':' || name == 0) {
        const bool blank = name > 0 && name < line.size && is_blank(line.at[name]);
        return api_fail(error, 400, MALFORMED, NULL,
                        blank ? "the head's line \"%s\" has white space before its colon"
                              : "the head's line \"%s\" does not begin with a name and a colon",
                        quote(line, quoted, sizeof quoted));
    }
    *field = split_field(line, name);
    return true;
}

bool head_check_field(const char *line, size_t length, struct api_error *error) {
    struct field field;
    return read_field((struct slice){line, length}, &field, error);
}

static bool read_length(struct slice value, struct parsed *head, struct api_error *error) {
    char quoted[48];
    bool fits = true;
    head->size = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (!is_digit(value.at[i]))
            return api_fail(error, 400, MALFORMED, "Content-Length",
                            "Content-Length is \"%s\"; it is a number of bytes, in digits alone",
                            quote(value, quoted, sizeof quoted));
        const uint64_t digit = (uint64_t)(value.at[i] - '0');
        fits = fits && head->size <= (UINT64_MAX - 1 - digit) / 10;
        head->size = fits ? head->size * 10 + digit : 0;
    }
    if (value.size == 0)
        return api_fail(error, 400, MALFORMED, "Content-Length",
                        "Content-Length is empty; it is a number of bytes");
    if (head->length)
        return api_fail(error, 400, MALFORMED, "Content-Length",
                        "Content-Length is there twice; a body has one length");
    if (!fits)
        return api_fail(error, 413, "body_too_large", "Content-Length",
                        "Content-Length is \"%s\": no body of that size is accepted",
                        quote(value, quoted, sizeof quoted));
    head->length = true;
    head->canonical = head->canonical && (value.at[0] != '0' || value.size == 1);
    return true;
}

/* Reads a list of codings, each perhaps with parameters. One that is not known is refused once all are
 * read. */
static bool read_coding(struct slice value, struct parsed *head, struct api_error *error) {
    head->coding = true;
    for (bool more = true; more;) {
        const char *comma = memchr(value.at, ',', value.size);
        const size_t size = comma ? (size_t)(comma - value.at) : value.size;
        const struct slice coding = trimmed((struct slice){value.at, size});
        if (coding.size == 0 || !is_token((unsigned char)coding.at[0]))
            return api_fail(error, 400, MALFORMED, "Transfer-Encoding",
                            "Transfer-Encoding names no coding; \"chunked\" is accepted");
        if (equals(coding, "chunked"))
            head->chunked++;
        else
            head->unknown_coding = true;
        more = comma != NULL;
        if (more)
            value = (struct slice){comma + 1, value.size - size - 1};
    }
    return true;
}

static bool read_host(struct slice value, struct parsed *head, struct api_error *error) {
    char quoted[64];
    if (head->host)
        return api_fail(error, 400, MALFORMED, "Host", "Host is there twice");
    if (!is_authority(value))
        return api_fail(error, 400, MALFORMED, "Host",
                        "Host is \"%s\"; accepted are a name or address and a port",
                        quote(value, quoted, sizeof quoted));
    head->host = true;
    return true;
}

static bool read_expect(struct slice value, struct api_error *error) {
    char quoted[48];
    return equals(value, "100-continue") ||
           api_fail(error, 417, "expectation_failed", "Expect",
                    "Expect is \"%s\"; \"100-continue\" is accepted", quote(value, quoted, sizeof quoted));
}

static bool is_cookie(const struct field *field) {
    return equals(field->name, "Cookie");
}

static bool is_host(const struct field *field) {
    return equals(field->name, "Host");
}

/* Whether the line is as rewrite_field would write it. */
static bool is_canonical(const struct field *field) {
    const size_t before = (size_t)(field->value.at - field->raw.at);
    if (field->value.size == 0)
        return field->raw.size == 0;
    return before <= 1 && before + field->value.size == field->raw.size &&
           (before == 0 || field->raw.at[0] == ' ');
}

static bool note_field(const struct field *field, struct parsed *head, struct api_error *error) {
    head->fields++;
    head->canonical = head->canonical && is_canonical(field);
    switch (field->name.size) { /* few fields have a name as long as one of these */
    case sizeof "Host" - 1:
        return !is_host(field) || read_host(field->value, head, error);
    case sizeof "Cookie" - 1: /* and Expect */
        head->canonical = head->canonical && !is_cookie(field);
        return !equals(field->name, "Expect") || head->minor_zero || read_expect(field->value, error);
    case sizeof "Content-Length" - 1:
        return !equals(field->name, "Content-Length") || read_length(field->value, head, error);
    case sizeof "Transfer-Encoding" - 1:
        return !equals(field->name, "Transfer-Encoding") || read_coding(field->value, head, error);
    default:
        return true;
    }
}

/* ---- the whole */

/* Returns the line at *at, without its end, and moves *at behind that. */
static struct slice next_line(const char **at, const char *end) {
    const char *begin = *at;
    const char *line_end = memchr(begin, '\r', (size_t)(end - begin));
    *at = line_end + 2;
    return (struct slice){begin, (size_t)(line_end - begin)};
}

static bool check_body(const struct parsed *head, struct api_error *error) {
    if (!head->coding)
        return true;
    if (head->length)
        return api_fail(error, 400, MALFORMED, "Transfer-Encoding",
                        "Content-Length and Transfer-Encoding are both there; a body has one length");
    if (head->minor_zero)
        return api_fail(error, 400, MALFORMED, "Transfer-Encoding", "HTTP/1.0 has no Transfer-Encoding");
    if (head->unknown_coding)
        return api_fail(error, 501, "unsupported_transfer_coding", "Transfer-Encoding",
                        "Transfer-Encoding names a coding that is not read here; \"chunked\" alone is");
    return head->chunked == 1 || api_fail(error, 400, MALFORMED, "Transfer-Encoding",
                                          "Transfer-Encoding names \"chunked\" more than once");
}

static bool check_memory(const struct parsed *head, size_t length, struct api_error *error) {
    const char *query = memchr(head->target.at, '?', head->target.size);
    size_t arguments = query != NULL;
    for (const char *end = head->target.at + head->target.size; query && query < end; query++)
        arguments += *query == '&';
    const size_t line = head->target.size + arguments * HEAD_ENTRY_BYTES;
    if (length + (head->fields + arguments) * HEAD_ENTRY_BYTES <= HEAD_MOST_MEMORY)
        return true;
    if (line > HEAD_MOST_MEMORY / 2)
        return api_fail(
            error, 414, "uri_too_long", NULL,
            "the request's target and its %zu arguments take more than the %u bytes there are for "
            "a head; each argument counts %u above its text",
            arguments, HEAD_MOST_MEMORY, HEAD_ENTRY_BYTES);
    return api_fail(
        error, 431, "head_too_large", NULL,
        "the request's head and its %zu fields take more than the %u bytes there are for it; each "
        "field counts %u above its text",
        head->fields, HEAD_MOST_MEMORY, HEAD_ENTRY_BYTES);
}

static bool check(const char *bytes, size_t length, struct parsed *head, struct api_error *error) {
    const char *at = bytes, *end = bytes + length - 2; /* the empty line */
    struct field field = {0};
    *head = (struct parsed){.canonical = true};
    if (!read_request_line(next_line(&at, end), head, error))
        return false;
    while (at < end)
        if (!read_field(next_line(&at, end), &field, error) || !note_field(&field, head, error))
            return false;
    if (!head->host && !head->minor_zero)
        return api_fail(error, 400, MALFORMED, "Host", "there is no Host, which HTTP/1.1 asks for");
    return check_body(head, error) && check_memory(head, length, error);
}

/* ---- rewriting: what is written never reaches what is still to be read */

static char *put(char *out, const char *bytes, size_t size) {
    memmove(out, bytes, size);
    return out + size;
}

static char *rewrite_request_line(char *out, const struct parsed *head) {
    assert(head->method.at && head->path.at); /* of a head that has been checked */
    const bool root = head->authority.size > 0 && (head->path.size == 0 || head->path.at[0] != '/');
    out = put(out, head->method.at, head->method.size + 1); /* with the blank */
    if (root)
        out = put(out, "/", 1);
    out = put(out, head->path.at, head->path.size);
    return put(out, head->minor_zero ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n", 11);
}

/* Writes a name, a colon, a blank if there was any, and the value. */
static char *rewrite_field(char *out, const struct field *field, struct slice value) {
    const bool blank = value.size > 0 && field->value.at > field->raw.at;
    out = put(out, field->name.at, field->name.size + 1);
    if (blank)
        out = put(out, " ", 1);
    out = put(out, value.at, value.size);
    return put(out, "\r\n", 2);
}

static struct slice without_zeros(struct slice digits) {
    while (digits.size > 1 && digits.at[0] == '0')
        digits = (struct slice){digits.at + 1, digits.size - 1};
    return digits;
}

static size_t rewrite(char *bytes, size_t length, const struct parsed *head) {
    char authority[MOST_AUTHORITY]; /* Host may come long after the target that says it */
    const char *at = bytes, *end = bytes + length - 2;
    if (head->authority.at)
        memcpy(authority, head->authority.at, head->authority.size);
    next_line(&at, end);
    char *out = rewrite_request_line(bytes, head);
    while (at < end) {
        const struct slice line = next_line(&at, end);
        const struct field field =
            split_field(line, (size_t)((const char *)memchr(line.at, ':', line.size) - line.at));
        if (is_cookie(&field))
            continue;
        struct slice value = field.value;
        if (head->authority.size > 0 && is_host(&field))
            value = (struct slice){authority, head->authority.size};
        else if (equals(field.name, "Content-Length"))
            value = without_zeros(value);
        out = rewrite_field(out, &field, value);
    }
    out = put(out, "\r\n", 2);
    return (size_t)(out - bytes);
}

bool head_settle(char *bytes, size_t length, struct head *head, struct api_error *error) {
    struct parsed parsed;
    if (!check(bytes, length, &parsed, error))
        return false;
    head->length = parsed.canonical ? length : rewrite(bytes, length, &parsed);
    head->size = parsed.size;
    head->body = parsed.coding ? HEAD_CHUNKED : parsed.size > 0 ? HEAD_COUNTED : HEAD_NO_BODY;
    return true;
}
