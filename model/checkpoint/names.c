/* names.c - one table for each library's way of naming the parts of a block, and one for what stands once.
 *
 * Names are those that the libraries' own state dictionaries have: transformers' CLIPModel, SiglipModel and
 * ChineseCLIPModel, open_clip's CLIP and CustomTextCLIP, timm's VisionTransformer. */
#include "model/checkpoint/names.h"

#include <stdio.h>
#include <string.h>

#define ONE(name)                                                                                            \
    { {name}, {0}, NAMES_PLAIN }
#define IN_FORM(name, form)                                                                                  \
    { {name}, {0}, form }

/* ---- blocks */

static const struct names_entry limoe_block[LAYOUT_COUNT] = {
    [LAYOUT_LN1_WEIGHT] = ONE("ln1.weight"),
    [LAYOUT_LN1_BIAS] = ONE("ln1.bias"),
    [LAYOUT_ATTN_QKV_WEIGHT] = ONE("attn.qkv.weight"),
    [LAYOUT_ATTN_QKV_BIAS] = ONE("attn.qkv.bias"),
    [LAYOUT_ATTN_OUT_WEIGHT] = ONE("attn.out.weight"),
    [LAYOUT_ATTN_OUT_BIAS] = ONE("attn.out.bias"),
    [LAYOUT_LN2_WEIGHT] = ONE("ln2.weight"),
    [LAYOUT_LN2_BIAS] = ONE("ln2.bias"),
    [LAYOUT_ATTN_Q_NORM_WEIGHT] = ONE("attn.q_norm.weight"),
    [LAYOUT_ATTN_Q_NORM_BIAS] = ONE("attn.q_norm.bias"),
    [LAYOUT_ATTN_K_NORM_WEIGHT] = ONE("attn.k_norm.weight"),
    [LAYOUT_ATTN_K_NORM_BIAS] = ONE("attn.k_norm.bias"),
    [LAYOUT_MLP_FC1_WEIGHT] = ONE("mlp.fc1.weight"),
    [LAYOUT_MLP_FC1_BIAS] = ONE("mlp.fc1.bias"),
    [LAYOUT_MLP_FC2_WEIGHT] = ONE("mlp.fc2.weight"),
    [LAYOUT_MLP_FC2_BIAS] = ONE("mlp.fc2.bias"),
    [LAYOUT_MOE_ROUTER_WEIGHT] = ONE("moe.router.weight"),
    [LAYOUT_MOE_FC1_WEIGHT] = ONE("moe.fc1.weight"),
    [LAYOUT_MOE_FC1_BIAS] = ONE("moe.fc1.bias"),
    [LAYOUT_MOE_FC2_WEIGHT] = ONE("moe.fc2.weight"),
    [LAYOUT_MOE_FC2_BIAS] = ONE("moe.fc2.bias"),
};

static const struct names_entry transformers_block[LAYOUT_COUNT] = {
    [LAYOUT_LN1_WEIGHT] = ONE("layer_norm1.weight"),
    [LAYOUT_LN1_BIAS] = ONE("layer_norm1.bias"),
    [LAYOUT_ATTN_QKV_WEIGHT] =
        {{"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"}, {0}, NAMES_PLAIN},
    [LAYOUT_ATTN_QKV_BIAS] = {{"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"},
                              {0},
                              NAMES_PLAIN},
    [LAYOUT_ATTN_OUT_WEIGHT] = ONE("self_attn.out_proj.weight"),
    [LAYOUT_ATTN_OUT_BIAS] = ONE("self_attn.out_proj.bias"),
    [LAYOUT_LN2_WEIGHT] = ONE("layer_norm2.weight"),
    [LAYOUT_LN2_BIAS] = ONE("layer_norm2.bias"),
    [LAYOUT_MLP_FC1_WEIGHT] = ONE("mlp.fc1.weight"),
    [LAYOUT_MLP_FC1_BIAS] = ONE("mlp.fc1.bias"),
    [LAYOUT_MLP_FC2_WEIGHT] = ONE("mlp.fc2.weight"),
    [LAYOUT_MLP_FC2_BIAS] = ONE("mlp.fc2.bias"),
};

