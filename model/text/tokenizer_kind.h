/* tokenizer_kind.h - what is common to the kinds of tokenizer, for those who make one. */
#ifndef LIMOE_MODEL_TEXT_TOKENIZER_KIND_H
#define LIMOE_MODEL_TEXT_TOKENIZER_KIND_H

#include "base/text.h"
#include "model/text/clean.h"
#include "model/text/tokenizer.h"

struct tokenizer_kind {
    void (*close)(struct tokenizer *tokenizer);
    /* The ids of a text without start and end: the first `capacity`, or fewer. */
    enum limoe_status (*encode)(const struct tokenizer *tokenizer, struct text text, int32_t *ids,
                                uint32_t capacity, uint32_t *count, struct limoe_error *err);
    /* The text of ids below facts.vocab, NUL-terminated, to text[size]; NULL: this kind has none. */
    enum limoe_status (*decode)(const struct tokenizer *tokenizer, const int32_t *ids, uint32_t count,
                                char *text, size_t size, struct limoe_error *err);
};

/* Begins the struct of each kind. */
struct tokenizer {
    const struct tokenizer_kind *kind;
    struct tokenizer_facts facts;
    enum clean clean; /* done to a text before all else */
    bool end_once;    /* a text whose last id is the end already gets no second one */
};

#endif
