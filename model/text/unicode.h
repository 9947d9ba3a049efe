/* unicode.h - what the tokenizers' originals ask of Unicode, by utf8proc.
 *
 * The originals are written in Rust and in Python, which differ: in what is white space, and in whether a capital
 * sigma at a word's end becomes a final one. Texts are well-formed UTF-8; whoever calls has checked that.
 */
#ifndef LIMOE_MODEL_TEXT_UNICODE_H
#define LIMOE_MODEL_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"

/* The character that begins text[at], and the place behind it. */
uint32_t unicode_next(struct text text, size_t *at);
/* The character that ends before text[*at], whose place *at becomes. `*at` is above 0. */
uint32_t unicode_before(struct text text, size_t *at);
void unicode_append(struct buffer *to, uint32_t c);

bool unicode_letter(uint32_t c);      /* \p{L} */
bool unicode_number(uint32_t c);      /* \p{N} */
bool unicode_decimal(uint32_t c);     /* \d of Python */
bool unicode_other(uint32_t c);       /* control, format and private characters */
bool unicode_nonspacing(uint32_t c);  /* \p{Mn} */
bool unicode_punctuation(uint32_t c); /* \p{P}, and all of ASCII's */
/* \s of Unicode (White_Space), of Rust and of Oniguruma. */
bool unicode_space(uint32_t c);
/* str.isspace of Python, and so its strip, split and \s: White_Space and U+001C to U+001F. */
bool unicode_python_space(uint32_t c);

/* text without Python's white space at both ends. */
struct text unicode_python_strip(struct text text);
/* Appends text with each run of Python's white space made one space; none is left at the ends. */
void unicode_python_collapse(struct text text, struct buffer *to);

/* Appends the lower case of each character by itself, as Rust's `tokenizers` does. */
void unicode_lower(struct text text, struct buffer *to);
/* Appends str.lower() of Python. */
void unicode_python_lower(struct text text, struct buffer *to);

/* Appends normalisation form C. Takes time n log n also for long runs of combining marks. */
void unicode_nfc(struct text text, struct buffer *to);
/* Appends form D. */
void unicode_nfd(struct text text, struct buffer *to);
/* Appends form KD of one character. */
void unicode_decompose_compatible(uint32_t c, struct buffer *to);
/* The simple upper case. */
uint32_t unicode_upper(uint32_t c);

#endif
