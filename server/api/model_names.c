/* model_names.c - the list of aliases, read where it is asked; it is short. */
#include "server/api/model_names.h"

#include <string.h>

#include "base/error.h"

bool model_names_next(const char **list, struct model_alias *out) {
    const char *entry = *list;
    if (!entry || !*entry)
        return false;
    const size_t size = strcspn(entry, ",");
    const char *equals = memchr(entry, '=', size);
    const size_t alias = equals ? (size_t)(equals - entry) : size;
    *out = (struct model_alias){.alias = {.data = entry, .size = alias}};
    if (equals)
        out->target = (struct text){.data = equals + 1, .size = size - alias - 1};
    *list = entry + size + (entry[size] == ',');
    return true;
}

bool model_names_take(const struct request_model *model, struct text name) {
    struct model_alias entry;
    if (!name.size || text_is(name, model->info->name))
        return true;
    for (const char *list = model->aliases; model_names_next(&list, &entry);)
        if (text_equal(entry.alias, name) || text_is(entry.alias, "*"))
            return true;
    return false;
}

enum limoe_status model_names_check_list(const char *aliases, struct limoe_error *err) {
    struct model_alias entry;
    char quoted[64];
    for (const char *list = aliases; model_names_next(&list, &entry);) {
        const bool unnamed = entry.target.data && !entry.target.size;
        if (!entry.alias.size || entry.alias.size > MODEL_ALIAS_BYTES || unnamed)
            return limoe_fail(
                err, LIMOE_INVALID,
                "model-alias has \"%s\"; accepted: ALIAS or ALIAS=NAME, an alias of 1 to %u bytes",
                text_quote(entry.alias, quoted, sizeof quoted), MODEL_ALIAS_BYTES);
    }
    return LIMOE_OK;
}

enum limoe_status model_names_check(const struct request_model *model, struct limoe_error *err) {
    struct model_alias entry;
    char quoted[64];
    for (const char *list = model->aliases; model_names_next(&list, &entry);)
        if (entry.target.data && !text_is(entry.target, model->info->name))
            return limoe_fail(err, LIMOE_INVALID, "model-alias names a model \"%s\"; there is \"%s\"",
                              text_quote(entry.target, quoted, sizeof quoted), model->info->name);
    return LIMOE_OK;
}