/* BERT's: its norms stand behind what they are named after. */
static const struct names_entry bert_block[LAYOUT_COUNT] = {
    [LAYOUT_LN1_WEIGHT] = ONE("attention.output.LayerNorm.weight"),
    [LAYOUT_LN1_BIAS] = ONE("attention.output.LayerNorm.bias"),
    [LAYOUT_ATTN_QKV_WEIGHT] = {{"attention.self.query.weight", "attention.self.key.weight",
                                 "attention.self.value.weight"},
                                {0},
                                NAMES_PLAIN},
    [LAYOUT_ATTN_QKV_BIAS] = {{"attention.self.query.bias", "attention.self.key.bias",
                               "attention.self.value.bias"},
                              {0},
                              NAMES_PLAIN},
    [LAYOUT_ATTN_OUT_WEIGHT] = ONE("attention.output.dense.weight"),
    [LAYOUT_ATTN_OUT_BIAS] = ONE("attention.output.dense.bias"),
    [LAYOUT_LN2_WEIGHT] = ONE("output.LayerNorm.weight"),
    [LAYOUT_LN2_BIAS] = ONE("output.LayerNorm.bias"),
    [LAYOUT_MLP_FC1_WEIGHT] = ONE("intermediate.dense.weight"),
    [LAYOUT_MLP_FC1_BIAS] = ONE("intermediate.dense.bias"),
    [LAYOUT_MLP_FC2_WEIGHT] = ONE("output.dense.weight"),
    [LAYOUT_MLP_FC2_BIAS] = ONE("output.dense.bias"),
};

static const struct names_entry open_clip_block[LAYOUT_COUNT] = {
    [LAYOUT_LN1_WEIGHT] = ONE("ln_1.weight"),
    [LAYOUT_LN1_BIAS] = ONE("ln_1.bias"),
    [LAYOUT_ATTN_QKV_WEIGHT] = ONE("attn.in_proj_weight"),
    [LAYOUT_ATTN_QKV_BIAS] = ONE("attn.in_proj_bias"),
    [LAYOUT_ATTN_OUT_WEIGHT] = ONE("attn.out_proj.weight"),
    [LAYOUT_ATTN_OUT_BIAS] = ONE("attn.out_proj.bias"),
    [LAYOUT_LN2_WEIGHT] = ONE("ln_2.weight"),
    [LAYOUT_LN2_BIAS] = ONE("ln_2.bias"),
    [LAYOUT_MLP_FC1_WEIGHT] = ONE("mlp.c_fc.weight"),
    [LAYOUT_MLP_FC1_BIAS] = ONE("mlp.c_fc.bias"),
    [LAYOUT_MLP_FC2_WEIGHT] = ONE("mlp.c_proj.weight"),
    [LAYOUT_MLP_FC2_BIAS] = ONE("mlp.c_proj.bias"),
};

static const struct names_entry timm_block[LAYOUT_COUNT] = {
    [LAYOUT_LN1_WEIGHT] = ONE("norm1.weight"),          [LAYOUT_LN1_BIAS] = ONE("norm1.bias"),
    [LAYOUT_ATTN_QKV_WEIGHT] = ONE("attn.qkv.weight"),  [LAYOUT_ATTN_QKV_BIAS] = ONE("attn.qkv.bias"),
    [LAYOUT_ATTN_OUT_WEIGHT] = ONE("attn.proj.weight"), [LAYOUT_ATTN_OUT_BIAS] = ONE("attn.proj.bias"),
    [LAYOUT_LN2_WEIGHT] = ONE("norm2.weight"),          [LAYOUT_LN2_BIAS] = ONE("norm2.bias"),
    [LAYOUT_MLP_FC1_WEIGHT] = ONE("mlp.fc1.weight"),    [LAYOUT_MLP_FC1_BIAS] = ONE("mlp.fc1.bias"),
    [LAYOUT_MLP_FC2_WEIGHT] = ONE("mlp.fc2.weight"),    [LAYOUT_MLP_FC2_BIAS] = ONE("mlp.fc2.bias"),
};

/* ---- once in a model */

