/* split.h - CLIP's words: what its pattern matches, one after another; what lies between is dropped.
 *
 *   <|startoftext|> | <|endoftext|> | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+
 *
 * The first alternative that matches counts, at each place. Hugging Face's pattern knows the two literals, or does
 * not; OpenCLIP's names them <start_of_text> and <end_of_text>, and ignores case, which makes the long s (U+017F) an s,
 * and makes U+0345, a mark whose capital is a letter, match nothing.
 */
#ifndef LIMOE_MODEL_TEXT_SPLIT_H
#define LIMOE_MODEL_TEXT_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum split_literals { SPLIT_NO_LITERALS, SPLIT_HUGGING_FACE, SPLIT_OPENCLIP };

struct split_word {
    struct text text;
    bool literal; /* one of the first two alternatives */
};

/* The next word of the text from *at on, which moves behind it; false: there is none. */
bool split_next(struct text text, enum split_literals literals, size_t *at, struct split_word *word);

#endif
