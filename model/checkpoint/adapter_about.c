/* adapter_about.c - what an adapter's file says of itself, written as adapter.c reads it. No state, no threads. */
#include "model/checkpoint/adapter.h"

static void print_strings(struct buffer *out, const char *key, const char *const *string, size_t n) {
    buffer_print(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        buffer_string(out, i ? "," : "");
        buffer_json_string(out, string[i]);
    }
    buffer_string(out, "]");
}

void adapter_print_about(struct buffer *out, const struct limoe_adapter_info *info, const char *base) {
    buffer_print(out, "{\"format\":\"" ADAPTER_FORMAT "\",\"kind\":\"%s\",\"base\":\"%s\"",
                 limoe_adapter_kind_name(info->kind), base);
    if (info->kind == LIMOE_ADAPTER_TAIL)
        buffer_print(out, ",\"start_block\":%u", info->start_block);
    if (info->kind == LIMOE_ADAPTER_LORA) {
        buffer_print(out, ",\"rank\":%u,\"alpha\":", info->rank);
        buffer_json_float(out, info->alpha);
        buffer_string(out, info->rslora ? ",\"rslora\":true" : "");
    }
    print_strings(out, "labels", info->labels, info->n_labels);
    print_strings(out, "templates", info->templates, info->n_templates);
    buffer_string(out, ",\"strength\":");
    buffer_json_float(out, info->strength);
    if (info->training)
        buffer_print(out, ",\"training\":%s", info->training);
    buffer_string(out, "}");
}
