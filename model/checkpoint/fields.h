/* fields.h - reads a model's JSON, one field below another. Internal to model/checkpoint/.
 *
 * The first failure is kept, and those after it are silent, so that no branch is needed after each field. What is read
 * after a failure is within its range. Messages are "<file>: "<prefix><key>" is <what was found>; <what is accepted> is
 * accepted". */
#ifndef LIMOE_MODEL_CHECKPOINT_FIELDS_H
#define LIMOE_MODEL_CHECKPOINT_FIELDS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"

/* One document's, shared by all its objects. */
struct fields_report {
    const char *where; /* the file's name; begins every message */
    struct limoe_error *err;
    enum limoe_status status;
    bool strict; /* a null is a wrong value, not a missing one */
};

/* An object of the document. */
struct fields {
    struct fields_report *report;
    const cJSON *object; /* NULL, or no object: has no fields */
    const char *prefix;  /* "", or the object's own path with a dot behind it; begins every field's name */
};

/* Records a failure, the message without the file's name, unless there is one already. */
__attribute__((format(printf, 3, 4))) void fields_fail(const struct fields *f, enum limoe_status status,
                                                       const char *format, ...);
/* The usual message. item is the field's value; NULL: it is missing. */
void fields_refuse(const struct fields *f, enum limoe_status status, const char *key, const cJSON *item,
                   const char *accepted);

/* NULL: missing, or null where that is the same. */
const cJSON *fields_find(const struct fields *f, const char *key);

/* The object at a key; where there is none, an empty one, which is a failure unless it is optional. `prefix` is the
 * inner object's path. */
struct fields fields_enter(const struct fields *f, const char *key, const char *prefix, bool optional);

/* Refuses keys that are not among `known`, a list that ends with NULL. */
void fields_known(const struct fields *f, const char *const *known);

/* Each of these returns `absent` where the field is missing. */
bool fields_bool(const struct fields *f, const char *key, bool absent);
uint32_t fields_integer(const struct fields *f, const char *key, uint32_t min, uint32_t max, uint32_t absent);
double fields_number(const struct fields *f, const char *key, double min, double max, double absent);
/* The index of the word in `accepted`, a list that ends with NULL; a word that is not there is LIMOE_UNSUPPORTED, since
 * the file may be sound and this build too old. */
uint32_t fields_word(const struct fields *f, const char *key, const char *const *accepted, uint32_t absent);

/* The same where it must be there. */
uint32_t fields_integer_needed(const struct fields *f, const char *key, uint32_t min, uint32_t max);

/* An element of an array; `name` is its path after the prefix: "blocks[2]". */
uint32_t fields_integer_of(const struct fields *f, const cJSON *item, const char *name, uint32_t min,
                           uint32_t max);

/* An array of two integers. false: there is a failure, and both are `min`. */
bool fields_pair(const struct fields *f, const char *key, uint32_t min, uint32_t max, uint32_t *first,
                 uint32_t *second);

/* Three numbers, of red, green and blue, or where `one` one for all; left as they are where the field is missing. */
void fields_channels(const struct fields *f, const char *key, bool one, double min, double max,
                     float channel[3]);

#endif
