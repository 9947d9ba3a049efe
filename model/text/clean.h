/* clean.h - what OpenCLIP does to a text before its tokenizer sees it.
 *
 * Its first step, ftfy.fix_text, is reproduced but for one part: mojibake, text that was decoded by a wrong
 * encoding ("schÃ¶n"), is left as it is. So texts in which ftfy.badness.is_bad finds anything may come out
 * differently, and no others do: of those are all with control characters from U+0080 to U+009F. Its repetition ends
 * after 64 rounds, which only a text reaches that was made for it, by references inside references.
 */
#ifndef LIMOE_MODEL_TEXT_CLEAN_H
#define LIMOE_MODEL_TEXT_CLEAN_H

#include "base/buffer.h"
#include "base/text.h"

/* open_clip's names: get_clean_fn. */
enum clean {
    CLEAN_NOTHING,
    CLEAN_WHITESPACE,   /* ftfy.fix_text, html.unescape twice, white space made single spaces */
    CLEAN_LOWER,        /* the same, in lower case */
    CLEAN_CANONICALIZE, /* the same, without ASCII's punctuation */
};

/* Appends the text, cleaned. Memory that runs out shows in to->failed. */
void clean_text(enum clean how, struct text text, struct buffer *to);

#endif
