/* Protects: the tensors of other libraries' checkpoints are found under their names, in parts and forms of theirs, and
 * nothing else is accepted. The headers are those of tests/golden, changed one thing at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "tests/unit/model/support.h"

/* One change of a header: a tensor taken out, put in or given another dtype or shape. */
struct change {
    const char *name, *dtype; /* name NULL: none; dtype NULL: it is taken out */
    const char *shape;        /* NULL: as it is */
};

static cJSON *read_header(const char *path) {
    FILE *f = fopen(path, "rb");
    uint64_t size;
    if (!f || fread(&size, sizeof size, 1, f) != 1)
        fail_msg("%s cannot be read", path);
    char *text = calloc(1, size + 1);
    assert_int_equal(fread(text, 1, size, f), size);
    fclose(f);
    cJSON *header = cJSON_Parse(text);
    assert_non_null(header);
    free(text);
    return header;
}

static void apply(cJSON *header, const struct change *change) {
    cJSON *entry = cJSON_GetObjectItem(header, change->name);
    if (!change->dtype) {
        assert_non_null(entry);
        cJSON_DeleteItemFromObject(header, change->name);
        return;
    }
    if (!entry)
        entry = cJSON_AddObjectToObject(header, change->name);
    cJSON_DeleteItemFromObject(entry, "dtype");
    cJSON_AddStringToObject(entry, "dtype", change->dtype);
    if (change->shape) {
        cJSON_DeleteItemFromObject(entry, "shape");
        cJSON_AddItemToObject(entry, "shape", cJSON_Parse(change->shape));
    }
}

/* Offsets one behind the other; how many bytes they end at. */
static size_t place(cJSON *header) {
    size_t at = 0;
    cJSON *entry;
    cJSON_DeleteItemFromObject(header, "__metadata__");
    cJSON_ArrayForEach(entry, header) {
        const char *dtype = cJSON_GetObjectItem(entry, "dtype")->valuestring;
        size_t bytes = strcmp(dtype, "F32") == 0 ? 4 : strcmp(dtype, "I64") == 0 ? 8 : 2;
        const cJSON *n;
        cJSON_ArrayForEach(n, cJSON_GetObjectItem(entry, "shape")) bytes *= (size_t)n->valuedouble;
        cJSON_DeleteItemFromObject(entry, "data_offsets");
        cJSON *offsets = cJSON_AddArrayToObject(entry, "data_offsets");
        cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)at));
        cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)(at += bytes)));
    }
    return at;
}

static enum limoe_status check(const char *golden, const char *file, const struct change *change,
                               struct limoe_error *err) {
    char dir[512], path[600];
    struct config config;
    struct safetensors *st;
    snprintf(dir, sizeof dir, "%s/%s", GOLDEN, golden);
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (config_load(dir, &config, NULL, err) != LIMOE_OK)
        fail_msg("%s", err->message);
    cJSON *header = read_header(path);
    if (change->name)
        apply(header, change);
    const size_t size = place(header);
    char *text = cJSON_PrintUnformatted(header);
    struct bytes bytes = safetensors_file(text, size);
    if (safetensors_open_memory(bytes.at, bytes.size, file, &st, err) != LIMOE_OK)
        fail_msg("%s", err->message);
    const enum limoe_status status = layout_check(&config, st, err);
    safetensors_close(st);
    free(bytes.at);
    cJSON_free(text);
    cJSON_Delete(header);
    return status;
}

#define LAYER "vision_model.encoder.layers.1."

