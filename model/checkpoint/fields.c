/* fields.c - reads fields of an object, each with its bounds. No state. */
#include "model/checkpoint/fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/strict_json.h"

const cJSON *fields_find(const struct fields *f, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(f->object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

void fields_refuse(struct fields *f, enum limoe_status status, const char *key, const cJSON *item,
                   const char *accepted) {
    char found[STRICT_JSON_DESCRIPTION];
    if (f->status == LIMOE_OK) {
        f->status = limoe_fail(f->err, status, "%s: \"%s%s\" is %s; %s is accepted", f->where, f->prefix, key,
                               strict_json_describe(item, found), accepted);
    }
}

bool fields_bool(struct fields *f, const char *key, bool absent) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(f->object, key);
    if (!item)
        return absent;
    if (!cJSON_IsBool(item) && !cJSON_IsNull(item))
        fields_refuse(f, LIMOE_CORRUPT, key, item, "true or false");
    return cJSON_IsTrue(item);
}

uint32_t fields_integer(struct fields *f, const char *key, uint32_t min, uint32_t max, uint32_t absent) {
    const cJSON *item = fields_find(f, key);
    int64_t value = min;
    if (!item)
        return absent;
    if (!strict_json_integer(item, min, max, &value)) {
        char accepted[64];
        snprintf(accepted, sizeof accepted, "an integer from %u to %u", min, max);
        fields_refuse(f, LIMOE_CORRUPT, key, item, accepted);
    }
    return (uint32_t)value;
}

/* NaN, if it is none from min to max. */
static double in_bounds(const cJSON *item, double min, double max) {
    const double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return value >= min && value <= max ? value : NAN;
}

static double refuse_number(struct fields *f, const char *key, const cJSON *item, double min, double max) {
    char accepted[96];
    snprintf(accepted, sizeof accepted, "a number from %g to %g", min, max);
    fields_refuse(f, LIMOE_CORRUPT, key, item, accepted);
    return min;
}

double fields_number(struct fields *f, const char *key, double min, double max, double absent) {
    const cJSON *item = fields_find(f, key);
    if (!item)
        return absent;
    const double value = in_bounds(item, min, max);
    return isnan(value) ? refuse_number(f, key, item, min, max) : value;
}

uint32_t fields_word(struct fields *f, const char *key, const char *const *accepted, uint32_t n,
                     uint32_t absent) {
    const cJSON *item = fields_find(f, key);
    char list[256] = "";
    size_t used = 0;
    if (!item)
        return absent;
    for (uint32_t i = 0; i < n; i++) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, accepted[i]) == 0)
            return i;
        const char *before = i == 0 ? "" : i + 1 < n ? ", " : " or ";
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s\"%s\"", before, accepted[i]);
    }
    fields_refuse(f, cJSON_IsString(item) ? LIMOE_UNSUPPORTED : LIMOE_CORRUPT, key, item, list);
    return absent;
}

bool fields_pair(struct fields *f, const char *key, uint32_t min, uint32_t max, uint32_t *first,
                 uint32_t *second) {
    const cJSON *item = fields_find(f, key);
    int64_t a = 0, b = 0;
    const bool good = cJSON_GetArraySize(item) == 2 &&
                      strict_json_integer(cJSON_GetArrayItem(item, 0), min, max, &a) &&
                      strict_json_integer(cJSON_GetArrayItem(item, 1), min, max, &b);
    if (!good) {
        char accepted[80];
        snprintf(accepted, sizeof accepted, "an array of two integers from %u to %u", min, max);
        fields_refuse(f, LIMOE_CORRUPT, key, item, accepted);
    }
    *first = good ? (uint32_t)a : min;
    *second = good ? (uint32_t)b : min;
    return good;
}

void fields_channels(struct fields *f, const char *key, double min, double max, float channel[3]) {
    const cJSON *item = fields_find(f, key);
    if (!item)
        return;
    if (cJSON_IsNumber(item)) {
        channel[0] = channel[1] = channel[2] = (float)fields_number(f, key, min, max, min);
        return;
    }
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 3) {
        fields_refuse(f, LIMOE_CORRUPT, key, item, "a number, or an array of 3 (red, green, blue),");
        return;
    }
    for (int c = 0; c < 3; c++) {
        const cJSON *element = cJSON_GetArrayItem(item, c);
        char name[80];
        snprintf(name, sizeof name, "%.64s[%d]", key, c);
        double value = in_bounds(element, min, max);
        channel[c] = (float)(isnan(value) ? refuse_number(f, name, element, min, max) : value);
    }
}
