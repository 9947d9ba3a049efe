/* info.c - the public description of a model, from its config and its checkpoint's headers. */
#include "model/info.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/layout.h"

void info_from_config(const struct config *config, struct limoe_info *info) {
    *info = (struct limoe_info){
        .name = config->name,
        .width = config->width,
        .blocks = config->blocks,
        .heads = config->heads,
        .mlp = config->mlp,
        .embed = config->embed,
        .image_size = config->image.size,
        .patch = config->image.patch,
        .image_tokens = config_image_tokens(config),
        .vocab = config->text.vocab,
        .text_length = config->text.length,
        .moe_layers = config->moe.layers,
        .experts = config->moe.experts,
        .top_k = config->moe.top_k,
        .moe_blocks = config->moe.block,
    };
}

/* One element of any accepted dtype, little-endian. */
static float read_scalar(const struct tensor *tensor, const uint8_t *b) {
    uint32_t bits = 0;
    if (tensor->dtype == TENSOR_F32) {
        bits = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    } else if (tensor->dtype == TENSOR_BF16) {
        bits = (uint32_t)b[0] << 16 | (uint32_t)b[1] << 24;
    } else {
        uint32_t half = (uint32_t)b[0] | (uint32_t)b[1] << 8;
        int exponent = (int)(half >> 10 & 31), fraction = (int)(half & 1023);
        float sign = half >> 15 ? -1.0f : 1.0f;
        if (exponent == 31)
            return fraction ? NAN : sign * INFINITY;
        return sign *
               (exponent ? ldexpf((float)(1024 + fraction), exponent - 25) : ldexpf((float)fraction, -24));
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

enum limoe_status info_from_checkpoint(const struct config *config, const struct safetensors *st,
                                       struct limoe_info *info, struct limoe_error *err) {
    const struct tensor *scale = NULL;
    enum limoe_status status = layout_find(config, LAYOUT_LOGIT_SCALE, 0, st, &scale, err);
    if (status != LIMOE_OK)
        return status;
    uint8_t bytes[4]; /* the widest accepted dtype */
    status = safetensors_read(st, scale, bytes, err);
    if (status != LIMOE_OK)
        return status;
    float s = read_scalar(scale, bytes);
    if (!(s >= -20.0f && s <= 20.0f)) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          "%s: tensor \"logit_scale\" is %g; a natural logarithm from -20 to 20 is "
                          "accepted",
                          safetensors_name(st), (double)s);
    }
    info->logit_scale = s;
    layout_count(config, &info->total_parameters, &info->active_parameters);
    info->weight_bytes = 0;
    for (size_t i = 0; i < safetensors_count(st); i++)
        info->weight_bytes += safetensors_at(st, i)->bytes;
    return LIMOE_OK;
}