static const struct names_entry limoe_once[LAYOUT_COUNT] = {
    [LAYOUT_IMAGE_PATCH_WEIGHT] = ONE("image.patch.weight"),
    [LAYOUT_IMAGE_PATCH_BIAS] = ONE("image.patch.bias"),
    [LAYOUT_IMAGE_CLASS] = ONE("image.class"),
    [LAYOUT_IMAGE_POS] = ONE("image.pos"),
    [LAYOUT_IMAGE_PRE_WEIGHT] = ONE("image.pre_ln.weight"),
    [LAYOUT_IMAGE_PRE_BIAS] = ONE("image.pre_ln.bias"),
    [LAYOUT_IMAGE_PROJ_WEIGHT] = ONE("image.proj.weight"),
    [LAYOUT_TEXT_TOKEN] = ONE("text.token"),
    [LAYOUT_TEXT_POS] = ONE("text.pos"),
    [LAYOUT_TEXT_PRE_WEIGHT] = ONE("text.pre_ln.weight"),
    [LAYOUT_TEXT_PRE_BIAS] = ONE("text.pre_ln.bias"),
    [LAYOUT_TEXT_PROJ_WEIGHT] = ONE("text.proj.weight"),
    [LAYOUT_TEXT_PROJ_BIAS] = ONE("text.proj.bias"),
    [LAYOUT_LN_WEIGHT] = ONE("ln.weight"),
    [LAYOUT_LN_BIAS] = ONE("ln.bias"),
    [LAYOUT_IMAGE_LN_WEIGHT] = ONE("image.ln.weight"),
    [LAYOUT_IMAGE_LN_BIAS] = ONE("image.ln.bias"),
    [LAYOUT_TEXT_LN_WEIGHT] = ONE("text.ln.weight"),
    [LAYOUT_TEXT_LN_BIAS] = ONE("text.ln.bias"),
    [LAYOUT_LOGIT_SCALE] = ONE("logit_scale"),
    [LAYOUT_LOGIT_BIAS] = ONE("logit_bias"),
    [LAYOUT_POOL_PROBE] = ONE("image.pool.probe"),
    [LAYOUT_POOL_QKV_WEIGHT] = ONE("image.pool.qkv.weight"),
    [LAYOUT_POOL_QKV_BIAS] = ONE("image.pool.qkv.bias"),
    [LAYOUT_POOL_OUT_WEIGHT] = ONE("image.pool.out.weight"),
    [LAYOUT_POOL_OUT_BIAS] = ONE("image.pool.out.bias"),
    [LAYOUT_POOL_LN_WEIGHT] = ONE("image.pool.ln.weight"),
    [LAYOUT_POOL_LN_BIAS] = ONE("image.pool.ln.bias"),
    [LAYOUT_POOL_FC1_WEIGHT] = ONE("image.pool.fc1.weight"),
    [LAYOUT_POOL_FC1_BIAS] = ONE("image.pool.fc1.bias"),
    [LAYOUT_POOL_FC2_WEIGHT] = ONE("image.pool.fc2.weight"),
    [LAYOUT_POOL_FC2_BIAS] = ONE("image.pool.fc2.bias"),
};

