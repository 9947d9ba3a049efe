/* added.c - a sorted list, narrowed byte by byte. */
#include "model/text/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/text/unicode.h"

void added_free(struct added *added) {
    for (size_t i = 0; i < added->n; i++)
        free(added->token[i].text);
    free(added->token);
    *added = (struct added){0};
}

enum limoe_status added_add(struct added *added, struct text text, uint32_t id, bool left, bool right,
                            const char *where, struct limoe_error *err) {
    if (text.size == 0 || text.size > ADDED_MAX_SIZE) {
        return limoe_fail(err, LIMOE_CORRUPT, "%s: an added token of %zu bytes; 1 to %u are accepted", where,
                          text.size, ADDED_MAX_SIZE);
    }
    if (added->n == added->room) {
        const size_t room = added->room ? added->room * 2 : 16;
        struct added_token *token = realloc(added->token, room * sizeof *token);
        if (!token)
            return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %zu added tokens", where, room);
        added->token = token;
        added->room = room;
    }
    char *copy = malloc(text.size);
    if (!copy)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for an added token", where);
    memcpy(copy, text.data, text.size);
    added->token[added->n++] = (struct added_token){
        .text = copy, .size = (uint32_t)text.size, .id = id, .left = left, .right = right};
    return LIMOE_OK;
}

static int compare(const void *a, const void *b) {
    const struct added_token *x = a, *y = b;
    const int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
    if (order != 0)
        return order;
    return x->size < y->size ? -1 : x->size > y->size;
}

enum limoe_status added_finish(struct added *added, const char *where, struct limoe_error *err) {
    if (added->n > 1)
        qsort(added->token, added->n, sizeof *added->token, compare);
    for (size_t i = 1; i < added->n; i++) {
        if (compare(&added->token[i - 1], &added->token[i]) == 0) {
            char quoted[80];
            const struct text text = {.data = added->token[i].text, .size = added->token[i].size};
            return limoe_fail(err, LIMOE_CORRUPT, "%s: the added token \"%s\" is there twice", where,
                              text_quote(text, quoted, sizeof quoted));
        }
    }
    size_t at = 0;
    for (uint32_t byte = 0; byte <= 256; byte++) {
        while (at < added->n && (unsigned char)added->token[at].text[0] < byte)
            at++;
        added->first[byte] = (uint32_t)at;
    }
    return LIMOE_OK;
}

/* The first token of [low, high) whose byte `depth` is not below `byte`; all are longer than `depth`, but perhaps
 * the first, which counts as below. */
static uint32_t bound(const struct added *added, uint32_t low, uint32_t high, uint32_t depth, unsigned byte) {
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct added_token *token = &added->token[middle];
        if (token->size <= depth || (unsigned char)token->text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token that begins text[at]; NULL: none. */
static const struct added_token *match_at(const struct added *added, struct text text, size_t at) {
    const unsigned char first = (unsigned char)text.data[at];
    uint32_t low = added->first[first], high = added->first[first + 1];
    const struct added_token *longest = NULL;
    for (uint32_t depth = 1; low < high; depth++) {
        if (added->token[low].size == depth)
            longest = &added->token[low];
        if (at + depth >= text.size)
            break;
        const unsigned char byte = (unsigned char)text.data[at + depth];
        low = bound(added, low, high, depth, byte);
        high = bound(added, low, high, depth, byte + 1u);
    }
    return longest;
}

/* Widens the match over white space, not to before `from`. */
static void take_space(const struct added_token *token, struct text text, size_t from,
                       struct added_match *match) {
    for (size_t at = match->begin; token->left && at > from && unicode_space(unicode_before(text, &at));)
        match->begin = at;
    for (size_t at = match->end; token->right && at < text.size && unicode_space(unicode_next(text, &at));)
        match->end = at;
}

bool added_next(const struct added *added, struct text text, size_t from, struct added_match *match) {
    if (added->n == 0)
        return false;
    for (size_t at = from; at < text.size; at++) {
        const unsigned char byte = (unsigned char)text.data[at];
        if (added->first[byte] == added->first[byte + 1])
            continue;
        const struct added_token *token = match_at(added, text, at);
        if (!token)
            continue;
        *match = (struct added_match){.begin = at, .end = at + token->size, .id = token->id};
        take_space(token, text, from, match);
        return true;
    }
    return false;
}
