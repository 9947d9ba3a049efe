/* adapter.c - reads an adapter's file. The caller owns the adapter, which nothing changes once it is open; no threads. */
#include "model/checkpoint/adapter.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/fields.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/fingerprint.h"
#include "model/checkpoint/peft.h"
#include "model/checkpoint/strict_json.h"

enum { BASE_DIGITS = 2 * FINGERPRINT_DIGITS };

/* ---- what the file says of itself */

static bool is_base(const cJSON *item) {
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    return strlen(text) == BASE_DIGITS && strspn(text, "0123456789abcdef") == BASE_DIGITS;
}

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted copies of the labels: one that stands twice would be taught and scored as two. */
static void check_distinct(const struct fields *f, const char *key, const char *const *list, size_t n) {
    char name[STRICT_JSON_DESCRIPTION];
    const char **sorted = calloc(n + 1, sizeof *sorted);
    if (!sorted) {
        fields_fail(f, LIMOE_NO_MEMORY, "no memory for %zu labels", n);
        return;
    }
    if (n > 0)
        memcpy(sorted, list, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_strings);
    for (size_t i = 1; i < n; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            fields_fail(f, LIMOE_CORRUPT, "\"%s\" has %s twice; each once is accepted", key,
                        strict_json_quote(sorted[i], name));
    free(sorted);
}

/* A list of strings, NULL where it fails; absent: an empty one. */
static const char **read_list(const struct fields *f, const char *key, uint32_t most, size_t *count) {
    const cJSON *list = fields_find(f, key), *item;
    char found[STRICT_JSON_DESCRIPTION];
    *count = 0;
    if (list && !cJSON_IsArray(list)) {
        fields_refuse(f, LIMOE_CORRUPT, key, list, "an array");
        return NULL;
    }
    const int n = cJSON_GetArraySize(list);
    if (n > (int)most) {
        fields_fail(f, LIMOE_TOO_LARGE, "\"%s\" has %d elements; at most %u are accepted", key, n, most);
        return NULL;
    }
    const char **strings = calloc((size_t)n + 1, sizeof *strings);
    if (!strings) {
        fields_fail(f, LIMOE_NO_MEMORY, "no memory for \"%s\"", key);
        return NULL;
    }
    cJSON_ArrayForEach(item, list) {
        const size_t length = cJSON_IsString(item) ? strlen(item->valuestring) : 0;
        if (length == 0 || length > ADAPTER_MAX_LABEL_BYTES) {
            fields_fail(f, LIMOE_CORRUPT, "\"%s\"[%zu] is %s; a string of 1 to %u bytes is accepted", key,
                        *count, strict_json_describe(item, found), ADAPTER_MAX_LABEL_BYTES);
            free(strings);
            *count = 0;
            return NULL;
        }
        strings[(*count)++] = item->valuestring;
    }
    return strings;
}

static void read_about(const struct fields *f, struct limoe_adapter_info *info) {
    static const char *const known[] = {"format",   "kind",     "base",  "start_block", "labels", "templates",
                                        "strength", "training", "alpha", "rank",        "rslora", NULL};
    static const char *const formats[] = {ADAPTER_FORMAT, NULL};
    static const char *const kinds[] = {"probe", "tail", "lora", NULL};
    fields_word(f, "format", formats, 0);
    if (!fields_find(f, "format"))
        fields_refuse(f, LIMOE_CORRUPT, "format", NULL, "\"" ADAPTER_FORMAT "\"");
    fields_known(f, known);
    if (!fields_find(f, "kind"))
        fields_refuse(f, LIMOE_CORRUPT, "kind", NULL, "\"probe\", \"tail\" or \"lora\"");
    info->kind = (enum limoe_adapter_kind)fields_word(f, "kind", kinds, 0);
    const cJSON *base = fields_find(f, "base");
    if (is_base(base))
        info->base = base->valuestring;
    else
        fields_refuse(f, LIMOE_CORRUPT, "base", base, "a string of 32 hexadecimal digits");
    if (info->kind == LIMOE_ADAPTER_TAIL)
        info->start_block = fields_integer_needed(f, "start_block", 0, CONFIG_MAX_BLOCKS);
    if (info->kind == LIMOE_ADAPTER_LORA) {
        info->rank = fields_integer_needed(f, "rank", 1, CONFIG_MAX_WIDTH);
        info->alpha = (float)fields_number(f, "alpha", 0, 1e6, info->rank);
        info->rslora = fields_bool(f, "rslora", false);
    }
    info->strength = (float)fields_number(f, "strength", 0, 1, 1);
    info->labels = read_list(f, "labels", ADAPTER_MAX_LABELS, &info->n_labels);
    info->templates = read_list(f, "templates", ADAPTER_MAX_TEMPLATES, &info->n_templates);
    if (info->labels)
        check_distinct(f, "labels", info->labels, info->n_labels);
    const cJSON *training = fields_find(f, "training");
    if (training && !cJSON_IsObject(training))
        fields_refuse(f, LIMOE_CORRUPT, "training", training, "an object");
    info->training = training ? cJSON_PrintUnformatted(training) : NULL;
    if (training && !info->training)
        fields_fail(f, LIMOE_NO_MEMORY, "no memory for \"training\"");
}

static enum limoe_status read_metadata(struct limoe_adapter *a, struct limoe_error *err) {
    const char *text = safetensors_metadata(a->st, ADAPTER_KEY), *name = safetensors_name(a->st);
    char where[128];
    if (!text)
        return limoe_fail(err, LIMOE_CORRUPT,
                          "%s: no \"" ADAPTER_KEY "\" in its metadata; a file of format \"" ADAPTER_FORMAT
                          "\" is accepted",
                          name);
    if (strlen(text) > ADAPTER_MAX_TEXT)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "%s: \"" ADAPTER_KEY "\" is %zu bytes; at most %u are accepted", name, strlen(text),
                          ADAPTER_MAX_TEXT);
    snprintf(where, sizeof where, "%s: \"" ADAPTER_KEY "\"", name);
    enum limoe_status status = strict_json_parse(text, strlen(text), where, &a->about, err);
    if (status)
        return status;
    struct fields_report report = {.where = where, .err = err, .strict = true};
    const struct fields about = {.report = &report, .object = a->about, .prefix = ""};
    read_about(&about, &a->info);
    a->prefix = "";
    a->scale = adapter_scale(&a->info);
    return report.status;
}

