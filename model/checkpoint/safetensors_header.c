/* safetensors_header.c - reads the header of a safetensors file.
 *
 * The file: 8 bytes of header length (little-endian), the header (a JSON object, spaces after it), the data.
 * The header maps each tensor's name to {"dtype", "shape", "data_offsets": [begin, end)}, offsets counted
 * from the start of the data. Tensors must tile the data exactly: an overlap would let one name read
 * another's weights, a hole or a tail would carry bytes that no one checks. */
#include "model/checkpoint/safetensors_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/strict_json.h"

#define MAX_HEADER  100000000u /* the format's own limit */
#define MAX_TENSORS 1000000u
#define MAX_NAME    512u
#define MAX_OFFSET  (INT64_C(1) << 53) /* JSON's numbers are exact up to here */

static const struct dtype {
    const char *name;
    enum tensor_dtype dtype;
    unsigned bits;
} dtypes[] = {
    {"F32", TENSOR_F32, 32},      {"BF16", TENSOR_BF16, 16},    {"F16", TENSOR_F16, 16},
    {"F64", TENSOR_OTHER, 64},    {"C64", TENSOR_OTHER, 64},    {"I64", TENSOR_OTHER, 64},
    {"U64", TENSOR_OTHER, 64},    {"I32", TENSOR_OTHER, 32},    {"U32", TENSOR_OTHER, 32},
    {"I16", TENSOR_OTHER, 16},    {"U16", TENSOR_OTHER, 16},    {"I8", TENSOR_I8, 8},
    {"U8", TENSOR_OTHER, 8},      {"BOOL", TENSOR_OTHER, 8},    {"F8_E5M2", TENSOR_OTHER, 8},
    {"F8_E4M3", TENSOR_OTHER, 8}, {"F8_E8M0", TENSOR_OTHER, 8}, {"F6_E2M3", TENSOR_OTHER, 6},
    {"F6_E3M2", TENSOR_OTHER, 6}, {"F4", TENSOR_OTHER, 4},
};

/* What the steps of reading one tensor need to know. */
struct file {
    uint64_t data, data_size; /* where the data begins in the file */
    uint32_t index;
    const char *where;
    struct limoe_error *err;
};

/* NULL: not one of the format's. */
static const struct dtype *find_dtype(const cJSON *item) {
    for (size_t i = 0; cJSON_IsString(item) && i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(item->valuestring, dtypes[i].name) == 0)
            return &dtypes[i];
    return NULL;
}

static enum limoe_status read_shape(const struct file *f, const char *name, const cJSON *item,
                                    struct tensor *tensor) {
    char found[STRICT_JSON_DESCRIPTION];
    if (!cJSON_IsArray(item)) {
        return limoe_fail(f->err, LIMOE_CORRUPT, "%s: tensor %s: \"shape\" is %s; an array is accepted",
                          f->where, name, strict_json_describe(item, found));
    }
    int rank = cJSON_GetArraySize(item);
    if (rank > TENSOR_MAX_RANK) {
        return limoe_fail(f->err, LIMOE_CORRUPT,
                          "%s: tensor %s: \"shape\" has %d dimensions; at most %d are accepted", f->where,
                          name, rank, TENSOR_MAX_RANK);
    }
    tensor->elements = 1;
    const cJSON *dim;
    cJSON_ArrayForEach(dim, item) {
        int64_t n = 0;
        if (!strict_json_integer(dim, 0, MAX_OFFSET, &n)) {
            return limoe_fail(
                f->err, LIMOE_CORRUPT,
                "%s: tensor %s: \"shape\" has the dimension %s; an integer from 0 to 2^53 is accepted",
                f->where, name, strict_json_describe(dim, found));
        }
        tensor->shape[tensor->rank++] = (uint64_t)n;
        if (__builtin_mul_overflow(tensor->elements, (uint64_t)n, &tensor->elements)) {
            return limoe_fail(f->err, LIMOE_CORRUPT,
                              "%s: tensor %s: the product of \"shape\" exceeds 64 bits", f->where, name);
        }
    }
    return LIMOE_OK;
}

