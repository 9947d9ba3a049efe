/* fields.c - reads fields of an object, each with its bounds. No state but the report's, no threads. */
#include "model/checkpoint/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/strict_json.h"

void fields_fail(const struct fields *f, enum limoe_status status, const char *format, ...) {
    struct fields_report *report = f->report;
    char message[sizeof report->err->message];
    va_list arguments;
    if (report->status != LIMOE_OK)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    report->status = limoe_fail(report->err, status, "%s: %s", report->where, message);
}

void fields_refuse(const struct fields *f, enum limoe_status status, const char *key, const cJSON *item,
                   const char *accepted) {
    char found[STRICT_JSON_DESCRIPTION];
    fields_fail(f, status, "\"%s%s\" is %s; %s is accepted", f->prefix, key,
                strict_json_describe(item, found), accepted);
}

const cJSON *fields_find(const struct fields *f, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(f->object, key);
    return cJSON_IsNull(item) && !f->report->strict ? NULL : item;
}

struct fields fields_enter(const struct fields *f, const char *key, const char *prefix, bool optional) {
    const cJSON *item = fields_find(f, key);
    if (!cJSON_IsObject(item) && (item || !optional))
        fields_refuse(f, LIMOE_CORRUPT, key, item, "an object");
    return (struct fields){f->report, cJSON_IsObject(item) ? item : NULL, prefix};
}

void fields_known(const struct fields *f, const char *const *known) {
    const cJSON *child;
    cJSON_ArrayForEach(child, f->object) {
        const char *const *k = known;
        while (*k && strcmp(*k, child->string) != 0)
            k++;
        if (!*k) {
            char name[STRICT_JSON_DESCRIPTION];
            const int length = (int)strlen(f->prefix);
            fields_fail(f, LIMOE_CORRUPT, "unknown key %s%s%.*s%s", strict_json_quote(child->string, name),
                        length ? " in \"" : "", length ? length - 1 : 0, f->prefix, length ? "\"" : "");
        }
    }
}

bool fields_bool(const struct fields *f, const char *key, bool absent) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(f->object, key);
    const bool off = cJSON_IsNull(item) && !f->report->strict; /* a flag that is None, in Python, is off */
    if (!item)
        return absent;
    if (!cJSON_IsBool(item) && !off)
        fields_refuse(f, LIMOE_CORRUPT, key, item, "true or false");
    return cJSON_IsTrue(item);
}

uint32_t fields_integer_of(const struct fields *f, const cJSON *item, const char *name, uint32_t min,
                           uint32_t max) {
    int64_t value = min;
    if (!strict_json_integer(item, min, max, &value)) {
        char accepted[64];
        snprintf(accepted, sizeof accepted, "an integer from %u to %u", min, max);
        fields_refuse(f, LIMOE_CORRUPT, name, item, accepted);
        return min;
    }
    return (uint32_t)value;
}

uint32_t fields_integer_needed(const struct fields *f, const char *key, uint32_t min, uint32_t max) {
    return fields_integer_of(f, fields_find(f, key), key, min, max);
}

uint32_t fields_integer(const struct fields *f, const char *key, uint32_t min, uint32_t max,
                        uint32_t absent) {
    return fields_find(f, key) ? fields_integer_needed(f, key, min, max) : absent;
}

static double number_of(const struct fields *f, const cJSON *item, const char *name, double min, double max) {
    const double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    char accepted[96];
    if (value >= min && value <= max)
        return value;
    snprintf(accepted, sizeof accepted, "a number from %g to %g", min, max);
    fields_refuse(f, LIMOE_CORRUPT, name, item, accepted);
    return min;
}

double fields_number(const struct fields *f, const char *key, double min, double max, double absent) {
    const cJSON *item = fields_find(f, key);
    return item ? number_of(f, item, key, min, max) : absent;
}

uint32_t fields_word(const struct fields *f, const char *key, const char *const *accepted, uint32_t absent) {
    const cJSON *item = fields_find(f, key);
    char list[256] = "";
    size_t used = 0;
    if (!item)
        return absent;
    for (uint32_t i = 0; accepted[i]; i++) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, accepted[i]) == 0)
            return i;
        const char *before = i == 0 ? "" : accepted[i + 1] ? ", " : " or ";
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s\"%s\"", before, accepted[i]);
    }
    fields_refuse(f, cJSON_IsString(item) ? LIMOE_UNSUPPORTED : LIMOE_CORRUPT, key, item, list);
    return 0;
}

bool fields_pair(const struct fields *f, const char *key, uint32_t min, uint32_t max, uint32_t *first,
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

void fields_channels(const struct fields *f, const char *key, bool one, double min, double max,
                     float channel[3]) {
    const cJSON *item = fields_find(f, key);
    if (!item)
        return;
    if (one && cJSON_IsNumber(item)) {
        channel[0] = channel[1] = channel[2] = (float)number_of(f, item, key, min, max);
        return;
    }
    if (cJSON_IsArray(item) && cJSON_GetArraySize(item) != 3) {
        fields_fail(f, LIMOE_CORRUPT, "\"%s%s\" has %d elements; 3 (red, green, blue) are accepted",
                    f->prefix, key, cJSON_GetArraySize(item));
        return;
    }
    if (!cJSON_IsArray(item)) {
        fields_refuse(f, LIMOE_CORRUPT, key, item,
                      one ? "a number, or an array of 3 (red, green, blue),"
                          : "an array of 3 (red, green, blue)");
        return;
    }
    for (int c = 0; c < 3; c++) {
        char name[80];
        snprintf(name, sizeof name, "%.64s[%d]", key, c);
        channel[c] = (float)number_of(f, cJSON_GetArrayItem(item, c), name, min, max);
    }
}
