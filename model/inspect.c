/* inspect.c - limoe_inspect: what a model directory holds, without loading its weights.
 *
 * An inspection owns its config, which its strings and block indices point into. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "limoe.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/info.h"
#include "model/inspect.h"

/* Every tensor of a block counts under one heading: a norm goes with what it feeds. */
static void count_block(const struct config *config, uint32_t block, struct limoe_block_info *info) {
    info->moe = config_is_moe(config, block);
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        struct layout_tensor tensor;
        if (!layout_per_block((enum layout_id)id) ||
            !layout_expected(config, (enum layout_id)id, block, &tensor))
            continue;
        switch ((enum layout_id)id) {
        case LAYOUT_MOE_ROUTER_WEIGHT:
            info->router_parameters += tensor.elements;
            break;
        case LAYOUT_LN2_WEIGHT:
        case LAYOUT_LN2_BIAS:
        case LAYOUT_MLP_FC1_WEIGHT:
        case LAYOUT_MLP_FC1_BIAS:
        case LAYOUT_MLP_FC2_WEIGHT:
        case LAYOUT_MLP_FC2_BIAS:
        case LAYOUT_MOE_FC1_WEIGHT:
        case LAYOUT_MOE_FC1_BIAS:
        case LAYOUT_MOE_FC2_WEIGHT:
        case LAYOUT_MOE_FC2_BIAS:
            info->mlp_parameters += tensor.elements;
            info->active_mlp_parameters += tensor.active;
            break;
        default:
            info->attention_parameters += tensor.elements;
        }
    }
}

/* "bfloat16, float32": what there is, in this order. The checkpoint has passed layout_check, so there is no
 * other. */
static void list_dtypes(const struct safetensors *st, char *to, size_t room) {
    static const struct {
        enum tensor_dtype dtype;
        const char *name;
    } names[] = {
        {TENSOR_BF16, "bfloat16"}, {TENSOR_F16, "float16"}, {TENSOR_F32, "float32"}, {TENSOR_I8, "int8"}};
    size_t used = 0;
    for (size_t d = 0; d < sizeof names / sizeof *names; d++) {
        size_t i = 0;
        while (i < safetensors_count(st) && safetensors_at(st, i)->dtype != names[d].dtype)
            i++;
        if (i < safetensors_count(st)) {
            int n = snprintf(to + used, room - used, "%s%s", used > 0 ? ", " : "", names[d].name);
            used += (size_t)n;
        }
    }
}

enum limoe_status limoe_inspect(const char *dir, struct limoe_inspection **out, struct limoe_error *err) {
    enum limoe_status status;
    struct safetensors *st = NULL;
    *out = NULL;
    struct inspection *o = calloc(1, sizeof *o);
    if (!o)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an inspection");
    status = config_load(dir, &o->config, NULL, err);
    if (status != LIMOE_OK)
        goto out;
    status = checkpoint_open(dir, &o->config, &st, err);
    if (status != LIMOE_OK)
        goto out;
    info_from_config(&o->config, &o->public.info);
    status = info_from_checkpoint(&o->config, st, &o->public.info, err);
    if (status != LIMOE_OK)
        goto out;
    o->public.block = calloc(o->public.info.blocks, sizeof *o->public.block);
    if (!o->public.block) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %u blocks", o->public.info.blocks);
        goto out;
    }
    for (uint32_t i = 0; i < o->public.info.blocks; i++)
        count_block(&o->config, i, &o->public.block[i]);
    status = layout_float_bytes(&o->config, LAYOUT_TEXT_TOKEN, st, &o->token_bytes, err);
    if (status != LIMOE_OK)
        goto out;
    o->int8 = checkpoint_is_int8(st);
    list_dtypes(st, o->public.checkpoint_dtypes, sizeof o->public.checkpoint_dtypes);
    *out = &o->public;
    o = NULL;
out:
    if (o)
        limoe_inspection_free(&o->public);
    safetensors_close(st);
    return status;
}

void limoe_inspection_free(struct limoe_inspection *inspection) {
    if (!inspection)
        return;
    free(inspection->block);
    free((struct inspection *)(void *)inspection);
}
