/* strict_json.c - what cJSON does not check.
 *
 * cJSON reads NUL as the end of a string, keeps the first of two equal keys, skips any control character as
 * white space and builds a tree some fifty times the size of a text like "[[[[0,0,...". One lexical pass over
 * the bytes settles the first three and bounds the last before cJSON sees them; equal keys are found in the
 * tree. */
#include "model/checkpoint/strict_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

/* From the byte after an opening quote to the byte after the closing one;
 * NULL with `*err` filled on failure. */
static const char *scan_string(const char *text, const char *s, const char *end, const char *where,
                               struct limoe_error *err) {
    while (s < end && *s != '"') {
        if ((unsigned char)*s < 0x20) {
            limoe_fail(err, LIMOE_CORRUPT, "%s: a control character inside a string at byte %zu", where,
                       (size_t)(s - text));
            return NULL;
        }
        if (*s == '\\') {
            if (end - s >= 6 && memcmp(s, "\\u0000", 6) == 0) {
                limoe_fail(err, LIMOE_CORRUPT, "%s: \\u0000 inside a string at byte %zu", where,
                           (size_t)(s - text));
                return NULL;
            }
            s++; /* whatever is escaped, a quote or a backslash among them, ends nothing */
        }
        s++;
    }
    if (s >= end) {
        limoe_fail(err, LIMOE_CORRUPT, "%s: a string is not closed before the end of the text", where);
        return NULL;
    }
    return s + 1;
}

static enum limoe_status scan(const char *text, size_t size, const char *where, struct limoe_error *err) {
    size_t valid = utf8_check(text, size);
    if (valid < size)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: not UTF-8 at byte %zu", where, valid);
    const char *s = text, *end = text + size;
    size_t depth = 0, values = 1;
    while (s < end) {
        char c = *s;
        if (c == '"') {
            s = scan_string(text, s + 1, end, where, err);
            if (!s)
                return LIMOE_CORRUPT;
            continue;
        }
        if ((unsigned char)c < 0x20 && c != '\t' && c != '\n' && c != '\r') {
            return limoe_fail(err, LIMOE_CORRUPT, "%s: not JSON at byte %zu: a control character", where,
                              (size_t)(s - text));
        }
        if (c == '{' || c == '[') {
            values++;
            if (++depth > STRICT_JSON_MAX_DEPTH) {
                return limoe_fail(err, LIMOE_TOO_LARGE, "%s: nested deeper than %u at byte %zu", where,
                                  STRICT_JSON_MAX_DEPTH, (size_t)(s - text));
            }
        } else if (c == '}' || c == ']') {
            depth -= depth > 0; /* unbalanced: left to the parser to refuse */
        } else if (c == ',') {
            values++;
        }
        if (values > STRICT_JSON_MAX_VALUES)
            return limoe_fail(err, LIMOE_TOO_LARGE, "%s: more than %u values", where, STRICT_JSON_MAX_VALUES);
        s++;
    }
    return LIMOE_OK;
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Recursion is bounded by STRICT_JSON_MAX_DEPTH. */
static enum limoe_status check_keys(const cJSON *value, const char *where, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    const cJSON *child;
    const char **key = NULL;
    size_t n = 0;
    cJSON_ArrayForEach(child, value) {
        n++;
    }
    if (cJSON_IsObject(value) && n > 1) {
        key = malloc(n * sizeof *key);
        if (!key)
            return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %zu keys", where, n);
        n = 0;
        cJSON_ArrayForEach(child, value) {
            key[n++] = child->string;
        }
        qsort(key, n, sizeof *key, compare_keys);
        for (size_t i = 1; i < n; i++) {
            if (strcmp(key[i - 1], key[i]) == 0) {
                char name[STRICT_JSON_DESCRIPTION];
                status = limoe_fail(err, LIMOE_CORRUPT, "%s: the key %s is there twice", where,
                                    strict_json_quote(key[i], name));
                goto out;
            }
        }
    }
    cJSON_ArrayForEach(child, value) {
        if (child->child) {
            status = check_keys(child, where, err);
            if (status != LIMOE_OK)
                goto out;
        }
    }
out:
    free(key);
    return status;
}

enum limoe_status strict_json_parse(const void *text, size_t size, const char *where, cJSON **root,
                                    struct limoe_error *err) {
    enum limoe_status status = scan(text, size, where, err);
    if (status != LIMOE_OK)
        return status;
    cJSON *tree = NULL;
    const char *end = NULL;
    char *copy = malloc(size + 1); /* older releases of cJSON look one byte past the text they are given */
    if (!copy)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %zu bytes", where, size);
    memcpy(copy, text, size);
    copy[size] = '\0';

    tree = cJSON_ParseWithLengthOpts(copy, size + 1, &end, true);
    if (!tree) {
        status = limoe_fail(err, LIMOE_CORRUPT, "%s: not JSON at byte %zu of %zu", where,
                            end ? (size_t)(end - copy) : 0, size);
        goto out;
    }
    if (!cJSON_IsObject(tree)) {
        char found[STRICT_JSON_DESCRIPTION];
        status = limoe_fail(err, LIMOE_CORRUPT, "%s: is %s; an object is accepted", where,
                            strict_json_describe(tree, found));
        goto out;
    }
    status = check_keys(tree, where, err);
    if (status != LIMOE_OK)
        goto out;
    *root = tree;
    tree = NULL;
out:
    cJSON_Delete(tree);
    free(copy);
    return status;
}

bool strict_json_integer(const cJSON *item, int64_t min, int64_t max, int64_t *value) {
    if (!cJSON_IsNumber(item))
        return false;
    double number = item->valuedouble;
    if (!(number >= (double)min && number <= (double)max) || number != floor(number))
        return false;
    *value = (int64_t)number;
    return true;
}

const char *strict_json_quote(const char *string, char to[STRICT_JSON_DESCRIPTION]) {
    enum { LONGEST = STRICT_JSON_DESCRIPTION - 8 };
    size_t length = strlen(string);
    bool cut = length > LONGEST;
    if (cut) {
        /* Not inside a character: step back over its continuation bytes. */
        for (length = LONGEST; length > 0 && ((unsigned char)string[length] & 0xC0) == 0x80; length--) {
        }
    }
    snprintf(to, STRICT_JSON_DESCRIPTION, "\"%.*s%s\"", (int)length, string, cut ? "…" : "");
    for (size_t i = 1; i <= length; i++)
        if ((unsigned char)to[i] < 0x20 || to[i] == 0x7F || to[i] == '"')
            to[i] = '?';
    return to;
}

const char *strict_json_describe(const cJSON *item, char to[STRICT_JSON_DESCRIPTION]) {
    if (cJSON_IsString(item))
        return strict_json_quote(item->valuestring, to);
    if (cJSON_IsNumber(item)) {
        snprintf(to, STRICT_JSON_DESCRIPTION, "%.10g", item->valuedouble);
        return to;
    }
    return !item                 ? "missing"
           : cJSON_IsTrue(item)  ? "true"
           : cJSON_IsFalse(item) ? "false"
           : cJSON_IsNull(item)  ? "null"
           : cJSON_IsArray(item) ? "an array"
                                 : "an object";
}
