/* suggest.h - what a mistyped name was probably meant to be. */
#ifndef LIMOE_OPTIONS_SUGGEST_H
#define LIMOE_OPTIONS_SUGGEST_H

#include <stddef.h>

/* The nearest to `wrong`, of n names `stride` bytes apart (the first at `names`); NULL: none is near. Names
 * may be the first field of a struct. */
const char *suggest(const char *wrong, const char *const *names, size_t n, size_t stride);

#endif
