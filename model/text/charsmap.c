/* charsmap.c - a walk through a double array (Darts). The rules are checked when they are read (sentencepiece.h). */
#include "model/text/charsmap.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/base64.h"
#include "base/error.h"
#include "model/text/sentencepiece.h"
#include "model/text/unicode.h"

#define WHOLE_CLUSTER 6 /* bytes of a cluster that is too long to be one rule's */

static uint32_t read_u32(const uint8_t *b) {
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

enum limoe_status charsmap_read(struct charsmap *map, const char *base64, const char *where,
                                struct limoe_error *err) {
    const size_t size = strlen(base64);
    size_t decoded = 0;
    *map = (struct charsmap){.bytes = malloc(base64_decoded_room(size) + 1)};
    if (!map->bytes)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for its normalizer", where);
    if (base64_decode(base64, size, map->bytes, &decoded, NULL) != LIMOE_OK)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"precompiled_charsmap\" is not base64", where);
    enum limoe_status status = sentencepiece_check_charsmap(map->bytes, decoded, where, err);
    if (status != LIMOE_OK || decoded == 0)
        return status;
    const size_t table = read_u32(map->bytes);
    map->unit = map->bytes + 4;
    map->units = table / 4;
    map->replacements = (struct text){.data = (const char *)map->unit + table, .size = decoded - 4 - table};
    return LIMOE_OK;
}

void charsmap_free(struct charsmap *map) {
    free(map->bytes);
    *map = (struct charsmap){0};
}

static uint32_t offset_of(uint32_t unit) {
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The replacement of the shortest rule that begins this text; NULL: none. */
static const char *find(const struct charsmap *map, struct text text) {
    if (map->units == 0)
        return NULL;
    uint32_t at = offset_of(read_u32(map->unit));
    for (size_t i = 0; i < text.size && text.data[i] != '\0'; i++) {
        const uint32_t label = (unsigned char)text.data[i];
        at ^= label;
        if (at >= map->units)
            return NULL;
        const uint32_t unit = read_u32(map->unit + (size_t)4 * at);
        if ((unit & (1u << 31 | 0xFF)) != label)
            return NULL;
        at ^= offset_of(unit);
        if (unit >> 8 & 1) {
            const uint32_t leaf =
                at < map->units ? read_u32(map->unit + (size_t)4 * at) & 0x7FFFFFFF : UINT32_MAX;
            return leaf < map->replacements.size ? map->replacements.data + leaf : NULL;
        }
    }
    return NULL;
}

static void apply_to_characters(const struct charsmap *map, struct text cluster, struct buffer *to) {
    for (size_t at = 0, from = 0; at < cluster.size; from = at) {
        unicode_next(cluster, &at);
        const struct text c = {.data = cluster.data + from, .size = at - from};
        const char *replacement = find(map, c);
        if (replacement)
            buffer_string(to, replacement);
        else
            buffer_bytes(to, c.data, c.size);
    }
}

void charsmap_apply(const struct charsmap *map, struct text text, struct buffer *to) {
    for (size_t at = 0, from = 0; at < text.size; from = at) {
        utf8proc_int32_t state = 0;
        uint32_t c = unicode_next(text, &at);
        for (size_t next = at; at < text.size; at = next) {
            const uint32_t following = unicode_next(text, &next);
            if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)c, (utf8proc_int32_t)following, &state))
                break;
            c = following;
        }
        const struct text cluster = {.data = text.data + from, .size = at - from};
        const char *replacement = cluster.size < WHOLE_CLUSTER ? find(map, cluster) : NULL;
        if (replacement)
            buffer_string(to, replacement);
        else
            apply_to_characters(map, cluster, to);
    }
}
