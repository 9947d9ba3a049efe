/* model_list.h - the models that an option names: "DIR", "NAME=DIR", or several, divided by commas.
 *
 * What stands before the first "=" of an entry is a name unless it has a "/": a directory whose name has a "="
 * is written with one ("./a=b"). One with a comma cannot be written; a link to it can. No state, any thread.
 */
#ifndef LIMOE_SERVER_OPTIONS_MODEL_LIST_H
#define LIMOE_SERVER_OPTIONS_MODEL_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "limoe.h"

#define MODEL_LIST_MOST       64u  /* models of one server */
#define MODEL_LIST_NAME_BYTES 127u /* the longest name, as a model's own may be */

/* Slices of the list. */
struct model_entry {
    struct text name; /* data NULL: none is written, the model has its own */
    struct text dir;
};
/* The next entry, after a call with *list at the list's start or where the last call left it. False: there is
 * none left. */
bool model_list_next(const char **list, struct model_entry *out);

size_t model_list_count(const char *list);
/* LIMOE_INVALID: too many models, a name that no model may have, or two of one name, or no directory. */
enum limoe_status model_list_check(const char *list, struct limoe_error *err);

#endif
