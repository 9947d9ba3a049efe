/* vocab_json.c - by json_scan.h, piece by piece. */
#include "model/text/vocab_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define MAX_PIECE 1024 /* bytes of a merged piece */

enum limoe_status vocab_json_read(struct json_scan *scan, struct vocab *vocab) {
    bool opened = false, more = false;
    enum limoe_status status = json_scan_take(scan, '{');
    if (status == LIMOE_OK)
        status = json_scan_more(scan, '}', &opened, &more);
    while (status == LIMOE_OK && more) {
        struct text piece;
        uint32_t id;
        if ((status = json_scan_string(scan, &piece)) || (status = json_scan_take(scan, ':')) ||
            (status = json_scan_integer(scan, VOCAB_MAX - 1, piece, &id)) ||
            (status = vocab_add(vocab, piece, id, scan->err)))
            return status;
        status = json_scan_more(scan, '}', &opened, &more);
    }
    return status;
}

/* ---- merges */

static enum limoe_status find(const struct merge_list *merges, const struct vocab *vocab, struct text text,
                              const char *where, uint32_t *id, struct limoe_error *err) {
    const struct vocab_piece *piece = vocab_find(vocab, text);
    if (!piece) {
        char quoted[80];
        return limoe_fail(err, LIMOE_CORRUPT, "%s: merge %zu needs a piece \"%s\", which is not there", where,
                          merges->n, text_quote(text, quoted, sizeof quoted));
    }
    *id = piece->id;
    return LIMOE_OK;
}

enum limoe_status vocab_json_add_merge(struct merge_list *merges, const struct vocab *vocab, struct text left,
                                       struct text right, const char *where, struct limoe_error *err) {
    struct bpe_merge merge;
    char made[MAX_PIECE];
    if (left.size == 0 || right.size == 0 || left.size + right.size > sizeof made) {
        return limoe_fail(
            err, LIMOE_CORRUPT,
            "%s: merge %zu makes a piece of %zu and %zu bytes; at least 1 each and %d together are "
            "accepted",
            where, merges->n, left.size, right.size, MAX_PIECE);
    }
    memcpy(made, left.data, left.size);
    memcpy(made + left.size, right.data, right.size);
    const struct text whole = {.data = made, .size = left.size + right.size};
    enum limoe_status status;
    if ((status = find(merges, vocab, left, where, &merge.left, err)) ||
        (status = find(merges, vocab, right, where, &merge.right, err)) ||
        (status = find(merges, vocab, whole, where, &merge.made, err)))
        return status;
    if (merges->n == merges->room) {
        const size_t room = merges->room ? merges->room * 2 : 4096;
        struct bpe_merge *at = realloc(merges->at, room * sizeof *at);
        if (!at)
            return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %zu merges", where, room);
        merges->at = at;
        merges->room = room;
    }
    merges->at[merges->n++] = merge;
    return LIMOE_OK;
}

static enum limoe_status read_joined(struct json_scan *scan, const struct merge_list *merges,
                                     struct text *left, struct text *right) {
    struct text both;
    enum limoe_status status = json_scan_string(scan, &both);
    if (status != LIMOE_OK)
        return status;
    const char *space = both.size > 0 ? memchr(both.data, ' ', both.size) : NULL;
    const size_t at = space ? (size_t)(space - both.data) : both.size;
    *left = (struct text){.data = both.data, .size = at};
    *right = space ? (struct text){.data = space + 1, .size = both.size - at - 1} : (struct text){0};
    if (!space || memchr(right->data, ' ', right->size)) {
        char quoted[80];
        return limoe_fail(scan->err, LIMOE_CORRUPT,
                          "%s: merge %zu is \"%s\"; two pieces with one space between are accepted",
                          scan->where, merges->n, text_quote(both, quoted, sizeof quoted));
    }
    return LIMOE_OK;
}

static enum limoe_status read_pair(struct json_scan *scan, struct text *left, struct text *right) {
    enum limoe_status status;
    if ((status = json_scan_take(scan, '[')) || (status = json_scan_string(scan, left)) ||
        (status = json_scan_take(scan, ',')) || (status = json_scan_string(scan, right)))
        return status;
    return json_scan_take(scan, ']');
}

enum limoe_status vocab_json_read_merges(struct json_scan *scan, const struct vocab *vocab,
                                         struct merge_list *merges) {
    bool opened = false, more = false;
    enum limoe_status status = json_scan_take(scan, '[');
    if (status == LIMOE_OK)
        status = json_scan_more(scan, ']', &opened, &more);
    while (status == LIMOE_OK && more) {
        struct text left = {0}, right = {0};
        status = json_scan_peek(scan) == '[' ? read_pair(scan, &left, &right)
                                             : read_joined(scan, merges, &left, &right);
        if (status == LIMOE_OK)
            status = vocab_json_add_merge(merges, vocab, left, right, scan->where, scan->err);
        if (status == LIMOE_OK)
            status = json_scan_more(scan, ']', &opened, &more);
    }
    return status;
}
