/* data_uri.c - "data:[media type][;parameters][;base64],data". No state, any thread. */
#include "server/formats/data_uri.h"

#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/error.h"

static bool begins_with(struct text text, const char *prefix) {
    const size_t size = strlen(prefix);
    return text.size >= size && strncasecmp(text.data, prefix, size) == 0;
}

static struct text skip(struct text text, size_t n) {
    return (struct text){.data = text.data + n, .size = text.size - n};
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct text trim(struct text text) {
    while (text.size && is_space(text.data[0]))
        text = skip(text, 1);
    while (text.size && is_space(text.data[text.size - 1]))
        text.size--;
    return text;
}

/* ---- the head: what stands between "data:" and the comma */

struct head {
    struct text media; /* "image/png"; empty: none is given */
    bool base64;
};

/* "image/png;name=a.png; base64". White space around the media type and before "base64" is skipped, as
 * browsers do (WHATWG Fetch, "data: URL processor"). */
static struct head read_head(struct text text) {
    text = trim(text);
    const char *semicolon = memrchr(text.data, ';', text.size);
    const char *first = memchr(text.data, ';', text.size);
    struct head head = {.media = text};
    if (semicolon) {
        const struct text last = trim(skip(text, (size_t)(semicolon + 1 - text.data)));
        head.base64 = last.size == strlen("base64") && begins_with(last, "base64");
        head.media.size = (size_t)(first - text.data);
        head.media = trim(head.media);
    }
    return head;
}

/* "image/png", "application/x-y+z": two names and a slash. */
static bool is_media_type(struct text text) {
    size_t slashes = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char c = text.data[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || !strchr("/!#$&-^_.+", c)))
            return false;
        slashes += c == '/';
    }
    return slashes == 1 && text.data[0] != '/' && text.data[text.size - 1] != '/';
}

bool data_uri_is_meant(struct text text) {
    text = trim(text);
    if (!begins_with(text, "data:"))
        return false;
    if (begins_with(text, "data:image/"))
        return true;
    text = skip(text, strlen("data:"));
    const char *comma = memchr(text.data, ',', text.size);
    if (!comma)
        return false;
    const struct head head = read_head((struct text){.data = text.data, .size = (size_t)(comma - text.data)});
    return head.base64 && (!head.media.size || is_media_type(head.media));
}

bool data_uri_is_url(struct text *text) {
    const struct text trimmed = trim(*text);
    if (!begins_with(trimmed, "http:") && !begins_with(trimmed, "https:"))
        return false;
    *text = trimmed;
    return true;
}

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* "%41" → "A". */
static enum limoe_status percent_decode(struct text text, struct arena *arena, struct text *out,
                                        struct limoe_error *err) {
    char *bytes = arena_alloc(arena, text.size);
    if (!bytes)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu bytes", text.size);
    size_t n = 0;
    for (size_t i = 0; i < text.size; i++, n++) {
        bytes[n] = text.data[i];
        if (text.data[i] != '%')
            continue;
        const int high = i + 2 < text.size ? hex(text.data[i + 1]) : -1;
        const int low = i + 2 < text.size ? hex(text.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return limoe_fail(err, LIMOE_INVALID,
                              "not a data URI: \"%%\" at character %zu of its data begins no %%XX escape",
                              i + 1);
        bytes[n] = (char)(high << 4 | low);
        i += 2;
    }
    *out = (struct text){.data = bytes, .size = n};
    return LIMOE_OK;
}

static enum limoe_status decode_base64(struct text text, struct arena *arena, const uint8_t **bytes,
                                       size_t *size, struct limoe_error *err) {
    uint8_t *out = arena_alloc(arena, base64_decoded_room(text.size));
    if (!out)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu bytes", base64_decoded_room(text.size));
    *bytes = out;
    return base64_decode(text.data, text.size, out, size, err);
}

enum limoe_status data_uri_decode(struct text text, struct arena *arena, const uint8_t **bytes, size_t *size,
                                  struct limoe_error *err) {
    char quoted[48];
    text = trim(text);
    if (text.size == 0)
        return limoe_fail(err, LIMOE_INVALID, "empty; a picture as a data URI or base64 is accepted");
    if (!begins_with(text, "data:"))
        return decode_base64(text, arena, bytes, size, err);

    text = skip(text, strlen("data:"));
    const char *comma = memchr(text.data, ',', text.size);
    if (!comma)
        return limoe_fail(err, LIMOE_INVALID,
                          "not a data URI: no \",\" before the data; accepted: data:image/png;base64,…");
    const struct head head = read_head((struct text){.data = text.data, .size = (size_t)(comma - text.data)});
    const struct text media = head.media;
    struct text data = skip(text, (size_t)(comma + 1 - text.data));
    const bool octets =
        media.size == strlen("application/octet-stream") && begins_with(media, "application/octet-stream");
    if (media.size && !octets && !begins_with(media, "image/"))
        return limoe_fail(err, LIMOE_INVALID, "a data URI of type \"%s\"; image/… is accepted",
                          text_quote(media, quoted, sizeof quoted));

    if (!head.base64 || memchr(data.data, '%', data.size)) {
        const enum limoe_status status = percent_decode(data, arena, &data, err);
        if (status != LIMOE_OK)
            return status;
    }
    if (data.size == 0)
        return limoe_fail(err, LIMOE_INVALID, "a data URI without data");
    if (head.base64)
        return decode_base64(data, arena, bytes, size, err);
    *bytes = (const uint8_t *)data.data;
    *size = data.size;
    return LIMOE_OK;
}
