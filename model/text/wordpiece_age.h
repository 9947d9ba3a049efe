/* wordpiece_age.h - characters that `tokenizers`' BertNormalizer and BertPreTokenizer take for something else than
 * unicode.h does: their tables are Unicode 8's, and do not know what came later. */
#ifndef LIMOE_MODEL_TEXT_WORDPIECE_AGE_H
#define LIMOE_MODEL_TEXT_WORDPIECE_AGE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the answer of unicode_punctuation, unicode_nonspacing, unicode_other is the other way round there. */
bool wordpiece_age_punctuation(uint32_t c);
bool wordpiece_age_nonspacing(uint32_t c);
bool wordpiece_age_other(uint32_t c);

#endif
