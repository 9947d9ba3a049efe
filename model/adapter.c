/* adapter.c - adapters in limoe.h, as far as they need no model: files, and a probe's scores. No state, no threads. */
#include "model/checkpoint/adapter.h"

#include <math.h>

#include "base/error.h"
#include "limoe.h"

const char *limoe_adapter_kind_name(enum limoe_adapter_kind kind) {
    static const char *const names[] = {
        [LIMOE_ADAPTER_PROBE] = "probe", [LIMOE_ADAPTER_TAIL] = "tail", [LIMOE_ADAPTER_LORA] = "lora"};
    return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

enum limoe_status limoe_adapter_open(const char *path, struct limoe_adapter **out, struct limoe_error *err) {
    return adapter_open(path, out, err);
}

void limoe_adapter_close(struct limoe_adapter *adapter) {
    adapter_free(adapter);
}

const struct limoe_adapter_info *limoe_adapter_about(const struct limoe_adapter *adapter) {
    return &adapter->info;
}

/* Summed in double, so that the order of the sum does not show. */
static double logit_of(const struct limoe_adapter *a, const float *embedding, size_t i) {
    const size_t embed = a->info.embed;
    const float *row = a->probe + i * embed;
    double sum = a->probe[a->info.n_labels * embed + i];
    for (size_t k = 0; k < embed; k++)
        sum += (double)row[k] * embedding[k];
    return sum;
}

enum limoe_status limoe_probe_scores(const struct limoe_adapter *a, const float *embedding, uint32_t embed,
                                     float *logit, float *score, struct limoe_error *err) {
    const size_t n = a->info.n_labels;
    double most = -INFINITY, sum = 0;
    if (a->info.kind != LIMOE_ADAPTER_PROBE)
        return limoe_fail(err, LIMOE_INVALID, "the adapter is a %s; a probe has scores of its own",
                          limoe_adapter_kind_name(a->info.kind));
    if (embed != a->info.embed)
        return limoe_fail(err, LIMOE_INVALID, "an embedding of %u numbers; the probe takes %u", embed,
                          a->info.embed);
    for (size_t i = 0; i < n; i++) {
        const double v = logit_of(a, embedding, i);
        most = v > most ? v : most;
        if (logit)
            logit[i] = (float)v;
    }
    for (size_t i = 0; score && i < n; i++)
        sum += exp(logit_of(a, embedding, i) - most);
    for (size_t i = 0; score && i < n; i++)
        score[i] = (float)(exp(logit_of(a, embedding, i) - most) / sum);
    return LIMOE_OK;
}