static const struct {
    const char *golden, *file;
    struct change change;
    enum limoe_status status;
    const char *message; /* a part of it; NULL: accepted */
} cases[] = {
    {"clip", "model.safetensors", {0}, LIMOE_OK, NULL},
    {"siglip", "model.safetensors", {0}, LIMOE_OK, NULL},
    {"open_clip", "open_clip_model.safetensors", {0}, LIMOE_OK, NULL},
    {"open_clip-custom-bidirectional", "open_clip_model.safetensors", {0}, LIMOE_OK, NULL},
    {"limoe2-clip-moe", "model.safetensors", {0}, LIMOE_OK, NULL},
    {"chinese_clip", "model.safetensors", {0}, LIMOE_OK, NULL},
    {"clip-vision", "model.safetensors", {0}, LIMOE_OK, NULL},
    {"clip-text", "model.safetensors", {0}, LIMOE_OK, NULL},
    {"clip-vision-bare", "model.safetensors", {0}, LIMOE_OK, NULL},
    {"siglip-text", "model.safetensors", {0}, LIMOE_OK, NULL},

    /* one tower alone: nothing of the other, and no scores */
    {"clip-vision",
     "model.safetensors",
     {"text_model.embeddings.token_embedding.weight", "F32", "[64,24]"},
     LIMOE_CORRUPT,
     "tensor \"text_model.embeddings.token_embedding.weight\" is not one that config.json calls for"},
    {"clip-text",
     "model.safetensors",
     {"visual_projection.weight", "F32", "[20,32]"},
     LIMOE_CORRUPT,
     "\"visual_projection.weight\" is not one"},
    {"clip-text",
     "model.safetensors",
     {"logit_scale", "F32", "[]"},
     LIMOE_CORRUPT,
     "\"logit_scale\" is not one"},
    {"siglip-vision",
     "model.safetensors",
     {"logit_bias", "F32", "[]"},
     LIMOE_CORRUPT,
     "\"logit_bias\" is not one"},
    {"clip-vision",
     "model.safetensors",
     {"visual_projection.weight", NULL, NULL},
     LIMOE_CORRUPT,
     "\"visual_projection.weight\" is missing"},
    {"clip-vision-bare",
     "model.safetensors",
     {"visual_projection.weight", "F32", "[20,32]"},
     LIMOE_CORRUPT,
     "\"visual_projection.weight\" is not one"},

    /* its names without the tower's before them, or with it, but each once; of a whole model with it alone */
    {"siglip-vision",
     "model.safetensors",
     {"head.probe", "F32", "[1,1,33]"},
     LIMOE_CORRUPT,
     "\"head.probe\""},
    {"siglip-vision",
     "model.safetensors",
     {"head.probe", NULL, NULL},
     LIMOE_CORRUPT,
     "\"vision_model.head.probe\" is missing"},
    {"clip-vision",
     "model.safetensors",
     {"post_layernorm.bias", "F32", "[32]"},
     LIMOE_CORRUPT,
     "\"vision_model.post_layernorm.bias\" is not one"},
    {"clip", "model.safetensors", {"post_layernorm.bias", "F32", "[32]"}, LIMOE_CORRUPT, "is not one"},

    /* BERT's */
    {"chinese_clip",
     "model.safetensors",
     {"text_model.pooler.dense.weight", "F32", "[24,24]"},
     LIMOE_OK,
     NULL},
    {"clip",
     "model.safetensors",
     {"text_model.pooler.dense.weight", "F32", "[24,24]"},
     LIMOE_CORRUPT,
     "is not one"},
    {"chinese_clip",
     "model.safetensors",
     {"text_model.embeddings.token_type_embeddings.weight", "F32", "[3,24]"},
     LIMOE_CORRUPT,
     "token_type_embeddings.weight"},
    {"chinese_clip",
     "model.safetensors",
     {"text_model.embeddings.LayerNorm.bias", NULL, NULL},
     LIMOE_CORRUPT,
     "text_model.embeddings.LayerNorm.bias"},
    {"chinese_clip",
     "model.safetensors",
     {"text_model.encoder.layer.1.attention.output.LayerNorm.weight", NULL, NULL},
     LIMOE_CORRUPT,
     "text_model.encoder.layer.1.attention.output.LayerNorm.weight"},
    {"chinese_clip",
     "model.safetensors",
     {"text_model.final_layer_norm.weight", "F32", "[24]"},
     LIMOE_CORRUPT,
     "\"text_model.final_layer_norm.weight\" is not one"},

    /* what is there without need */
    {"clip", "model.safetensors", {"text_model.embeddings.position_ids", "I64", "[1,12]"}, LIMOE_OK, NULL},
    {"siglip",
     "model.safetensors",
     {"vision_model.embeddings.position_ids", "I64", "[1,16]"},
     LIMOE_OK,
     NULL},
    {"open_clip",
     "open_clip_model.safetensors",
     {"text_model.embeddings.position_ids", "I64", "[1,12]"},
     LIMOE_CORRUPT,
     "tensor \"text_model.embeddings.position_ids\" is not one that open_clip_config.json calls for"},
    {"limoe2-clip-moe",
     "model.safetensors",
     {"x.embeddings.position_ids", "I64", "[1]"},
     LIMOE_CORRUPT,
     "position_ids\" is not one"},

    /* scalars, with a dimension or without */
    {"clip", "model.safetensors", {"logit_scale", "F32", "[1]"}, LIMOE_OK, NULL},
    {"clip", "model.safetensors", {"logit_scale", "F32", "[2]"}, LIMOE_CORRUPT, "\"logit_scale\""},
    {"siglip", "model.safetensors", {"logit_bias", "F32", "[]"}, LIMOE_OK, NULL},
    {"limoe2-clip-moe", "model.safetensors", {"logit_scale", "F32", "[1]"}, LIMOE_CORRUPT, "\"logit_scale\""},

    /* missing, surplus, of another shape */
    {"clip",
     "model.safetensors",
     {LAYER "self_attn.k_proj.weight", NULL, NULL},
     LIMOE_CORRUPT,
     LAYER "self_attn.k_proj.weight"},
    {"clip",
     "model.safetensors",
     {LAYER "self_attn.v_proj.bias", NULL, NULL},
     LIMOE_CORRUPT,
     LAYER "self_attn.v_proj.bias"},
    {"clip",
     "model.safetensors",
     {"vision_model.pre_layrnorm.bias", NULL, NULL},
     LIMOE_CORRUPT,
     "vision_model.pre_layrnorm.bias"},
    {"clip",
     "model.safetensors",
     {"vision_model.encoder.layers.2.layer_norm1.weight", "F32", "[32]"},
     LIMOE_CORRUPT,
     "is not one that config.json calls for"},
    {"clip", "model.safetensors", {"logit_bias", "F32", "[]"}, LIMOE_CORRUPT, "\"logit_bias\" is not one"},
    {"clip",
     "model.safetensors",
     {"vision_model.embeddings.patch_embedding.weight", "F32", "[32,4,4,3]"},
     LIMOE_CORRUPT,
     "patch_embedding.weight"},
    {"siglip",
     "model.safetensors",
     {"vision_model.head.probe", "F32", "[32]"},
     LIMOE_CORRUPT,
     "vision_model.head.probe"},
    {"siglip",
     "model.safetensors",
     {"text_model.head.bias", NULL, NULL},
     LIMOE_CORRUPT,
     "text_model.head.bias"},
    {"open_clip",
     "open_clip_model.safetensors",
     {"visual.proj", "F32", "[20,32]"},
     LIMOE_CORRUPT,
     "visual.proj"},
    {"open_clip",
     "open_clip_model.safetensors",
     {"visual.ln_pre.weight", NULL, NULL},
     LIMOE_CORRUPT,
     "visual.ln_pre.weight"},
    {"limoe2-clip-moe",
     "model.safetensors",
     {"image.blocks.0.mlp.fc1.weight", "F32", "[24,32]"},
     LIMOE_CORRUPT,
     "mlp.fc1.weight\" is not one"},
    {"limoe2-clip-moe",
     "model.safetensors",
     {"text.blocks.1.moe.fc1.weight", "F32", "[4,24,20]"},
     LIMOE_CORRUPT,
     "text.blocks.1.moe.fc1.weight"},
    {"limoe2-clip-moe", "model.safetensors", {"image.class", NULL, NULL}, LIMOE_CORRUPT, "image.class"},

    /* dtypes: one of all parts, each tensor its own */
    {"clip", "model.safetensors", {LAYER "mlp.fc1.weight", "F16", NULL}, LIMOE_OK, NULL},
    {"clip",
     "model.safetensors",
     {LAYER "self_attn.v_proj.weight", "F16", NULL},
     LIMOE_UNSUPPORTED,
     "self_attn.v_proj.weight\" F16; one dtype"},
    {"clip",
     "model.safetensors",
     {LAYER "self_attn.q_proj.weight", "BF16", NULL},
     LIMOE_UNSUPPORTED,
     "one dtype is accepted"},
    {"clip",
     "model.safetensors",
     {"visual_projection.weight", "I64", NULL},
     LIMOE_UNSUPPORTED,
     "visual_projection.weight"},
};

static void test_changes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct limoe_error err = {0};
        const enum limoe_status status = check(cases[i].golden, cases[i].file, &cases[i].change, &err);
        if (cases[i].message)
            expect_failure(cases[i].message, status, &err, cases[i].status, cases[i].message);
        else if (status != LIMOE_OK)
            fail_msg("%s, %s: %s", cases[i].golden, cases[i].change.name, err.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
