/* peft.c - reads PEFT's config. No state, no threads. */
#include "model/checkpoint/peft.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/fields.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/strict_json.h"

#define MAX_CONFIG (1u << 20)

/* Of what only a value that changes nothing is accepted. */
static void refuse_unless_off(const struct fields *f, const char *key) {
    const cJSON *item = fields_find(f, key);
    const bool off = !item || cJSON_IsFalse(item) ||
                     ((cJSON_IsArray(item) || cJSON_IsObject(item)) && cJSON_GetArraySize(item) == 0);
    if (!off)
        fields_refuse(f, LIMOE_UNSUPPORTED, key, item, "none, or what is off or empty,");
}

static void read_config(const struct fields *f, struct limoe_adapter *a) {
    static const char *const types[] = {"LORA", NULL}, *const biases[] = {"none", NULL};
    static const char *const off[] = {"use_dora",          "use_qalora",      "use_bdlora",
                                      "fan_in_fan_out",    "rank_pattern",    "alpha_pattern",
                                      "lora_bias",         "modules_to_save", "layer_replication",
                                      "target_parameters", "arrow_config",    "kasa_config",
                                      "monteclora_config", "velora_config",   "alora_invocation_tokens",
                                      "eva_config",        "megatron_config", "trainable_token_indices"};
    if (!fields_find(f, "peft_type"))
        fields_refuse(f, LIMOE_CORRUPT, "peft_type", NULL, "\"LORA\"");
    fields_word(f, "peft_type", types, 0);
    fields_word(f, "bias", biases, 0);
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        refuse_unless_off(f, off[i]);
    a->info.rank = fields_integer_needed(f, "r", 1, CONFIG_MAX_WIDTH);
    a->info.alpha = (float)fields_number(f, "lora_alpha", 0, 1e6, 8);
    a->info.rslora = fields_bool(f, "use_rslora", false);
    a->scale = adapter_scale(&a->info);
}

enum limoe_status peft_read(const char *dir, struct limoe_adapter *a, struct limoe_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    cJSON *root = NULL;
    enum limoe_status status = file_read(dir, PEFT_CONFIG, MAX_CONFIG, &bytes, &size, err);
    if (!status)
        status = strict_json_parse(bytes, size, PEFT_CONFIG, &root, err);
    if (!status) {
        struct fields_report report = {.where = PEFT_CONFIG, .err = err};
        const struct fields config = {.report = &report, .object = root, .prefix = ""};
        read_config(&config, a);
        status = report.status;
    }
    a->info.kind = LIMOE_ADAPTER_LORA;
    a->info.base = "";
    a->info.strength = 1;
    a->prefix = PEFT_PREFIX;
    cJSON_Delete(root);
    free(bytes);
    return status;
}