static enum limoe_status read_offsets(const struct file *f, const char *name, const cJSON *item,
                                      struct tensor *tensor) {
    int64_t begin = 0, end = 0;
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2 ||
        !strict_json_integer(item->child, 0, MAX_OFFSET, &begin) ||
        !strict_json_integer(item->child->next, 0, MAX_OFFSET, &end)) {
        return limoe_fail(f->err, LIMOE_CORRUPT,
                          "%s: tensor %s: \"data_offsets\" is not two integers from 0 to 2^53 in an array",
                          f->where, name);
    }
    if (begin > end || (uint64_t)end > f->data_size) {
        return limoe_fail(
            f->err, LIMOE_CORRUPT,
            "%s: tensor %s: \"data_offsets\" is [%lld, %lld]; ascending offsets up to %llu, the size of "
            "the data, are accepted",
            f->where, name, (long long)begin, (long long)end, (unsigned long long)f->data_size);
    }
    tensor->file = f->index;
    tensor->offset = f->data + (uint64_t)begin;
    tensor->bytes = (size_t)(end - begin);
    return LIMOE_OK;
}

static enum limoe_status read_tensor(const struct file *f, const cJSON *item, struct tensor *tensor) {
    char name[STRICT_JSON_DESCRIPTION], found[STRICT_JSON_DESCRIPTION];
    strict_json_quote(item->string, name);
    size_t length = strlen(item->string);
    if (length == 0 || length > MAX_NAME) {
        return limoe_fail(f->err, LIMOE_CORRUPT, "%s: tensor %s: the name is %zu bytes; 1 to %u are accepted",
                          f->where, name, length, MAX_NAME);
    }
    const cJSON *dtype_item = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    if (!cJSON_IsObject(item) || !dtype_item || !shape || !offsets || cJSON_GetArraySize(item) != 3) {
        return limoe_fail(f->err, LIMOE_CORRUPT,
                          "%s: tensor %s is %s without exactly \"dtype\", \"shape\" and \"data_offsets\"",
                          f->where, name, strict_json_describe(item, found));
    }
    const struct dtype *dtype = find_dtype(dtype_item);
    if (!dtype) {
        return limoe_fail(f->err, LIMOE_CORRUPT,
                          "%s: tensor %s: \"dtype\" is %s, which is not one of the format's", f->where, name,
                          strict_json_describe(dtype_item, found));
    }
    enum limoe_status status = read_shape(f, name, shape, tensor);
    if (status == LIMOE_OK)
        status = read_offsets(f, name, offsets, tensor);
    if (status != LIMOE_OK)
        return status;
    tensor->dtype = dtype->dtype;
    tensor->dtype_name = dtype->name;
    uint64_t bits = 0;
    if (__builtin_mul_overflow(tensor->elements, (uint64_t)dtype->bits, &bits) || bits % 8 != 0 ||
        bits / 8 != tensor->bytes) {
        return limoe_fail(
            f->err, LIMOE_CORRUPT,
            "%s: tensor %s: \"data_offsets\" spans %zu bytes, but %llu elements of %s are %u bits each",
            f->where, name, tensor->bytes, (unsigned long long)tensor->elements, dtype->name, dtype->bits);
    }
    tensor->name = strdup(item->string);
    if (!tensor->name)
        return limoe_fail(f->err, LIMOE_NO_MEMORY, "%s: no memory for the name of tensor %s", f->where, name);
    return LIMOE_OK;
}

static enum limoe_status check_metadata(const struct file *f, const cJSON *metadata) {
    const cJSON *entry;
    bool strings = cJSON_IsObject(metadata);
    cJSON_ArrayForEach(entry, metadata) {
        strings = strings && cJSON_IsString(entry);
    }
    if (!strings) {
        return limoe_fail(f->err, LIMOE_CORRUPT, "%s: \"__metadata__\" is not an object of strings",
                          f->where);
    }
    return LIMOE_OK;
}

/* By place in the file; an empty tensor before the one that begins where it does. */
static int compare_offsets(const void *a, const void *b) {
    const struct tensor *s = a, *t = b;
    if (s->offset != t->offset)
        return s->offset < t->offset ? -1 : 1;
    return s->bytes < t->bytes ? -1 : s->bytes > t->bytes;
}

