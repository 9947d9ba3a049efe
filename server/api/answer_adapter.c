/* answer_adapter.c - the JSON of adapters, the server's and limoe adapters show's. */
#include "server/api/adapter.h"
#include "server/api/training.h"

static void strings(struct buffer *out, const char *key, const char *const *list, size_t n) {
    buffer_print(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        buffer_string(out, i ? "," : "");
        buffer_json_string(out, list[i]);
    }
    buffer_string(out, "]");
}

void answer_adapter_info(struct buffer *out, const struct limoe_adapter_info *info) {
    buffer_print(out, ",\"kind\":\"%s\",\"base\":\"%s\"", limoe_adapter_kind_name(info->kind), info->base);
    if (info->kind == LIMOE_ADAPTER_TAIL)
        buffer_print(out, ",\"start_block\":%u", info->start_block);
    if (info->kind == LIMOE_ADAPTER_LORA)
        buffer_print(out, ",\"alpha\":%.9g,\"rank\":%u,\"rslora\":%s", (double)info->alpha, info->rank,
                     info->rslora ? "true" : "false");
    buffer_print(out, ",\"strength\":%.9g,\"parameters\":%llu,\"bytes\":%llu,\"tensors\":%zu",
                 (double)info->strength, (unsigned long long)info->parameters,
                 (unsigned long long)info->bytes, info->tensors);
    strings(out, "labels", info->labels, info->n_labels);
    strings(out, "templates", info->templates, info->n_templates);
    buffer_print(out, ",\"training\":%s", info->training ? info->training : "null");
}

static void head(struct buffer *out, const struct adapter_answer *adapter) {
    buffer_string(out, "{\"object\":\"adapter\",\"name\":");
    buffer_json_string(out, adapter->name);
    buffer_string(out, ",\"model\":");
    buffer_json_string(out, adapter->model);
    buffer_print(out, ",\"state\":\"%s\",\"created\":%lld,\"file_bytes\":%llu",
                 adapter->job ? training_state_names[adapter->job->state] : "ready",
                 (long long)adapter->created, (unsigned long long)adapter->bytes);
}

void answer_adapter(struct buffer *out, const struct adapter_answer *adapter,
                    const struct limoe_adapter_info *info) {
    head(out, adapter);
    answer_adapter_info(out, info);
    if (adapter->job) {
        answer_training(out, adapter->job);
        answer_held_out(out, info);
    }
    buffer_string(out, "}");
}

void answer_adapters_entry(struct buffer *out, size_t i, const struct adapter_answer *adapter,
                           enum limoe_adapter_kind kind, float strength, size_t label_count) {
    buffer_string(out, i ? "," : "");
    head(out, adapter);
    buffer_print(out, ",\"kind\":\"%s\",\"strength\":%.9g,\"label_count\":%zu}",
                 limoe_adapter_kind_name(kind), (double)strength, label_count);
}

void answer_adapters_job(struct buffer *out, size_t i, const char *name, const struct training_answer *job) {
    buffer_string(out, i ? "," : "");
    answer_training_head(out, text_of(name), job);
    buffer_string(out, "}");
}
