/* model_list.c - the list is read where it is asked; it is short. */
#include "server/options/model_list.h"

#include <string.h>

#include "base/error.h"

#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

bool model_list_next(const char **list, struct model_entry *out) {
    const char *entry = *list;
    if (!entry || !*entry)
        return false;
    const size_t size = strcspn(entry, ",");
    const size_t name = strcspn(entry, "=/,");
    *out = (struct model_entry){.dir = {.data = entry, .size = size}};
    if (entry[name] == '=') {
        out->name = (struct text){.data = entry, .size = name};
        out->dir = (struct text){.data = entry + name + 1, .size = size - name - 1};
    }
    *list = entry + size + (entry[size] == ',');
    return true;
}

size_t model_list_count(const char *list) {
    struct model_entry entry;
    size_t n = 0;
    while (model_list_next(&list, &entry))
        n++;
    return n;
}

static bool is_name(struct text name) {
    bool good =
        name.size > 0 && name.size <= MODEL_LIST_NAME_BYTES && name.data[0] != '.' && name.data[0] != '-';
    for (size_t i = 0; i < name.size && good; i++)
        good = strchr(NAME_LETTERS, name.data[i]) != NULL;
    return good;
}

/* Whether an entry before `end` has the name. */
static bool is_taken(const char *list, const char *end, struct text name) {
    struct model_entry entry;
    while (list < end && model_list_next(&list, &entry))
        if (entry.name.data && entry.name.data < name.data && text_equal(entry.name, name))
            return true;
    return false;
}

enum limoe_status model_list_check(const char *list, struct limoe_error *err) {
    struct model_entry entry;
    char quoted[64];
    if (model_list_count(list) > MODEL_LIST_MOST)
        return limoe_fail(err, LIMOE_INVALID, "model names %zu models; up to %u are accepted",
                          model_list_count(list), MODEL_LIST_MOST);
    for (const char *at = list; model_list_next(&at, &entry);) {
        if (entry.name.data && !is_name(entry.name))
            return limoe_fail(
                err, LIMOE_INVALID,
                "model has the name \"%s\"; accepted: NAME=DIR, a name of 1 to %u of A-Z a-z 0-9 "
                ". _ -, the first neither . nor - (a directory with a \"=\": ./DIR)",
                text_quote(entry.name, quoted, sizeof quoted), MODEL_LIST_NAME_BYTES);
        if (!entry.dir.size)
            return limoe_fail(err, LIMOE_INVALID, "model \"%s\" has no directory; accepted: DIR, NAME=DIR",
                              entry.name.data ? text_quote(entry.name, quoted, sizeof quoted) : "");
        if (entry.name.data && is_taken(list, at, entry.name))
            return limoe_fail(err, LIMOE_INVALID, "model has the name \"%s\" twice; each model has its own",
                              text_quote(entry.name, quoted, sizeof quoted));
    }
    return LIMOE_OK;
}
