/* fields.h - reads a model's JSON field by field.
 *
 * A reader keeps the first failure and makes the later ones silent, so that fields can be read one below another,
 * in the order of the format, without a branch after each. What is read after a failure is a default within its
 * range. `object` may be NULL, which is an empty one.
 *
 * A path is how messages name a field; its last part is the key in `object`: "moe.experts" is "experts" of the
 * object "moe". */
#ifndef LIMOE_MODEL_CHECKPOINT_FIELDS_H
#define LIMOE_MODEL_CHECKPOINT_FIELDS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct fields {
    const char *where; /* the file's name; begins every message */
    struct limoe_error *err;
    enum limoe_status status;
    bool null_is_missing; /* as in transformers' files */
};

/* Records a failure unless there is one already. */
__attribute__((format(printf, 3, 4))) void fields_fail(struct fields *f, enum limoe_status status,
                                                       const char *format, ...);

/* NULL: it is not there. */
const cJSON *fields_find(const struct fields *f, const cJSON *object, const char *path);

/* Refuses keys that are not among `known`, a list that ends with NULL. `prefix` is the object's own name, quoted;
 * "" the document's. */
void fields_known(struct fields *f, const cJSON *object, const char *prefix, const char *const *known);

/* An object; NULL after a failure. */
const cJSON *fields_object(struct fields *f, const cJSON *object, const char *path);

/* One value, wherever it was found (NULL: it is missing), and the same by path. */
uint32_t fields_integer_of(struct fields *f, const cJSON *item, const char *path, uint32_t min, uint32_t max);
uint32_t fields_integer(struct fields *f, const cJSON *object, const char *path, uint32_t min, uint32_t max);
float fields_number_of(struct fields *f, const cJSON *item, const char *path, double min, double max);

/* The same where the field may be missing, or null, and then has a value. */
uint32_t fields_integer_or(struct fields *f, const cJSON *object, const char *path, uint32_t min,
                           uint32_t max, uint32_t absent);
float fields_number_or(struct fields *f, const cJSON *object, const char *path, double min, double max,
                       double absent);
bool fields_bool_or(struct fields *f, const cJSON *object, const char *path, bool absent);

/* The index of the string in `accepted`, a list that ends with NULL; `absent` where the field is missing. A
 * word that is not there is LIMOE_UNSUPPORTED: the file may be sound and this build too old. */
int fields_word(struct fields *f, const cJSON *object, const char *path, const char *const *accepted,
                int absent);

/* The i-th of the elements of the array at `path`, and its own path ("moe.blocks[2]") for messages. */
const cJSON *fields_element(const cJSON *array, int i, const char *path, char name[64]);

/* Three elements, one a channel; NULL after a failure. */
const cJSON *fields_channels(struct fields *f, const cJSON *object, const char *path);

#endif
