/* split.c - the pattern as a scanner: each character is looked at once or twice. */
#include "model/text/split.h"

#include <string.h>

#include "model/text/unicode.h"

static bool long_s(struct text text, size_t at) {
    return at + 1 < text.size && (unsigned char)text.data[at] == 0xC5 &&
           (unsigned char)text.data[at + 1] == 0xBF;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Bytes of text[at ..] that match `pattern`, which is in lower case; 0: none. */
static size_t match(struct text text, size_t at, const char *pattern, bool any_case) {
    const size_t from = at;
    for (; *pattern; pattern++)
        if (any_case && *pattern == 's' && long_s(text, at))
            at += 2;
        else if (at < text.size && (any_case ? lower(text.data[at]) : text.data[at]) == *pattern)
            at++;
        else
            return 0;
    return at - from;
}

static size_t match_literal(struct text text, size_t at, enum split_literals literals) {
    static const char *const names[][2] = {[SPLIT_HUGGING_FACE] = {"<|startoftext|>", "<|endoftext|>"},
                                           [SPLIT_OPENCLIP] = {"<start_of_text>", "<end_of_text>"}};
    if (literals == SPLIT_NO_LITERALS)
        return 0;
    const size_t size = match(text, at, names[literals][0], literals == SPLIT_OPENCLIP);
    return size > 0 ? size : match(text, at, names[literals][1], literals == SPLIT_OPENCLIP);
}

static size_t match_contraction(struct text text, size_t at, bool any_case) {
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    size_t size = 0;
    for (size_t i = 0; size == 0 && i < sizeof endings / sizeof *endings; i++)
        size = match(text, at, endings[i], any_case);
    return size;
}

enum kind { LETTER, NUMBER, SPACE, OTHER };

static enum kind kind_of(uint32_t c, enum split_literals literals) {
    if (c == 0x345 && literals == SPLIT_OPENCLIP)
        return SPACE;
    return unicode_letter(c) ? LETTER : unicode_number(c) ? NUMBER : unicode_space(c) ? SPACE : OTHER;
}

/* Where the run of `kind` that begins at text[at] ends. */
static size_t run_end(struct text text, size_t at, enum kind kind, enum split_literals literals) {
    for (size_t next = at; at < text.size && kind_of(unicode_next(text, &next), literals) == kind;)
        at = next;
    return at;
}

bool split_next(struct text text, enum split_literals literals, size_t *at, struct split_word *word) {
    while (*at < text.size) {
        const size_t from = *at;
        size_t next = from, size = 0;
        const uint32_t c = unicode_next(text, &next);
        if (c == '<')
            size = match_literal(text, from, literals);
        const bool literal = size > 0;
        if (c == '\'')
            size = match_contraction(text, from, literals == SPLIT_OPENCLIP);
        const enum kind kind = kind_of(c, literals);
        *at = size > 0 ? from + size : kind == NUMBER ? next : run_end(text, from, kind, literals);
        if (kind == SPACE)
            continue;
        *word =
            (struct split_word){.text = {.data = text.data + from, .size = *at - from}, .literal = literal};
        return true;
    }
    return false;
}