/* The decoder's, which limoe-2 alone has; of its blocks without "decoder.blocks.N.". */
static const struct names_entry limoe_decoder[LAYOUT_COUNT] = {
    [LAYOUT_DECODER_TOKEN] = ONE("decoder.token"),
    [LAYOUT_DECODER_POS] = ONE("decoder.pos"),
    [LAYOUT_DECODER_ROWS_LN_WEIGHT] = ONE("decoder.rows_ln.weight"),
    [LAYOUT_DECODER_ROWS_LN_BIAS] = ONE("decoder.rows_ln.bias"),
    [LAYOUT_DECODER_LN_WEIGHT] = ONE("decoder.ln.weight"),
    [LAYOUT_DECODER_LN_BIAS] = ONE("decoder.ln.bias"),
    [LAYOUT_DECODER_LN1_WEIGHT] = ONE("ln1.weight"),
    [LAYOUT_DECODER_LN1_BIAS] = ONE("ln1.bias"),
    [LAYOUT_DECODER_ATTN_Q_WEIGHT] = ONE("attn.q.weight"),
    [LAYOUT_DECODER_ATTN_Q_BIAS] = ONE("attn.q.bias"),
    [LAYOUT_DECODER_ATTN_KV_WEIGHT] = ONE("attn.kv.weight"),
    [LAYOUT_DECODER_ATTN_KV_BIAS] = ONE("attn.kv.bias"),
    [LAYOUT_DECODER_ATTN_OUT_WEIGHT] = ONE("attn.out.weight"),
    [LAYOUT_DECODER_ATTN_OUT_BIAS] = ONE("attn.out.bias"),
    [LAYOUT_DECODER_LN2_WEIGHT] = ONE("ln2.weight"),
    [LAYOUT_DECODER_LN2_BIAS] = ONE("ln2.bias"),
    [LAYOUT_DECODER_CROSS_Q_WEIGHT] = ONE("cross.q.weight"),
    [LAYOUT_DECODER_CROSS_Q_BIAS] = ONE("cross.q.bias"),
    [LAYOUT_DECODER_CROSS_KV_WEIGHT] = ONE("cross.kv.weight"),
    [LAYOUT_DECODER_CROSS_KV_BIAS] = ONE("cross.kv.bias"),
    [LAYOUT_DECODER_CROSS_OUT_WEIGHT] = ONE("cross.out.weight"),
    [LAYOUT_DECODER_CROSS_OUT_BIAS] = ONE("cross.out.bias"),
    [LAYOUT_DECODER_LN3_WEIGHT] = ONE("ln3.weight"),
    [LAYOUT_DECODER_LN3_BIAS] = ONE("ln3.bias"),
    [LAYOUT_DECODER_FC1_WEIGHT] = ONE("mlp.fc1.weight"),
    [LAYOUT_DECODER_FC1_BIAS] = ONE("mlp.fc1.bias"),
    [LAYOUT_DECODER_FC2_WEIGHT] = ONE("mlp.fc2.weight"),
    [LAYOUT_DECODER_FC2_BIAS] = ONE("mlp.fc2.bias"),
};

/* And the projection of texts, which all CLIPs name alike. */
#define CLIP_IMAGE                                                                                           \
    [LAYOUT_IMAGE_PATCH_WEIGHT] =                                                                            \
        IN_FORM("vision_model.embeddings.patch_embedding.weight", NAMES_CHANNELS_FIRST),                     \
    [LAYOUT_IMAGE_CLASS] = ONE("vision_model.embeddings.class_embedding"),                                   \
    [LAYOUT_IMAGE_POS] = ONE("vision_model.embeddings.position_embedding.weight"),                           \
    [LAYOUT_IMAGE_PRE_WEIGHT] = ONE("vision_model.pre_layrnorm.weight"),                                     \
    [LAYOUT_IMAGE_PRE_BIAS] = ONE("vision_model.pre_layrnorm.bias"),                                         \
    [LAYOUT_IMAGE_PROJ_WEIGHT] = ONE("visual_projection.weight"),                                            \
    [LAYOUT_IMAGE_LN_WEIGHT] = ONE("vision_model.post_layernorm.weight"),                                    \
    [LAYOUT_IMAGE_LN_BIAS] = ONE("vision_model.post_layernorm.bias"),                                        \
    [LAYOUT_TEXT_PROJ_WEIGHT] = ONE("text_projection.weight"),                                               \
    [LAYOUT_LOGIT_SCALE] = IN_FORM("logit_scale", NAMES_SCALAR)

static const struct names_entry clip_once[LAYOUT_COUNT] = {
    CLIP_IMAGE,
    [LAYOUT_TEXT_TOKEN] = ONE("text_model.embeddings.token_embedding.weight"),
    [LAYOUT_TEXT_POS] = ONE("text_model.embeddings.position_embedding.weight"),
    [LAYOUT_TEXT_LN_WEIGHT] = ONE("text_model.final_layer_norm.weight"),
    [LAYOUT_TEXT_LN_BIAS] = ONE("text_model.final_layer_norm.bias"),
};

static const struct names_entry chinese_clip_once[LAYOUT_COUNT] = {
    CLIP_IMAGE,
    [LAYOUT_TEXT_TOKEN] = ONE("text_model.embeddings.word_embeddings.weight"),
    [LAYOUT_TEXT_POS] = ONE("text_model.embeddings.position_embeddings.weight"),
    [LAYOUT_TEXT_TYPE] = ONE("text_model.embeddings.token_type_embeddings.weight"),
    [LAYOUT_TEXT_PRE_WEIGHT] = ONE("text_model.embeddings.LayerNorm.weight"),
    [LAYOUT_TEXT_PRE_BIAS] = ONE("text_model.embeddings.LayerNorm.bias"),
};

