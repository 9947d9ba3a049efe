/* model_names.h - by which names a request may ask for the hosted model.
 *
 * Clients that were written for another server send that server's model's name and cannot be told otherwise.
 * Aliases are the operator's list, as --model-alias has it: "clip,text-embedding-3-small=pictograms". Each is
 * a name that is taken for the model's own, or ALIAS=NAME with the name of the model that it stands for; the
 * alias
 * "*" takes any name. No state, any thread.
 */
#ifndef LIMOE_SERVER_API_MODEL_NAMES_H
#define LIMOE_SERVER_API_MODEL_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "limoe.h"

#define MODEL_ALIAS_BYTES 128u /* the longest alias */

/* The hosted model as requests see it. Pointers are the owner's. */
struct request_model {
    const struct limoe_info *info;
    const char *aliases; /* the list, or NULL: none */
};

/* Whether `name` asks for the model: its own name, an alias, or empty, which asks for whichever there is. */
bool model_names_take(const struct request_model *model, struct text name);

/* One alias of the list and what it stands for, after a call with *list at the list's start or where the last
 * call left it. Names are slices of the list. False: there is none left. */
struct model_alias {
    struct text alias;
    struct text target; /* data NULL: no "=NAME" is written */
};
bool model_names_next(const char **list, struct model_alias *out);

/* Checks how the list (or NULL) is written, which needs no model. */
enum limoe_status model_names_check_list(const char *aliases, struct limoe_error *err);
/* Checks that all that is written behind "=" is the model's name. */
enum limoe_status model_names_check(const struct request_model *model, struct limoe_error *err);

#endif
