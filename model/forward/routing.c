/* routing.c - reads what the gates decided, and adds it up. The workspace owns both copies; no threads. */
#include "model/forward/routing.h"

#include <string.h>

#include "router/capacity.h"
#include "router/plan.h"

enum limoe_status routing_limit(const struct config *config, struct kernels *k, struct workspace *work,
                                size_t layer, size_t rows, struct limoe_error *err) {
    const struct kernels_ops *op = k->ops;
    const size_t assignments = rows * config->moe.top_k, at = layer * assignments;
    const struct capacity capacity = {.factor = config->moe.capacity,
                                      .group = config->moe.group,
                                      .priority = config->moe.priority,
                                      .experts = config->moe.experts,
                                      .top_k = config->moe.top_k,
                                      .renormalize = config->moe.renormalize};
    op->download(k, work->host_expert + at, work->expert + at, assignments * sizeof *work->expert);
    op->download(k, work->host_gate + at, work->gate + at, assignments * sizeof *work->gate);
    enum limoe_status status = capacity_apply(&capacity, rows, work->host_expert + at, work->host_gate + at,
                                              work->host_kept + at, err);
    if (status)
        return status;
    op->upload(k, work->expert + at, work->host_kept + at, assignments * sizeof *work->expert);
    op->upload(k, work->gate + at, work->host_gate + at, assignments * sizeof *work->gate);
    return LIMOE_OK;
}

/* Hands a layer's decisions to the caller: sequences go to their outputs' places. */
static void report_choices(const struct config *config, const struct workspace *work,
                           const struct routing_rows *r, size_t layer, const struct routing_sink *sink) {
    const struct limoe_routing *to = sink->to;
    const size_t top_k = config->moe.top_k, first = layer * pack_rows(r->pack) * top_k;
    for (size_t i = 0; i < r->outputs; i++) {
        const struct step_output *o = &r->output[i];
        const uint32_t *start = r->pack->start + (r->place ? r->place[o->sequence] : o->sequence);
        const size_t from = first + start[0] * top_k, count = (start[1] - start[0]) * top_k;
        const size_t at = (layer * sink->rows + o->row) * top_k;
        if (to->expert)
            memcpy(to->expert + at, work->host_expert + from, count * sizeof *to->expert);
        if (to->gate)
            memcpy(to->gate + at, work->host_gate + from, count * sizeof *to->gate);
    }
}

static void report_load(const struct config *config, const struct workspace *work, const struct pack *p,
                        size_t layer, uint64_t *load) {
    const size_t top_k = config->moe.top_k, experts = config->moe.experts;
    const int32_t *made = config->moe.capacity != 0 ? work->host_kept : work->host_expert;
    made += layer * pack_rows(p) * top_k;
    load += layer * LIMOE_MODALITIES * experts;
    plan_count(made, p->image_rows * top_k, load + LIMOE_IMAGE * experts);
    plan_count(made + p->image_rows * top_k, p->text_rows * top_k, load + LIMOE_TEXT * experts);
}

static double sum_rows(const float *x, size_t rows) {
    double sum = 0;
    for (size_t r = 0; r < rows; r++)
        sum += x[r];
    return sum;
}

/* Adds how undecided the layer's gate was. Rows are summed in their order, so a step's sum has one value. */
static void report_entropy(const struct workspace *work, const struct pack *p, size_t layer,
                           double *entropy) {
    const float *rows = work->host_entropy + layer * pack_rows(p);
    entropy += layer * LIMOE_MODALITIES;
    entropy[LIMOE_IMAGE] += sum_rows(rows, p->image_rows);
    entropy[LIMOE_TEXT] += sum_rows(rows + p->image_rows, p->text_rows);
}

/* Brings over what is asked for of the layers from `first` on. */
static void fetch(const struct config *config, struct kernels *k, struct workspace *work, size_t first,
                  size_t layers, size_t step_rows, const struct limoe_routing *to) {
    const struct kernels_ops *op = k->ops;
    const bool limited = config->moe.capacity != 0; /* then they are there already */
    const size_t from = first * step_rows, rows = layers * step_rows, top_k = config->moe.top_k;
    if (!limited && (to->expert || to->load))
        op->download(k, work->host_expert + from * top_k, work->expert + from * top_k,
                     rows * top_k * sizeof *work->expert);
    if (!limited && to->gate)
        op->download(k, work->host_gate + from * top_k, work->gate + from * top_k,
                     rows * top_k * sizeof *work->gate);
    if (to->entropy)
        op->download(k, work->host_entropy + from, work->entropy + from, rows * sizeof *work->entropy);
}

void routing_report(const struct config *config, struct kernels *k, struct workspace *work,
                    const struct routing_rows *r, const struct routing_sink *sink) {
    const struct limoe_routing *to = sink->to;
    if (!to || !r->layers)
        return;
    fetch(config, k, work, r->first, r->layers, pack_rows(r->pack), to);
    for (size_t layer = r->first; layer < r->first + r->layers; layer++) {
        if (to->expert || to->gate)
            report_choices(config, work, r, layer, sink);
        if (to->load)
            report_load(config, work, r->pack, layer, to->load);
        if (to->entropy)
            report_entropy(work, r->pack, layer, to->entropy);
    }
}

/* No expert, no gate. */
static void report_none(const struct config *config, const struct step *s, size_t layer,
                        const struct routing_sink *sink) {
    const struct limoe_routing *to = sink->to;
    const size_t top_k = config->moe.top_k;
    for (size_t i = 0; i < s->outputs; i++) {
        const struct step_output *o = &s->output[i];
        const uint32_t *start = s->pack.start + o->sequence;
        const size_t at = (layer * sink->rows + o->row) * top_k;
        for (size_t a = 0; a < (start[1] - start[0]) * top_k; a++) {
            if (to->expert)
                to->expert[at + a] = -1;
            if (to->gate)
                to->gate[at + a] = 0;
        }
    }
}

void routing_report_absent(const struct config *config, const struct step *step,
                           const struct routing_sink *sink) {
    const enum limoe_modality modality = step->pack.images ? LIMOE_IMAGE : LIMOE_TEXT;
    const size_t first = config_first_layer(config, modality), passed = config_layers(config, modality);
    for (size_t layer = 0; sink->to && layer < config->moe.layers; layer++)
        if (layer < first || layer >= first + passed)
            report_none(config, step, layer, sink);
}