static const struct names_entry siglip_once[LAYOUT_COUNT] = {
    [LAYOUT_IMAGE_PATCH_WEIGHT] =
        IN_FORM("vision_model.embeddings.patch_embedding.weight", NAMES_CHANNELS_FIRST),
    [LAYOUT_IMAGE_PATCH_BIAS] = ONE("vision_model.embeddings.patch_embedding.bias"),
    [LAYOUT_IMAGE_POS] = ONE("vision_model.embeddings.position_embedding.weight"),
    [LAYOUT_TEXT_TOKEN] = ONE("text_model.embeddings.token_embedding.weight"),
    [LAYOUT_TEXT_POS] = ONE("text_model.embeddings.position_embedding.weight"),
    [LAYOUT_TEXT_PROJ_WEIGHT] = ONE("text_model.head.weight"),
    [LAYOUT_TEXT_PROJ_BIAS] = ONE("text_model.head.bias"),
    [LAYOUT_IMAGE_LN_WEIGHT] = ONE("vision_model.post_layernorm.weight"),
    [LAYOUT_IMAGE_LN_BIAS] = ONE("vision_model.post_layernorm.bias"),
    [LAYOUT_TEXT_LN_WEIGHT] = ONE("text_model.final_layer_norm.weight"),
    [LAYOUT_TEXT_LN_BIAS] = ONE("text_model.final_layer_norm.bias"),
    [LAYOUT_LOGIT_SCALE] = IN_FORM("logit_scale", NAMES_SCALAR),
    [LAYOUT_LOGIT_BIAS] = IN_FORM("logit_bias", NAMES_SCALAR),
    [LAYOUT_POOL_PROBE] = IN_FORM("vision_model.head.probe", NAMES_LEADING_ONES),
    [LAYOUT_POOL_QKV_WEIGHT] = ONE("vision_model.head.attention.in_proj_weight"),
    [LAYOUT_POOL_QKV_BIAS] = ONE("vision_model.head.attention.in_proj_bias"),
    [LAYOUT_POOL_OUT_WEIGHT] = ONE("vision_model.head.attention.out_proj.weight"),
    [LAYOUT_POOL_OUT_BIAS] = ONE("vision_model.head.attention.out_proj.bias"),
    [LAYOUT_POOL_LN_WEIGHT] = ONE("vision_model.head.layernorm.weight"),
    [LAYOUT_POOL_LN_BIAS] = ONE("vision_model.head.layernorm.bias"),
    [LAYOUT_POOL_FC1_WEIGHT] = ONE("vision_model.head.mlp.fc1.weight"),
    [LAYOUT_POOL_FC1_BIAS] = ONE("vision_model.head.mlp.fc1.bias"),
    [LAYOUT_POOL_FC2_WEIGHT] = ONE("vision_model.head.mlp.fc2.weight"),
    [LAYOUT_POOL_FC2_BIAS] = ONE("vision_model.head.mlp.fc2.bias"),
};

#define OPEN_CLIP_IMAGE                                                                                      \
    [LAYOUT_IMAGE_PATCH_WEIGHT] = IN_FORM("visual.conv1.weight", NAMES_CHANNELS_FIRST),                      \
    [LAYOUT_IMAGE_CLASS] = ONE("visual.class_embedding"),                                                    \
    [LAYOUT_IMAGE_POS] = ONE("visual.positional_embedding"),                                                 \
    [LAYOUT_IMAGE_PRE_WEIGHT] = ONE("visual.ln_pre.weight"),                                                 \
    [LAYOUT_IMAGE_PRE_BIAS] = ONE("visual.ln_pre.bias"),                                                     \
    [LAYOUT_IMAGE_PROJ_WEIGHT] = IN_FORM("visual.proj", NAMES_TRANSPOSED),                                   \
    [LAYOUT_IMAGE_LN_WEIGHT] = ONE("visual.ln_post.weight"),                                                 \
    [LAYOUT_IMAGE_LN_BIAS] = ONE("visual.ln_post.bias"),                                                     \
    [LAYOUT_LOGIT_SCALE] = IN_FORM("logit_scale", NAMES_SCALAR),                                             \
    [LAYOUT_LOGIT_BIAS] = IN_FORM("logit_bias", NAMES_SCALAR)

