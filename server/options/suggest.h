/* suggest.h - what a mistyped name was probably meant to be. */
#ifndef LIMOE_SERVER_OPTIONS_SUGGEST_H
#define LIMOE_SERVER_OPTIONS_SUGGEST_H

#include <stddef.h>

/* The nearest to `wrong`, of n names `stride` bytes apart (the first at `names`); NULL: none is near. Names
 * may be the first field of a struct. */
const char *suggest(const char *wrong, const char *const *names, size_t n, size_t stride);

/* Edits (insert, delete, replace a letter, swap neighbours) from a to b, of which the first SUGGEST_LONGEST
 * letters count: what a path of any length is nearest to costs the same. */
#define SUGGEST_LONGEST 48
size_t suggest_distance(const char *a, const char *b);

#endif
