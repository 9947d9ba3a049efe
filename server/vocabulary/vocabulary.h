/* vocabulary.h - what pictures are described by without being asked: terms, and pictures that say what is usual.
 *
 * Read-only, in the program; any thread. README.md says where they come from.
 */
#ifndef LIMOE_SERVER_VOCABULARY_VOCABULARY_H
#define LIMOE_SERVER_VOCABULARY_VOCABULARY_H

#include <stddef.h>

#include "base/text.h"

#define VOCABULARY_TAGS       "tags"
#define VOCABULARY_ATTRIBUTES "attributes"

struct vocabulary {
    const char *name;
    const struct text *terms; /* [n], in order, no two alike */
    size_t n;
};
/* NULL: there is none of this name. */
const struct vocabulary *vocabulary_find(struct text name);

/* Pictures of many kinds of things: a term's cosines with them are those that it has with pictures in general. */
struct vocabulary_picture {
    struct text name; /* the beginning of its file's SHA-256, so another picture has another name */
    const unsigned char *bytes;
    size_t size;
};
extern const struct vocabulary_picture vocabulary_reference[]; /* [vocabulary_references] */
extern const size_t vocabulary_references;

#endif
