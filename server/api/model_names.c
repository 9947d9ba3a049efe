/* model_names.c - the list of aliases, read where it is asked; it is short, and so is that of the models. */
#include "server/api/model_names.h"

#include <stdio.h>
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

/* The model of that name itself; models->n: there is none. */
static size_t named(const struct request_models *models, struct text name) {
    size_t i = 0;
    while (i < models->n && !text_is(name, models->info[i]->name))
        i++;
    return i;
}

static size_t target_of(const struct request_models *models, const struct model_alias *alias) {
    return alias->target.data ? named(models, alias->target) : 0;
}

bool model_names_is_of(const struct request_models *models, const struct model_alias *alias, size_t i) {
    return target_of(models, alias) == i;
}

/* The model that the alias stands for; models->n: there is no such alias. */
static size_t aliased(const struct request_models *models, struct text name) {
    struct model_alias entry;
    for (const char *list = models->aliases; model_names_next(&list, &entry);)
        if (text_equal(entry.alias, name))
            return target_of(models, &entry);
    return models->n;
}

size_t model_names_find_written(const struct request_models *models, struct text name) {
    const size_t own = named(models, name);
    return own < models->n || text_is(name, "*") ? own : aliased(models, name);
}

size_t model_names_find(const struct request_models *models, struct text name) {
    if (!name.size)
        return 0;
    const size_t written = model_names_find_written(models, name);
    return written < models->n ? written : aliased(models, text_of("*"));
}

const char *model_names_list(const struct request_models *models, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < models->n; i++) {
        const char *comma = i ? ", " : "";
        if (used + strlen(comma) + strlen(models->info[i]->name) + sizeof "\"\", …" > size) {
            snprintf(out + used, size - used, "%s…", comma);
            break;
        }
        used += (size_t)snprintf(out + used, size - used, "%s\"%s\"", comma, models->info[i]->name);
    }
    return out;
}

/* ---- checks */

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

static enum limoe_status check_own(const struct request_models *models, struct limoe_error *err) {
    for (size_t i = 0; i < models->n; i++)
        if (named(models, text_of(models->info[i]->name)) != i)
            return limoe_fail(err, LIMOE_INVALID,
                              "two models are called \"%s\"; --model NAME=DIR gives one another name",
                              models->info[i]->name);
    return LIMOE_OK;
}

enum limoe_status model_names_check(const struct request_models *models, struct limoe_error *err) {
    struct model_alias entry;
    char quoted[64], names[256];
    enum limoe_status status = check_own(models, err);
    for (const char *list = models->aliases; status == LIMOE_OK && model_names_next(&list, &entry);) {
        const size_t meant = target_of(models, &entry);
        if (meant == models->n)
            return limoe_fail(err, LIMOE_INVALID, "model-alias names a model \"%s\"; there is %s",
                              text_quote(entry.target, quoted, sizeof quoted),
                              model_names_list(models, names, sizeof names));
        if (model_names_find(models, entry.alias) != meant)
            return limoe_fail(err, LIMOE_INVALID, "model-alias has \"%s\" for two models",
                              text_quote(entry.alias, quoted, sizeof quoted));
    }
    return status;
}
