/* strict_json.h - the JSON beside a model's weights: cJSON, behind checks that it leaves out. */
#ifndef LIMOE_MODEL_CHECKPOINT_STRICT_JSON_H
#define LIMOE_MODEL_CHECKPOINT_STRICT_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#define STRICT_JSON_MAX_DEPTH  16u      /* objects and arrays inside one another */
#define STRICT_JSON_MAX_VALUES 4000000u /* in one document: bounds its tree, at about 100 bytes a value */

/* Parses `size` bytes (need not be NUL-terminated) that must be one object. Refuses, beyond bad syntax: bytes
 * that are not UTF-8, NUL in any form, control characters inside strings, the same key twice in an object,
 * too deep or too large a document, and anything but white space after the object. `where` begins every
 * message. Free *root with cJSON_Delete. Failures are LIMOE_CORRUPT, LIMOE_TOO_LARGE or LIMOE_NO_MEMORY. */
enum limoe_status strict_json_parse(const void *text, size_t size, const char *where, cJSON **root,
                                    struct limoe_error *err);

/* Whether `item` is a number without fraction from min to max; both within +-2^53, the exact range of
 * doubles. */
bool strict_json_integer(const cJSON *item, int64_t min, int64_t max, int64_t *value);

/* Room for what strict_json_describe and strict_json_quote write. */
#define STRICT_JSON_DESCRIPTION 80

/* A value for a message: missing (NULL), true, 3.5, "text", an array, an object. Returns `to`. */
const char *strict_json_describe(const cJSON *item, char to[STRICT_JSON_DESCRIPTION]);

/* A string for a message: quoted, cut when long, control characters and quotes as '?'. Returns `to`. */
const char *strict_json_quote(const char *string, char to[STRICT_JSON_DESCRIPTION]);

#endif
