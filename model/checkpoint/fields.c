/* fields.c - a model's JSON, field by field. No state but the reader's, no threads. */
#include "model/checkpoint/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/strict_json.h"

void fields_fail(struct fields *f, enum limoe_status status, const char *format, ...) {
    char message[sizeof f->err->message];
    va_list arguments;
    if (f->status != LIMOE_OK)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    f->status = limoe_fail(f->err, status, "%s: %s", f->where, message);
}

const cJSON *fields_find(const struct fields *f, const cJSON *object, const char *path) {
    const char *dot = strrchr(path, '.');
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, dot ? dot + 1 : path);
    return f->null_is_missing && cJSON_IsNull(item) ? NULL : item;
}

void fields_known(struct fields *f, const cJSON *object, const char *prefix, const char *const *known) {
    const cJSON *child;
    cJSON_ArrayForEach(child, object) {
        const char *const *k = known;
        while (*k && strcmp(*k, child->string) != 0)
            k++;
        if (!*k) {
            char name[METADATA_DESCRIPTION];
            fields_fail(f, LIMOE_CORRUPT, "unknown key %s%s%s", metadata_quote(child->string, name),
                        *prefix ? " in " : "", prefix);
        }
    }
}

const cJSON *fields_object(struct fields *f, const cJSON *object, const char *path) {
    const cJSON *item = fields_find(f, object, path);
    if (!cJSON_IsObject(item)) {
        char found[METADATA_DESCRIPTION];
        fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %s; an object is accepted", path,
                    metadata_describe(item, found));
        return NULL;
    }
    return item;
}

uint32_t fields_integer_of(struct fields *f, const cJSON *item, const char *path, uint32_t min,
                           uint32_t max) {
    int64_t value = min;
    if (!metadata_integer(item, min, max, &value)) {
        char found[METADATA_DESCRIPTION];
        fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %s; an integer from %u to %u is accepted", path,
                    metadata_describe(item, found), min, max);
    }
    return (uint32_t)value;
}

uint32_t fields_integer(struct fields *f, const cJSON *object, const char *path, uint32_t min, uint32_t max) {
    return fields_integer_of(f, fields_find(f, object, path), path, min, max);
}

uint32_t fields_integer_or(struct fields *f, const cJSON *object, const char *path, uint32_t min,
                           uint32_t max, uint32_t absent) {
    const cJSON *item = fields_find(f, object, path);
    return item ? fields_integer_of(f, item, path, min, max) : absent;
}

float fields_number_of(struct fields *f, const cJSON *item, const char *path, double min, double max) {
    double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!(value >= min && value <= max)) {
        char found[METADATA_DESCRIPTION];
        fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %s; a number from %g to %g is accepted", path,
                    metadata_describe(item, found), min, max);
        value = min;
    }
    return (float)value;
}

float fields_number_or(struct fields *f, const cJSON *object, const char *path, double min, double max,
                       double absent) {
    const cJSON *item = fields_find(f, object, path);
    return item ? fields_number_of(f, item, path, min, max) : (float)absent;
}

bool fields_bool_or(struct fields *f, const cJSON *object, const char *path, bool absent) {
    const cJSON *item = fields_find(f, object, path);
    if (item && !cJSON_IsBool(item)) {
        char found[METADATA_DESCRIPTION];
        fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %s; true or false is accepted", path,
                    metadata_describe(item, found));
    }
    return item ? cJSON_IsTrue(item) : absent;
}

int fields_word(struct fields *f, const cJSON *object, const char *path, const char *const *accepted,
                int absent) {
    const cJSON *item = fields_find(f, object, path);
    char list[240] = "", found[METADATA_DESCRIPTION];
    size_t used = 0;
    if (!item)
        return absent;
    for (int i = 0; accepted[i]; i++) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, accepted[i]) == 0)
            return i;
        const char *before = i == 0 ? "" : accepted[i + 1] ? ", " : " or ";
        int n = snprintf(list + used, sizeof list - used, "%s\"%s\"", before, accepted[i]);
        used += (size_t)n;
    }
    fields_fail(f, cJSON_IsString(item) ? LIMOE_UNSUPPORTED : LIMOE_CORRUPT, "\"%s\" is %s; %s is accepted",
                path, metadata_describe(item, found), list);
    return 0;
}

const cJSON *fields_element(const cJSON *array, int i, const char *path, char name[64]) {
    snprintf(name, 64, "%s[%d]", path, i);
    return cJSON_GetArrayItem(array, i);
}

const cJSON *fields_channels(struct fields *f, const cJSON *object, const char *path) {
    const cJSON *array = fields_find(f, object, path);
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) != 3) {
        char found[METADATA_DESCRIPTION];
        if (cJSON_IsArray(array)) {
            fields_fail(f, LIMOE_CORRUPT, "\"%s\" has %d elements; 3 (red, green, blue) are accepted", path,
                        cJSON_GetArraySize(array));
        } else {
            fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %s; an array of 3 (red, green, blue) is accepted", path,
                        metadata_describe(array, found));
        }
        return NULL;
    }
    return array;
}
