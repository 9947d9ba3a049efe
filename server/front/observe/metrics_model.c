/* metrics_model.c - the experts' counters, and their part of the page.
 *
 * A reload serves another model while requests of the last one still run, so each model has counters of its
 * own, from when it is first opened until it is closed as often. They form a list, the newest first, which
 * the lock guards: it is taken to open, to close and to write the page. Who counts holds what was opened for
 * it, and takes no lock.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/front/observe/metrics_parts.h"

const char *const metrics_modalities[LIMOE_MODALITIES] = {[LIMOE_IMAGE] = "image", [LIMOE_TEXT] = "text"};

/* Of max/mean, 1 when all experts take the same and `experts` when one takes all. */
static const uint64_t thousandths[] = {1000, 1100, 1250, 1500, 1750,  2000,  2500,
                                       3000, 4000, 6000, 8000, 12000, 16000, 32000};
static const struct histogram_shape histogram_imbalance = {thousandths,
                                                           sizeof thousandths / sizeof *thousandths, 1000};

/* ---- life */

static void model_free(struct metrics_model *model) {
    if (!model)
        return;
    free(model->name);
    free(model->blocks);
    free(model->tokens);
    free(model->imbalance);
    for (int i = 0; i < METRICS_EXCHANGES; i++)
        free(model->exchange[i]);
    free(model->entropy);
    free(model);
}

void metrics_models_free(struct metrics_model *newest) {
    while (newest) {
        struct metrics_model *older = newest->older;
        model_free(newest);
        newest = older;
    }
}

static struct metrics_model *model_new(const struct limoe_info *info) {
    const size_t layers = info->moe_layers, routes = layers * LIMOE_MODALITIES;
    struct metrics_model *model = calloc(1, sizeof *model);
    if (!model)
        return NULL;
    model->layers = info->moe_layers;
    model->experts = info->experts;
    model->name = strdup(info->name);
    model->blocks = calloc(layers + 1, sizeof *model->blocks); /* + 1: a dense model has no layers */
    model->tokens = calloc(routes * info->experts + 1, sizeof *model->tokens);
    model->imbalance = calloc(layers + 1, sizeof *model->imbalance);
    model->entropy = calloc(routes + 1, sizeof *model->entropy);
    bool exchanges = true;
    for (int i = 0; i < METRICS_EXCHANGES; i++) {
        model->exchange[i] = calloc(layers + 1, sizeof *model->exchange[i]);
        exchanges = exchanges && model->exchange[i];
    }
    if (!exchanges || !model->name || !model->blocks || !model->tokens || !model->imbalance ||
        !model->entropy) {
        model_free(model);
        return NULL;
    }
    if (layers)
        memcpy(model->blocks, info->moe_blocks, layers * sizeof *model->blocks);
    return model;
}

static bool same_shape(const struct metrics_model *model, const struct limoe_info *info) {
    return model->layers == info->moe_layers && model->experts == info->experts &&
           (!model->layers ||
            memcmp(model->blocks, info->moe_blocks, model->layers * sizeof *model->blocks) == 0);
}

/* The newest of a name, from `model` on. */
static struct metrics_model *named(struct metrics_model *model, const char *name) {
    while (model && strcmp(model->name, name) != 0)
        model = model->older;
    return model;
}

struct metrics_model *metrics_open_model(struct metrics *metrics, const struct limoe_info *info) {
    pthread_mutex_lock(&metrics->models_lock);
    struct metrics_model *model = named(metrics->models, info->name);
    if (!model || !same_shape(model, info)) {
        model = model_new(info);
        if (model) {
            model->older = metrics->models;
            metrics->models = model;
        }
    }
    if (model)
        model->opened++;
    pthread_mutex_unlock(&metrics->models_lock);
    return model;
}

void metrics_close_model(struct metrics *metrics, struct metrics_model *model) {
    if (!model)
        return;
    pthread_mutex_lock(&metrics->models_lock);
    const bool last = --model->opened == 0;
    if (last) {
        struct metrics_model **at = &metrics->models;
        while (*at != model)
            at = &(*at)->older;
        *at = model->older;
    }
    pthread_mutex_unlock(&metrics->models_lock);
    if (last)
        model_free(model);
}

/* ---- counting */

/* Counts max/mean of the layer's assignments over its experts, whatever their modality. */
static void count_imbalance(struct metrics_model *model, uint32_t layer, const uint64_t *load) {
    uint64_t most = 0, total = 0;
    for (uint32_t expert = 0; expert < model->experts; expert++) {
        uint64_t taken = 0;
        for (int m = 0; m < LIMOE_MODALITIES; m++)
            taken += load[(size_t)m * model->experts + expert];
        most = taken > most ? taken : most;
        total += taken;
    }
    if (total > 0)
        histogram_count(&model->imbalance[layer], &histogram_imbalance, most * model->experts * 1000 / total);
}

