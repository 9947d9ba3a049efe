/* bpe.c - merges by row, a heap of pairs. The tokenizer owns the merges, each call of encode its word. */
#include "model/text/bpe.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"

#define NONE UINT32_MAX

/* ---- the merges */

static int compare_rules(const void *a, const void *b) {
    const struct bpe_rule *x = a, *y = b;
    if (x->right != y->right)
        return x->right < y->right ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Sorts each row; of equal pairs only the last rank stays. */
static void sort_rows(struct bpe *bpe) {
    uint32_t kept = 0, from = 0;
    for (uint32_t left = 0; left < bpe->vocab; left++) {
        const uint32_t end = bpe->first[left + 1];
        const uint32_t begin = kept;
        qsort(bpe->rule + from, end - from, sizeof *bpe->rule, compare_rules);
        for (; from < end; from++) {
            if (kept > begin && bpe->rule[kept - 1].right == bpe->rule[from].right)
                kept--;
            bpe->rule[kept++] = bpe->rule[from];
        }
        bpe->first[left] = begin;
    }
    bpe->first[bpe->vocab] = kept;
}

enum limoe_status bpe_init(struct bpe *bpe, const struct bpe_merge *merges, size_t n, uint32_t vocab,
                           const char *where, struct limoe_error *err) {
    *bpe = (struct bpe){.vocab = vocab};
    bpe->first = calloc((size_t)vocab + 2, sizeof *bpe->first);
    bpe->rule = calloc(n > 0 ? n : 1, sizeof *bpe->rule);
    if (!bpe->first || !bpe->rule || n >= NONE)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %zu merges", where, n);
    /* Counted one place ahead, so that filling the rows moves the counts into their places. */
    for (size_t i = 0; i < n; i++)
        bpe->first[merges[i].left + 2]++;
    for (uint32_t left = 0; left < vocab; left++)
        bpe->first[left + 2] += bpe->first[left + 1];
    for (size_t i = 0; i < n; i++) {
        bpe->rule[bpe->first[merges[i].left + 1]++] =
            (struct bpe_rule){.right = merges[i].right, .made = merges[i].made, .rank = (uint32_t)i};
    }
    sort_rows(bpe);
    return LIMOE_OK;
}

void bpe_free(struct bpe *bpe) {
    free(bpe->first);
    free(bpe->rule);
    *bpe = (struct bpe){0};
}

static const struct bpe_rule *find(const struct bpe *bpe, uint32_t left, uint32_t right) {
    if (left >= bpe->vocab)
        return NULL;
    uint32_t low = bpe->first[left], high = bpe->first[left + 1];
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (bpe->rule[middle].right == right)
            return &bpe->rule[middle];
        if (bpe->rule[middle].right < right)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- a word */

void bpe_word_free(struct bpe_word *word) {
    free(word->symbol);
    free(word->heap);
    *word = (struct bpe_word){0};
}

void bpe_word_clear(struct bpe_word *word) {
    word->size = 0;
    word->pairs = 0;
}

/* Room for one more than there are. */
static bool grow(void **at, size_t *room, size_t used, size_t each) {
    if (used < *room)
        return true;
    const size_t larger = *room ? *room * 2 : 64;
    void *moved = larger <= PTRDIFF_MAX / each ? realloc(*at, larger * each) : NULL;
    if (!moved)
        return false;
    *at = moved;
    *room = larger;
    return true;
}

static enum limoe_status fail_memory(const struct bpe_word *word, struct limoe_error *err) {
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a word of %zu pieces", word->size);
}

enum limoe_status bpe_word_add(struct bpe_word *word, uint32_t id, struct limoe_error *err) {
    if (word->size >= NONE ||
        !grow((void **)&word->symbol, &word->symbol_room, word->size, sizeof *word->symbol))
        return fail_memory(word, err);
    const uint32_t place = (uint32_t)word->size++;
    word->symbol[place] = (struct bpe_symbol){.id = id, .next = NONE, .before = place > 0 ? place - 1 : NONE};
    if (place > 0)
        word->symbol[place - 1].next = place;
    return LIMOE_OK;
}

static bool earlier(const struct bpe_pair *a, const struct bpe_pair *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->place < b->place);
}

static bool push(struct bpe_word *word, struct bpe_pair pair) {
    if (!grow((void **)&word->heap, &word->heap_room, word->pairs, sizeof *word->heap))
        return false;
    size_t at = word->pairs++;
    while (at > 0 && earlier(&pair, &word->heap[(at - 1) / 2])) {
        word->heap[at] = word->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    word->heap[at] = pair;
    return true;
}

static struct bpe_pair pop(struct bpe_word *word) {
    const struct bpe_pair top = word->heap[0], last = word->heap[--word->pairs];
    size_t at = 0;
    for (size_t child = 1; child < word->pairs; child = 2 * at + 1) {
        if (child + 1 < word->pairs && earlier(&word->heap[child + 1], &word->heap[child]))
            child++;
        if (!earlier(&word->heap[child], &last))
            break;
        word->heap[at] = word->heap[child];
        at = child;
    }
    word->heap[at] = last;
    return top;
}

/* Remembers that the symbol at `place` merges with the next one, if it does. */
static bool consider(const struct bpe *bpe, struct bpe_word *word, uint32_t place) {
    const struct bpe_symbol *symbol = &word->symbol[place];
    if (symbol->next == NONE)
        return true;
    const struct bpe_rule *rule = find(bpe, symbol->id, word->symbol[symbol->next].id);
    return !rule || push(word, (struct bpe_pair){.rank = rule->rank, .place = place, .made = rule->made});
}

/* Is the pair still there? Either side may have been merged with something else meanwhile. */
static bool stands(const struct bpe *bpe, const struct bpe_word *word, const struct bpe_pair *pair) {
    const struct bpe_symbol *symbol = &word->symbol[pair->place];
    if (symbol->id == NONE || symbol->next == NONE)
        return false;
    const struct bpe_rule *rule = find(bpe, symbol->id, word->symbol[symbol->next].id);
    return rule && rule->made == pair->made;
}

static void join(struct bpe_word *word, const struct bpe_pair *pair) {
    struct bpe_symbol *left = &word->symbol[pair->place];
    struct bpe_symbol *right = &word->symbol[left->next];
    left->id = pair->made;
    left->next = right->next;
    right->id = NONE;
    if (left->next != NONE)
        word->symbol[left->next].before = pair->place;
}

enum limoe_status bpe_word_merge(const struct bpe *bpe, struct bpe_word *word, int32_t *ids,
                                 uint32_t capacity, uint32_t *count, struct limoe_error *err) {
    word->pairs = 0;
    for (uint32_t place = 0; place < word->size; place++)
        if (!consider(bpe, word, place))
            return fail_memory(word, err);
    while (word->pairs > 0) {
        const struct bpe_pair pair = pop(word);
        if (!stands(bpe, word, &pair))
            continue;
        join(word, &pair);
        const uint32_t before = word->symbol[pair.place].before;
        if (!consider(bpe, word, pair.place) || (before != NONE && !consider(bpe, word, before)))
            return fail_memory(word, err);
    }
    uint32_t n = 0;
    for (uint32_t place = word->size > 0 ? 0 : NONE; place != NONE && n < capacity;
         place = word->symbol[place].next)
        ids[n++] = (int32_t)word->symbol[place].id;
    *count = n;
    return LIMOE_OK;
}
