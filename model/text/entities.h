/* entities.h - HTML's character references, as Python's html.unescape and ftfy read them. */
#ifndef LIMOE_MODEL_TEXT_ENTITIES_H
#define LIMOE_MODEL_TEXT_ENTITIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"

struct entity {
    const char *name; /* without & and ; */
    uint64_t value;   /* what it stands for, by the three below */
};

#define ENTITY_FIRST(value)  ((uint32_t)((value)&0x1FFFFF))
#define ENTITY_SECOND(value) ((uint32_t)((value) >> 21 & 0x1FFFFF)) /* 0: it is one character */
#define ENTITY_BARE(value)   ((value) >> 42 != 0)                   /* also without the semicolon */

extern const struct entity entities_table[]; /* [entities_count], by name */
extern const size_t entities_count;

/* Appends html.unescape(text). */
void entities_unescape(struct text text, struct buffer *to);

/* Appends ftfy's unescape_html(text) of itself until nothing is left to undo: only references that end with a
 * semicolon, and names in capitals where that is unambiguous. What "&amp;" leaves is looked at again at once, so that
 * a chain of them takes one pass. */
void entities_unescape_strict(struct text text, struct buffer *to);

#endif