/* Counts max/mean of the ranks' tokens. */
static void count_ranks(struct metrics_model *model, const struct metrics_routing *routing) {
    uint64_t most = 0, total = 0;
    for (uint32_t r = 0; r < routing->ranks; r++) {
        most = routing->rank_tokens[r] > most ? routing->rank_tokens[r] : most;
        total += routing->rank_tokens[r];
    }
    if (total > 0)
        histogram_count(&model->rank_imbalance, &histogram_imbalance, most * routing->ranks * 1000 / total);
}

static void count_exchange(struct metrics_model *model, const struct metrics_routing *routing) {
    const uint64_t *const from[METRICS_EXCHANGES] = {[METRICS_EXCHANGE_ROWS] = routing->rows_sent,
                                                     [METRICS_EXCHANGE_BYTES] = routing->bytes_sent,
                                                     [METRICS_EXCHANGE_NS] = routing->exchange_ns};
    for (int i = 0; i < METRICS_EXCHANGES; i++)
        for (uint32_t layer = 0; from[i] && layer < model->layers; layer++)
            counter_add(&model->exchange[i][layer], from[i][layer]);
}

static void add_double(_Atomic double *sum, double more) {
    double was = atomic_load_explicit(sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(sum, &was, was + more, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void metrics_count_routing(struct metrics_model *model, const struct metrics_routing *routing) {
    if (!model)
        return;
    const size_t per_layer = (size_t)LIMOE_MODALITIES * model->experts;
    for (size_t i = 0; i < model->layers * per_layer; i++)
        if (routing->load[i])
            counter_add(&model->tokens[i], routing->load[i]);
    for (uint32_t layer = 0; layer < model->layers; layer++)
        count_imbalance(model, layer, routing->load + layer * per_layer);
    count_exchange(model, routing);
    if (routing->rank_tokens)
        count_ranks(model, routing);
    if (!routing->entropy)
        return;
    for (size_t i = 0; i < (size_t)model->layers * LIMOE_MODALITIES; i++) {
        struct metrics_entropy *entropy = &model->entropy[i];
        add_double(&entropy->sum, routing->entropy[i]);
        counter_add(&entropy->count, routing->tokens[i % LIMOE_MODALITIES]);
    }
}

/* ---- measured load */

static void write_load(struct metrics_model *model, struct buffer *out) {
    const size_t per_layer = (size_t)LIMOE_MODALITIES * model->experts;
    for (uint32_t layer = 0; layer < model->layers; layer++) {
        for (uint32_t expert = 0; expert < model->experts; expert++) {
            unsigned long long taken = 0;
            for (int m = 0; m < LIMOE_MODALITIES; m++)
                taken += counter_get(&model->tokens[layer * per_layer + (size_t)m * model->experts + expert]);
            buffer_print(out, "%s%llu", expert ? "," : layer ? ",[" : "[", taken);
        }
        buffer_string(out, "]");
    }
}

void metrics_write_load(struct metrics *metrics, const char *model, struct buffer *out) {
    buffer_string(out, "{\"format\":\"limoe-load-1\",\"load\":[");
    pthread_mutex_lock(&metrics->models_lock);
    struct metrics_model *found = named(metrics->models, model);
    if (found)
        write_load(found, out);
    pthread_mutex_unlock(&metrics->models_lock);
    buffer_string(out, "]}");
}

/* ---- the page */

/* model="…",layer="…" */
static void write_layer(const struct metrics_model *model, uint32_t layer, struct buffer *out) {
    buffer_string(out, "model=\"");
    metrics_label(out, model->name);
    buffer_print(out, "\",layer=\"%u\"", model->blocks[layer]);
}

static void write_tokens(struct metrics_model *model, struct buffer *out) {
    counter *tokens = model->tokens;
    for (uint32_t layer = 0; layer < model->layers; layer++)
        for (int m = 0; m < LIMOE_MODALITIES; m++)
            for (uint32_t expert = 0; expert < model->experts; expert++) {
                buffer_string(out, "limoe_expert_tokens_total{");
                write_layer(model, layer, out);
                buffer_print(out, ",expert=\"%u\",modality=\"%s\"} %llu\n", expert, metrics_modalities[m],
                             counter_get(tokens++));
            }
}

static void write_imbalance(struct metrics_model *model, struct buffer *out) {
    for (uint32_t layer = 0; layer < model->layers; layer++) {
        struct buffer labels = {0};
        write_layer(model, layer, &labels);
        buffer_bytes(&labels, "", 1);
        if (labels.failed)
            out->failed = true;
        else
            histogram_write(&model->imbalance[layer], &histogram_imbalance, "limoe_expert_imbalance_ratio",
                            labels.data, out);
        buffer_free(&labels);
    }
}

static void write_entropy(struct metrics_model *model, struct buffer *out) {
    for (uint32_t layer = 0; layer < model->layers; layer++)
        for (int m = 0; m < LIMOE_MODALITIES; m++) {
            struct metrics_entropy *entropy = &model->entropy[(size_t)layer * LIMOE_MODALITIES + (size_t)m];
            buffer_string(out, "limoe_gate_entropy_nats_sum{");
            write_layer(model, layer, out);
            buffer_print(out, ",modality=\"%s\"} %.15g\nlimoe_gate_entropy_nats_count{",
                         metrics_modalities[m], atomic_load_explicit(&entropy->sum, memory_order_relaxed));
            write_layer(model, layer, out);
            buffer_print(out, ",modality=\"%s\"} %llu\n", metrics_modalities[m],
                         counter_get(&entropy->count));
        }
}

static void write_exchange_rows(struct metrics_model *model, struct buffer *out) {
    for (uint32_t layer = 0; layer < model->layers; layer++) {
        buffer_string(out, "limoe_exchange_rows_total{");
        write_layer(model, layer, out);
        buffer_print(out, "} %llu\n", counter_get(&model->exchange[METRICS_EXCHANGE_ROWS][layer]));
    }
}

static void write_exchange_bytes(struct metrics_model *model, struct buffer *out) {
    for (uint32_t layer = 0; layer < model->layers; layer++) {
        buffer_string(out, "limoe_exchange_bytes_total{");
        write_layer(model, layer, out);
        buffer_print(out, "} %llu\n", counter_get(&model->exchange[METRICS_EXCHANGE_BYTES][layer]));
    }
}

static void write_exchange_seconds(struct metrics_model *model, struct buffer *out) {
    for (uint32_t layer = 0; layer < model->layers; layer++) {
        buffer_string(out, "limoe_exchange_seconds_total{");
        write_layer(model, layer, out);
        buffer_print(out, "} %.15g\n",
                     (double)counter_get(&model->exchange[METRICS_EXCHANGE_NS][layer]) / 1e9);
    }
}

static void write_rank_imbalance(struct metrics_model *model, struct buffer *out) {
    struct buffer labels = {0};
    if (model->layers == 0)
        return; /* a dense model is in none of these families */
    buffer_string(&labels, "model=\"");
    metrics_label(&labels, model->name);
    buffer_bytes(&labels, "\"", 2);
    if (labels.failed)
        out->failed = true;
    else
        histogram_write(&model->rank_imbalance, &histogram_imbalance, "limoe_rank_imbalance_ratio",
                        labels.data, out);
    buffer_free(&labels);
}

/* Writes the models, of those that share a name only the newest: a scraper refuses a sample that comes
 * twice. */
static void write_each(struct metrics_model *newest, void (*write)(struct metrics_model *, struct buffer *),
                       struct buffer *out) {
    for (struct metrics_model *model = newest; model; model = model->older)
        if (named(newest, model->name) == model)
            write(model, out);
}

void metrics_write_models(struct metrics *metrics, struct buffer *out) {
    pthread_mutex_lock(&metrics->models_lock);
    struct metrics_model *newest = metrics->models;
    metrics_head(out, "limoe_expert_tokens_total", "counter",
                 "Tokens that the router assigned to an expert; layer is the transformer block.");
    write_each(newest, write_tokens, out);
    metrics_head(out, "limoe_expert_imbalance_ratio", "histogram",
                 "Most tokens of an expert over the mean of all experts, step by step; 1 is even.");
    write_each(newest, write_imbalance, out);
    metrics_head(out, "limoe_gate_entropy_nats", "summary",
                 "Entropy of the router's softmax, summed over tokens; ln(experts) is undecided.");
    write_each(newest, write_entropy, out);
    metrics_head(out, "limoe_exchange_rows_total", "counter",
                 "Token rows that ranks sent to experts on other ranks.");
    write_each(newest, write_exchange_rows, out);
    metrics_head(out, "limoe_exchange_bytes_total", "counter",
                 "Bytes that ranks sent each other: rows, their results, and counts.");
    write_each(newest, write_exchange_bytes, out);
    metrics_head(out, "limoe_exchange_seconds_total", "counter",
                 "Time that ranks spent in exchanging, waiting for each other included, summed over ranks.");
    write_each(newest, write_exchange_seconds, out);
    metrics_head(out, "limoe_rank_imbalance_ratio", "histogram",
                 "Most tokens of a rank over the mean of all ranks, step by step; 1 is even.");
    write_each(newest, write_rank_imbalance, out);
    pthread_mutex_unlock(&metrics->models_lock);
}