double adapter_scale(const struct limoe_adapter_info *info) {
    const double rank = info->rslora ? sqrt(info->rank) : (double)info->rank;
    return info->rank ? (double)info->alpha / rank : 0;
}

enum limoe_status adapter_check_base(const struct limoe_adapter *a, const char *name, const char *base,
                                     struct limoe_error *err) {
    if (!*a->info.base || strcmp(a->info.base, base) == 0)
        return LIMOE_OK;
    return limoe_fail(
        err, LIMOE_INVALID,
        "%s: \"base\" is %s, another model's; \"%s\" is %s (the first 16 digits are of config and "
        "tokenizer, the others of weights)",
        safetensors_name(a->st), a->info.base, name, base);
}

/* ---- a probe */

enum limoe_status adapter_check_finite(const struct safetensors *st, const char *name, const float *value,
                                       size_t n, struct limoe_error *err) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(value[i]))
            return limoe_fail(err, LIMOE_CORRUPT,
                              "%s: tensor \"%s\": element %zu is %g; finite numbers are accepted",
                              safetensors_name(st), name, i, (double)value[i]);
    return LIMOE_OK;
}

/* float32 or bfloat16, to to[t->elements]. */
static enum limoe_status read_floats(const struct safetensors *st, const struct tensor *t, float *to,
                                     struct limoe_error *err) {
    enum limoe_status status = safetensors_read(st, t, to, err);
    if (status)
        return status;
    for (size_t i = t->dtype == TENSOR_BF16 ? t->elements : 0;
         i-- > 0;) { /* from the end: they grow in place */
        uint16_t half;
        memcpy(&half, (const char *)to + 2 * i, sizeof half);
        const uint32_t bits = (uint32_t)half << 16;
        memcpy(&to[i], &bits, sizeof bits);
    }
    return adapter_check_finite(st, t->name, to, t->elements, err);
}

static enum limoe_status find_probe(const struct limoe_adapter *a, const struct tensor **weight,
                                    const struct tensor **bias, struct limoe_error *err) {
    const char *name = safetensors_name(a->st);
    *weight = safetensors_find(a->st, "probe.weight");
    *bias = safetensors_find(a->st, "probe.bias");
    if (!*weight || !*bias || safetensors_count(a->st) != 2)
        return limoe_fail(
            err, LIMOE_CORRUPT,
            "%s: a probe has %zu tensors; exactly \"probe.weight\" and \"probe.bias\" are accepted", name,
            safetensors_count(a->st));
    const struct tensor *w = *weight;
    const uint64_t embed = w->rank == 2 ? w->shape[1] : 0, classes = a->info.n_labels;
    enum limoe_status status;
    if (classes == 0)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"labels\" is empty; a probe has a label for each class",
                          name);
    if (embed == 0 || embed > CONFIG_MAX_EMBED)
        return limoe_fail(
            err, LIMOE_CORRUPT,
            "%s: tensor \"probe.weight\" has %u dimensions and rows of %llu; [classes, embed] with "
            "rows of 1 to %u is accepted",
            name, w->rank, (unsigned long long)embed, CONFIG_MAX_EMBED);
    if ((status = safetensors_expect(a->st, "probe.weight", 2, (uint64_t[]){classes, embed}, weight, err)))
        return status;
    return safetensors_expect(a->st, "probe.bias", 1, &classes, bias, err);
}

