/* lora.c - finds the two, and multiplies them out. No state, no threads. */
#include "model/forward/lora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/number.h"

static const char ending[] = ".weight";

static enum limoe_status expect(const struct limoe_adapter *a, const char *name, uint64_t rows,
                                uint64_t columns, const struct tensor **out, struct limoe_error *err) {
    return safetensors_expect(a->st, name, 2, (uint64_t[]){rows, columns}, out, err);
}

enum limoe_status lora_find(const struct limoe_adapter *a, const struct tensor *matrix, struct lora *out,
                            struct limoe_error *err) {
    const size_t length = strlen(matrix->name), end = sizeof ending - 1;
    char down[600], up[600];
    enum limoe_status status;
    *out = (struct lora){0};
    if (matrix->rank != 2 || length <= end || strcmp(matrix->name + length - end, ending) != 0)
        return LIMOE_OK;
    snprintf(down, sizeof down, "%s%.*s.lora_A.weight", a->prefix, (int)(length - end), matrix->name);
    snprintf(up, sizeof up, "%s%.*s.lora_B.weight", a->prefix, (int)(length - end), matrix->name);
    if (!safetensors_find(a->st, down) && !safetensors_find(a->st, up))
        return LIMOE_OK;
    if ((status = expect(a, down, a->info.rank, matrix->shape[1], &out->a, err)))
        return status;
    return expect(a, up, matrix->shape[0], a->info.rank, &out->b, err);
}

/* All of a tensor, malloc'd; NULL: it fails. */
static float *read_floats(const struct limoe_adapter *a, const struct tensor *t, enum limoe_status *status,
                          struct limoe_error *err) {
    static const enum kernels_storage storage[] = {
        [TENSOR_F32] = KERNELS_F32, [TENSOR_BF16] = KERNELS_BF16, [TENSOR_F16] = KERNELS_F16};
    void *raw = malloc(t->bytes + 1);
    float *floats = malloc(t->elements * sizeof *floats + 1);
    if (!raw || !floats) {
        free(raw);
        free(floats);
        *status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for tensor \"%.100s\"", t->name);
        return NULL;
    }
    *status = safetensors_read(a->st, t, raw, err);
    if (!*status) {
        tensor_read((struct kernels_tensor){raw, storage[t->dtype]}, 0, t->elements, floats);
        *status = adapter_check_finite(a->st, t->name, floats, t->elements, err);
    }
    free(raw);
    if (*status) {
        free(floats);
        return NULL;
    }
    return floats;
}

enum limoe_status lora_add(const struct limoe_adapter *adapter, const struct lora *lora, uint64_t first,
                           size_t n, const float *value, float *out, struct limoe_error *err) {
    const size_t rank = adapter->info.rank, in = lora->a->shape[1];
    enum limoe_status status;
    float *b = NULL, *a = read_floats(adapter, lora->a, &status, err);
    if (!status)
        b = read_floats(adapter, lora->b, &status, err);
    for (size_t i = 0; a && b && i < n; i++) {
        const float *row = b + (first + i) / in * rank, *column = a + (first + i) % in;
        double sum = 0;
        for (size_t r = 0; r < rank; r++)
            sum += (double)row[r] * column[r * in];
        out[i] = (float)(value[i] + adapter->scale * sum);
    }
    free(b);
    free(a);
    return status;
}
