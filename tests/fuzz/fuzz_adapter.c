/* fuzz_adapter.c - an adapter's file from anyone: refused with a message, or facts within their bounds, and of a probe
 * scores that are a distribution. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "model/checkpoint/adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int sound) {
    if (!sound)
        __builtin_trap();
}

static void check_probe(const struct limoe_adapter *a) {
    static float embedding[16384], score[ADAPTER_MAX_LABELS];
    const struct limoe_adapter_info *info = limoe_adapter_about(a);
    struct limoe_error err;
    double sum = 0;
    require(info->embed >= 1 && info->embed <= 16384 && info->n_labels >= 1);
    embedding[0] = 1;
    require(limoe_probe_scores(a, embedding, info->embed, NULL, score, &err) == LIMOE_OK);
    for (size_t i = 0; i < info->n_labels; i++) {
        require(score[i] >= 0 && score[i] <= 1);
        sum += score[i];
    }
    require(fabs(sum - 1) < 1e-3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct limoe_adapter *a = NULL;
    struct limoe_error err = {0};
    const enum limoe_status status = adapter_open_memory(data, size, "x", &a, &err);
    if (status != LIMOE_OK) {
        require(!a && err.status == status && strncmp(err.message, "x: ", 3) == 0);
        return 0;
    }
    const struct limoe_adapter_info *info = limoe_adapter_about(a);
    require(strlen(info->base) == 32 && info->strength >= 0 && info->strength <= 1);
    require(info->n_labels <= ADAPTER_MAX_LABELS && info->n_templates <= ADAPTER_MAX_TEMPLATES);
    for (size_t i = 0; i < info->n_labels; i++)
        require(strlen(info->labels[i]) >= 1 && strlen(info->labels[i]) <= ADAPTER_MAX_LABEL_BYTES);
    for (size_t i = 0; i < info->n_templates; i++)
        require(strlen(info->templates[i]) >= 1);
    if (info->kind == LIMOE_ADAPTER_PROBE)
        check_probe(a);
    limoe_adapter_close(a);
    return 0;
}
