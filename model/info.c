/* info.c - the public description of a model, from its config and its checkpoint's headers. */
#include "model/info.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/layout.h"
#include "model/forward/shares.h"

static const char *const architectures[] = {
    [CONFIG_LIMOE_1] = "limoe",
    [CONFIG_LIMOE_2] = "limoe",
    [CONFIG_CLIP] = "clip",
    [CONFIG_SIGLIP] = "siglip",
    [CONFIG_CHINESE_CLIP] = "chinese_clip",
    [CONFIG_OPEN_CLIP] = "open_clip",
    [CONFIG_OPEN_CLIP_CUSTOM] = "open_clip",
    [CONFIG_OPEN_CLIP_TIMM] = "open_clip",
};

static struct limoe_tower shape_of(const struct config_tower *t) {
    return (struct limoe_tower){t->width, t->blocks, t->heads, t->mlp};
}

void info_from_config(const struct config *config, struct limoe_info *info) {
    *info = (struct limoe_info){
        .name = config->name,
        .architecture = architectures[config->format],
        .towers = config->towers,
        .blocks = config_blocks(config),
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
        .shares = shares_of(config),
        .decoder = shape_of(&config->decoder.tower),
        .caption_length = config->decoder.length,
        .scoring = {.kind = config->scores == CONFIG_SIGMOID ? LIMOE_SIGMOID : LIMOE_SOFTMAX},
    };
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        info->tower[m] = shape_of(&config->tower[m]);
}

bool limoe_has(const struct limoe_info *info, enum limoe_modality modality) {
    return info->tower[modality].blocks > 0;
}

enum limoe_status limoe_accepts(const struct limoe_info *info, enum limoe_modality modality,
                                struct limoe_error *err) {
    if (limoe_has(info, modality))
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_UNSUPPORTED, "\"%s\" has no %s tower; %s alone are accepted", info->name,
                      modality == LIMOE_IMAGE ? "image" : "text",
                      modality == LIMOE_IMAGE ? "texts" : "pictures");
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

static enum limoe_status find_scalar(const struct config *config, const struct safetensors *st,
                                     enum layout_id id, float most, const char *what, float *out,
                                     struct limoe_error *err) {
    struct layout_source t;
    enum limoe_status status = layout_find(config, id, 0, st, &t, err);
    if (status != LIMOE_OK)
        return status;
    uint8_t bytes[4]; /* the widest accepted dtype */
    status = safetensors_read(st, t.part[0], bytes, err);
    if (status != LIMOE_OK)
        return status;
    *out = read_scalar(t.part[0], bytes);
    if (!(*out >= -most && *out <= most)) {
        return limoe_fail(err, LIMOE_CORRUPT, "%s: tensor \"%s\" is %g; %s from %g to %g is accepted",
                          safetensors_name(st), t.part[0]->name, (double)*out, what, (double)-most,
                          (double)most);
    }
    return LIMOE_OK;
}

enum limoe_status info_from_checkpoint(const struct config *config, const struct safetensors *st,
                                       struct limoe_info *info, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    if (config_has_scores(config))
        status =
            find_scalar(config, st, LAYOUT_LOGIT_SCALE, 20, "a natural logarithm", &info->scoring.scale, err);
    if (status == LIMOE_OK && config_has_scores(config) && config->scores == CONFIG_SIGMOID)
        status = find_scalar(config, st, LAYOUT_LOGIT_BIAS, 1000, "a number", &info->scoring.bias, err);
    if (status != LIMOE_OK)
        return status;
    layout_count(config, &info->total_parameters, &info->active_parameters);
    info->weight_bytes = 0;
    for (size_t i = 0; i < safetensors_count(st); i++)
        info->weight_bytes += safetensors_at(st, i)->bytes;
    return LIMOE_OK;
}