#define OPEN_CLIP_TEXT(prefix)                                                                               \
    [LAYOUT_TEXT_TOKEN] = ONE(prefix "token_embedding.weight"),                                              \
    [LAYOUT_TEXT_POS] = ONE(prefix "positional_embedding"),                                                  \
    [LAYOUT_TEXT_LN_WEIGHT] = ONE(prefix "ln_final.weight"),                                                 \
    [LAYOUT_TEXT_LN_BIAS] = ONE(prefix "ln_final.bias"),                                                     \
    [LAYOUT_TEXT_PROJ_WEIGHT] = IN_FORM(prefix "text_projection", NAMES_TRANSPOSED)

static const struct names_entry open_clip_once[LAYOUT_COUNT] = {OPEN_CLIP_IMAGE, OPEN_CLIP_TEXT("")};
static const struct names_entry open_clip_custom_once[LAYOUT_COUNT] = {OPEN_CLIP_IMAGE,
                                                                       OPEN_CLIP_TEXT("text.")};

static const struct names_entry open_clip_timm_once[LAYOUT_COUNT] = {
    OPEN_CLIP_TEXT("text."),
    [LAYOUT_IMAGE_PATCH_WEIGHT] = IN_FORM("visual.trunk.patch_embed.proj.weight", NAMES_CHANNELS_FIRST),
    [LAYOUT_IMAGE_PATCH_BIAS] = ONE("visual.trunk.patch_embed.proj.bias"),
    [LAYOUT_IMAGE_POS] = IN_FORM("visual.trunk.pos_embed", NAMES_LEADING_ONE),
    [LAYOUT_IMAGE_LN_WEIGHT] = ONE("visual.trunk.norm.weight"),
    [LAYOUT_IMAGE_LN_BIAS] = ONE("visual.trunk.norm.bias"),
    [LAYOUT_LOGIT_SCALE] = IN_FORM("logit_scale", NAMES_SCALAR),
    [LAYOUT_LOGIT_BIAS] = IN_FORM("logit_bias", NAMES_SCALAR),
    [LAYOUT_POOL_PROBE] = IN_FORM("visual.trunk.attn_pool.latent", NAMES_LEADING_ONES),
    [LAYOUT_POOL_QKV_WEIGHT] = {{"visual.trunk.attn_pool.q.weight", "visual.trunk.attn_pool.kv.weight"},
                                {1, 2},
                                NAMES_PLAIN},
    [LAYOUT_POOL_QKV_BIAS] = {{"visual.trunk.attn_pool.q.bias", "visual.trunk.attn_pool.kv.bias"},
                              {1, 2},
                              NAMES_PLAIN},
    [LAYOUT_POOL_OUT_WEIGHT] = ONE("visual.trunk.attn_pool.proj.weight"),
    [LAYOUT_POOL_OUT_BIAS] = ONE("visual.trunk.attn_pool.proj.bias"),
    [LAYOUT_POOL_LN_WEIGHT] = ONE("visual.trunk.attn_pool.norm.weight"),
    [LAYOUT_POOL_LN_BIAS] = ONE("visual.trunk.attn_pool.norm.bias"),
    [LAYOUT_POOL_FC1_WEIGHT] = ONE("visual.trunk.attn_pool.mlp.fc1.weight"),
    [LAYOUT_POOL_FC1_BIAS] = ONE("visual.trunk.attn_pool.mlp.fc1.bias"),
    [LAYOUT_POOL_FC2_WEIGHT] = ONE("visual.trunk.attn_pool.mlp.fc2.weight"),
    [LAYOUT_POOL_FC2_BIAS] = ONE("visual.trunk.attn_pool.mlp.fc2.bias"),
};

/* open_clip's projection of texts is a matrix to multiply by from the right, or with a bias a Linear. */
static const struct names_entry open_clip_linear = ONE("text.text_projection.weight"),
                                open_clip_linear_bias = ONE("text.text_projection.bias");

