/* fields.h - an object's fields, read one below another, for the files of other libraries. Internal to
 * model/checkpoint/.
 *
 * The first failure is kept, and those after it are silent. A field that is null is one that is missing. */
#ifndef LIMOE_MODEL_CHECKPOINT_FIELDS_H
#define LIMOE_MODEL_CHECKPOINT_FIELDS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"

struct fields {
    const cJSON *object; /* NULL, or no object: has no fields */
    const char *where;   /* the file's name; begins every message */
    const char *prefix;  /* "", or the object's own path with a dot behind it; begins every field's name */
    struct limoe_error *err;
    enum limoe_status status;
};

/* NULL: missing, or null. */
const cJSON *fields_find(const struct fields *f, const char *key);

/* "<where>: "<prefix><key>" is <item>; <accepted> is accepted", unless there is a failure already. */
void fields_refuse(struct fields *f, enum limoe_status status, const char *key, const cJSON *item,
                   const char *accepted);

/* Each of these returns `absent` where the field is missing. A flag that is null is off: None, in Python. */
bool fields_bool(struct fields *f, const char *key, bool absent);
uint32_t fields_integer(struct fields *f, const char *key, uint32_t min, uint32_t max, uint32_t absent);
double fields_number(struct fields *f, const char *key, double min, double max, double absent);

/* The index of the word in accepted[n], at most 8; a word that is not there is LIMOE_UNSUPPORTED. */
uint32_t fields_word(struct fields *f, const char *key, const char *const *accepted, uint32_t n,
                     uint32_t absent);

/* An array of two integers. false: there is a failure, and both are `min`. */
bool fields_pair(struct fields *f, const char *key, uint32_t min, uint32_t max, uint32_t *first,
                 uint32_t *second);

/* A number for all three channels, or three; left as they are where the field is missing. */
void fields_channels(struct fields *f, const char *key, double min, double max, float channel[3]);

#endif
