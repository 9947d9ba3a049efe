/* model_names.h - by which names a request may ask for the hosted models.
 *
 * A request names one of them, or none, and gets the first, the default. Clients that were written for
 * another server send that server's model's name and cannot be told otherwise. Aliases are the operator's
 * list, as --model-alias has it: "clip,text-embedding-3-small=pictograms". Each is a name that is taken for
 * the default model's, or ALIAS=NAME with the name of the model that it stands for; the alias "*" is any name
 * that is neither a model's nor an alias. No state, any thread.
 */
#ifndef LIMOE_SERVER_API_MODEL_NAMES_H
#define LIMOE_SERVER_API_MODEL_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "limoe.h"

#define MODEL_ALIAS_BYTES 128u /* the longest alias */

/* The hosted models as requests see them. Pointers are the owner's. */
struct request_models {
    const struct limoe_info *const *info; /* [n], at least 1; the first is the default */
    size_t n;
    const char *aliases; /* the list, or NULL: none */
};

/* Which model `name` asks for: by its own name, an alias, or, empty, the default. models->n: none. */
size_t model_names_find(const struct request_models *models, struct text name);
/* The same by what is written alone: an empty name and the alias "*" are not looked at. */
size_t model_names_find_written(const struct request_models *models, struct text name);

/* One alias of the list and what it stands for, after a call with *list at the list's start or where the last
 * call left it. Names are slices of the list. False: there is none left. */
struct model_alias {
    struct text alias;
    struct text target; /* data NULL: no "=NAME" is written */
};
bool model_names_next(const char **list, struct model_alias *out);
/* Whether the alias stands for model `i`. */
bool model_names_is_of(const struct request_models *models, const struct model_alias *alias, size_t i);

/* Checks how the list (or NULL) is written, which needs no model. */
enum limoe_status model_names_check_list(const char *aliases, struct limoe_error *err);
/* Checks that no two models have one name, and that each alias stands for one model, which is there. */
enum limoe_status model_names_check(const struct request_models *models, struct limoe_error *err);

/* "\"a\", \"b\"", cut where it does not fit. Returns out. */
const char *model_names_list(const struct request_models *models, char *out, size_t size);

#endif