static enum limoe_status check_tiling(const struct file *f, struct tensor *tensor, size_t count) {
    uint64_t expected = f->data;
    char name[STRICT_JSON_DESCRIPTION];
    qsort(tensor, count, sizeof *tensor, compare_offsets);
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = tensor[i].offset;
        if (begin != expected) {
            return limoe_fail(
                f->err, LIMOE_CORRUPT,
                "%s: tensor %s begins at byte %llu of the data, but the tensors before it end at byte "
                "%llu: %s",
                f->where, strict_json_quote(tensor[i].name, name), (unsigned long long)(begin - f->data),
                (unsigned long long)(expected - f->data),
                begin < expected ? "they overlap" : "there is a hole");
        }
        expected = begin + tensor[i].bytes;
    }
    uint64_t covered = expected - f->data;
    if (covered != f->data_size) {
        return limoe_fail(f->err, LIMOE_CORRUPT,
                          "%s: the tensors end at byte %llu of the data, which has %llu bytes", f->where,
                          (unsigned long long)covered, (unsigned long long)f->data_size);
    }
    return LIMOE_OK;
}

static enum limoe_status reserve(struct tensor_list *list, size_t more, const struct file *f) {
    size_t need = list->count + more;
    if (need > MAX_TENSORS)
        return limoe_fail(f->err, LIMOE_TOO_LARGE, "%s: more than %u tensors", f->where, MAX_TENSORS);
    if (need > list->room || !list->item) { /* an array even for no tensors */
        struct tensor *item = realloc(list->item, (need + 1) * sizeof *item);
        if (!item)
            return limoe_fail(f->err, LIMOE_NO_MEMORY, "%s: no memory for %zu tensors", f->where, need);
        list->item = item;
        list->room = need;
    }
    return LIMOE_OK;
}

enum limoe_status safetensors_header_length(const struct safetensors_source *source, const uint8_t *prefix,
                                            size_t *length, struct limoe_error *err) {
    uint64_t n = 0;
    if (source->size < SAFETENSORS_PREFIX)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: is %llu bytes; the header's length alone takes %d",
                          source->where, (unsigned long long)source->size, SAFETENSORS_PREFIX);
    for (size_t i = 0; i < SAFETENSORS_PREFIX; i++)
        n |= (uint64_t)prefix[i] << (8 * i);
    if (n > MAX_HEADER)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: the header's length is %llu; at most %u is accepted",
                          source->where, (unsigned long long)n, MAX_HEADER);
    if (n > source->size - SAFETENSORS_PREFIX)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: the header's length is %llu, but only %llu bytes follow",
                          source->where, (unsigned long long)n,
                          (unsigned long long)(source->size - SAFETENSORS_PREFIX));
    *length = (size_t)n;
    return LIMOE_OK;
}

enum limoe_status safetensors_read_header(const struct safetensors_source *source, const uint8_t *header,
                                          size_t length, struct tensor_list *list, struct limoe_error *err) {
    struct file f = {.data = SAFETENSORS_PREFIX + length,
                     .data_size = source->size - SAFETENSORS_PREFIX - length,
                     .index = source->file,
                     .where = source->where,
                     .err = err};
    size_t first = list->count;
    cJSON *root = NULL;
    if (length == 0 || header[0] != '{')
        return limoe_fail(err, LIMOE_CORRUPT, "%s: the header does not begin with '{'", f.where);
    enum limoe_status status = strict_json_parse(header, length, f.where, &root, err);
    if (status != LIMOE_OK)
        return status;
    status = reserve(list, (size_t)cJSON_GetArraySize(root), &f);
    if (status != LIMOE_OK)
        goto out;
    cJSON *item, *metadata = NULL;
    cJSON_ArrayForEach(item, root) {
        if (strcmp(item->string, "__metadata__") == 0) {
            status = check_metadata(&f, item);
            metadata = item;
        } else {
            struct tensor tensor = {0};
            status = read_tensor(&f, item, &tensor);
            if (status == LIMOE_OK)
                list->item[list->count++] = tensor;
        }
        if (status != LIMOE_OK)
            goto out;
    }
    status = check_tiling(&f, list->item + first, list->count - first);
    cJSON_Delete(list->metadata);
    list->metadata = metadata ? cJSON_DetachItemViaPointer(root, metadata) : NULL;
out:
    cJSON_Delete(root);
    return status;
}

void tensor_list_free(struct tensor_list *list) {
    for (size_t i = 0; i < list->count; i++)
        free((void *)list->item[i].name); /* const to whom it is handed out */
    free(list->item);
    cJSON_Delete(list->metadata);
    *list = (struct tensor_list){0};
}