/* A LoRA may be float16, as libraries save it. */
static enum limoe_status check_dtypes(const struct limoe_adapter *a, struct limoe_error *err) {
    const bool lora = a->info.kind == LIMOE_ADAPTER_LORA;
    for (size_t i = 0; i < safetensors_count(a->st); i++) {
        const struct tensor *t = safetensors_at(a->st, i);
        if (t->dtype != TENSOR_F32 && t->dtype != TENSOR_BF16 && !(lora && t->dtype == TENSOR_F16))
            return limoe_fail(err, LIMOE_UNSUPPORTED,
                              "%s: tensor \"%.100s\" is %s; F32%s or BF16 is accepted",
                              safetensors_name(a->st), t->name, t->dtype_name, lora ? ", F16" : "");
    }
    return LIMOE_OK;
}

static enum limoe_status read_probe(struct limoe_adapter *a, struct limoe_error *err) {
    const struct tensor *weight, *bias;
    enum limoe_status status = find_probe(a, &weight, &bias, err);
    if (status)
        return status;
    a->probe = malloc((weight->elements + bias->elements) * sizeof *a->probe);
    if (!a->probe)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for a probe of %zu classes",
                          safetensors_name(a->st), a->info.n_labels);
    a->info.embed = (uint32_t)weight->shape[1];
    status = read_floats(a->st, weight, a->probe, err);
    return status ? status : read_floats(a->st, bias, a->probe + weight->elements, err);
}

/* ---- the whole */

/* folder: PEFT's, NULL: the file says all itself. */
static enum limoe_status finish(struct limoe_adapter *a, const char *folder, struct limoe_error *err) {
    enum limoe_status status = folder ? peft_read(folder, a, err) : read_metadata(a, err);
    if (status || (status = check_dtypes(a, err)))
        return status;
    for (size_t i = 0; i < safetensors_count(a->st); i++) {
        a->info.parameters += safetensors_at(a->st, i)->elements;
        a->info.bytes += safetensors_at(a->st, i)->bytes;
    }
    a->info.tensors = safetensors_count(a->st);
    if (a->info.tensors == 0)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: there are no tensors in it", safetensors_name(a->st));
    return a->info.kind == LIMOE_ADAPTER_PROBE ? read_probe(a, err) : LIMOE_OK;
}

/* Takes over st. */
static enum limoe_status create(struct safetensors *st, const char *folder, struct limoe_adapter **out,
                                struct limoe_error *err) {
    struct limoe_adapter *a = calloc(1, sizeof *a);
    if (!a) {
        safetensors_close(st);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an adapter");
    }
    a->st = st;
    enum limoe_status status = finish(a, folder, err);
    if (status)
        adapter_free(a);
    else
        *out = a;
    return status;
}

enum limoe_status adapter_open(const char *path, struct limoe_adapter **out, struct limoe_error *err) {
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX] = ".";
    struct limoe_error own;
    struct safetensors *st;
    *out = NULL;
    err = err ? err : &own;
    if (file_exists(path, PEFT_CONFIG)) {
        enum limoe_status found = safetensors_open_file(path, PEFT_WEIGHTS, &st, err);
        return found ? found : create(st, path, out, err);
    }
    if (slash && snprintf(dir, sizeof dir, "%.*s/", (int)(slash - path), path) >= (int)sizeof dir)
        return limoe_fail(err, LIMOE_INVALID, "a path of %zu bytes; less than %d are accepted", strlen(path),
                          PATH_MAX);
    enum limoe_status status = safetensors_open_file(dir, slash ? slash + 1 : path, &st, err);
    return status ? status : create(st, NULL, out, err);
}

enum limoe_status adapter_open_memory(const void *bytes, size_t size, const char *where,
                                      struct limoe_adapter **out, struct limoe_error *err) {
    struct safetensors *st;
    *out = NULL;
    enum limoe_status status = safetensors_open_memory(bytes, size, where, &st, err);
    return status ? status : create(st, NULL, out, err);
}

void adapter_free(struct limoe_adapter *a) {
    if (!a)
        return;
    free(a->probe);
    cJSON_free((void *)a->info.training); /* const to whom they are handed out */
    free((void *)a->info.templates);
    free((void *)a->info.labels);
    cJSON_Delete(a->about);
    safetensors_close(a->st);
    free(a);
}