/* ---- formats */

/* By modality: what the names of a block begin with, before its number, and how its parts are called. */
static const struct format {
    const struct names_entry *once;
    const char *prefix[LIMOE_MODALITIES];
    const struct names_entry *block[LIMOE_MODALITIES];
} formats[] = {
    [CONFIG_LIMOE_1] = {limoe_once, {"blocks.", "blocks."}, {limoe_block, limoe_block}},
    [CONFIG_LIMOE_2] = {limoe_once, {"image.blocks.", "text.blocks."}, {limoe_block, limoe_block}},
    [CONFIG_CLIP] = {clip_once,
                     {"vision_model.encoder.layers.", "text_model.encoder.layers."},
                     {transformers_block, transformers_block}},
    [CONFIG_SIGLIP] = {siglip_once,
                       {"vision_model.encoder.layers.", "text_model.encoder.layers."},
                       {transformers_block, transformers_block}},
    [CONFIG_CHINESE_CLIP] = {chinese_clip_once,
                             {"vision_model.encoder.layers.", "text_model.encoder.layer."},
                             {transformers_block, bert_block}},
    [CONFIG_OPEN_CLIP] = {open_clip_once,
                          {"visual.transformer.resblocks.", "transformer.resblocks."},
                          {open_clip_block, open_clip_block}},
    [CONFIG_OPEN_CLIP_CUSTOM] = {open_clip_custom_once,
                                 {"visual.transformer.resblocks.", "text.transformer.resblocks."},
                                 {open_clip_block, open_clip_block}},
    [CONFIG_OPEN_CLIP_TIMM] = {open_clip_timm_once,
                               {"visual.trunk.blocks.", "text.transformer.resblocks."},
                               {timm_block, open_clip_block}},
};

/* A limoe-2 of one tower has limoe-1's names. */
static const struct format *format_of(const struct config *config) {
    return &formats[config->format == CONFIG_LIMOE_2 && config->towers == 1 ? CONFIG_LIMOE_1
                                                                            : config->format];
}

const struct names_entry *names_of(const struct config *config, enum layout_id id,
                                   enum limoe_modality modality) {
    const struct format *format = format_of(config);
    const bool linear = config->text.projection_bias && (config->format == CONFIG_OPEN_CLIP_CUSTOM ||
                                                         config->format == CONFIG_OPEN_CLIP_TIMM);
    if (linear && id == LAYOUT_TEXT_PROJ_WEIGHT)
        return &open_clip_linear;
    if (linear && id == LAYOUT_TEXT_PROJ_BIAS)
        return &open_clip_linear_bias;
    if (id >= LAYOUT_TOWERS)
        return &limoe_decoder[id];
    return id >= LAYOUT_LN1_WEIGHT ? &format->block[modality][id] : &format->once[id];
}

void names_prefix(const struct config *config, uint32_t block, char *to, size_t size) {
    const enum limoe_modality tower = config_block_tower(config, block);
    snprintf(to, size, "%s%u.", format_of(config)->prefix[tower], block - config_first_block(config, tower));
}

const char *names_bare(const struct config *config, const char *name) {
    static const char *const own[] = {"vision_model.", "text_model."};
    const enum limoe_modality modality = config_has(config, LIMOE_IMAGE) ? LIMOE_IMAGE : LIMOE_TEXT;
    const size_t length = strlen(own[modality]);
    const bool alone =
        (config->format == CONFIG_CLIP || config->format == CONFIG_SIGLIP) && !config_has_scores(config);
    return alone && strncmp(name, own[modality], length) == 0 ? name + length : NULL;
}

static bool ends_with(const char *name, const char *end) {
    const size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

bool names_ignored(const struct config *config, const char *name) {
    static const char pooler[] =
        "text_model.pooler."; /* BERT's own, which no embedding of a CLIP is made by */
    if (config->format < CONFIG_CLIP || config->format >= CONFIG_OPEN_CLIP)
        return false;
    if (config->format == CONFIG_CHINESE_CLIP && strncmp(name, pooler, strlen(pooler)) == 0)
        return true;
    return ends_with(name, ".embeddings.position_ids"); /* 0, 1, 2, … in older files */
}
