/* suggest.h - what a mistyped name was probably meant to be. */
#ifndef LIMOE_SERVER_OPTIONS_SUGGEST_H
#define LIMOE_SERVER_OPTIONS_SUGGEST_H

#include <stddef.h>

/* The name nearest to `wrong`, of n names `stride` bytes apart (the first at `names`), since names may be
 * the first field of a struct. NULL if none is near. */
const char *suggest(const char *wrong, const char *const *names, size_t n, size_t stride);

/* How many edits (insert, delete or replace a letter, swap neighbours) lead from a to b. Only the first
 * SUGGEST_LONGEST letters count, so that a path of any length costs the same. */
#define SUGGEST_LONGEST 48
size_t suggest_distance(const char *a, const char *b);

#endif
