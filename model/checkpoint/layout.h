/* layout.h - which tensors a checkpoint of format "limoe-1" holds, by name and shape.
 *
 * The one place that knows: loading, inspecting and counting parameters all ask here. Weight matrices are
 * torch layout, [out, in]; d = width, m = mlp, p = patch, E = experts, h = heads. */
#ifndef LIMOE_MODEL_CHECKPOINT_LAYOUT_H
#define LIMOE_MODEL_CHECKPOINT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"

enum layout_id {
    /* Once in a model. */
    LAYOUT_IMAGE_PATCH_WEIGHT, /* [d, p p 3] */
    LAYOUT_IMAGE_PATCH_BIAS,   /* [d] */
    LAYOUT_IMAGE_POS,          /* [image tokens, d] */
    LAYOUT_IMAGE_PROJ_WEIGHT,  /* [embed, d] */
    LAYOUT_TEXT_TOKEN,         /* [vocab, d] */
    LAYOUT_TEXT_POS,           /* [length, d] */
    LAYOUT_TEXT_PROJ_WEIGHT,   /* [embed, d] */
    LAYOUT_LN_WEIGHT,          /* [d], the final norm, before pooling */
    LAYOUT_LN_BIAS,            /* [d] */
    LAYOUT_LOGIT_SCALE,        /* [] */

    /* In every block. */
    LAYOUT_LN1_WEIGHT,      /* [d] */
    LAYOUT_LN1_BIAS,        /* [d] */
    LAYOUT_ATTN_QKV_WEIGHT, /* [3 d, d] */
    LAYOUT_ATTN_QKV_BIAS,   /* [3 d] */
    LAYOUT_ATTN_OUT_WEIGHT, /* [d, d] */
    LAYOUT_ATTN_OUT_BIAS,   /* [d] */
    LAYOUT_LN2_WEIGHT,      /* [d] */
    LAYOUT_LN2_BIAS,        /* [d] */

    /* In every block, with "qk_norm". */
    LAYOUT_ATTN_Q_NORM_WEIGHT, /* [d / h] */
    LAYOUT_ATTN_Q_NORM_BIAS,   /* [d / h] */
    LAYOUT_ATTN_K_NORM_WEIGHT, /* [d / h] */
    LAYOUT_ATTN_K_NORM_BIAS,   /* [d / h] */

    /* In dense blocks. */
    LAYOUT_MLP_FC1_WEIGHT, /* [m, d] */
    LAYOUT_MLP_FC1_BIAS,   /* [m] */
    LAYOUT_MLP_FC2_WEIGHT, /* [d, m] */
    LAYOUT_MLP_FC2_BIAS,   /* [d] */

    /* In MoE blocks. */
    LAYOUT_MOE_ROUTER_WEIGHT, /* [E, d] */
    LAYOUT_MOE_FC1_WEIGHT,    /* [E, m, d] */
    LAYOUT_MOE_FC1_BIAS,      /* [E, m] */
    LAYOUT_MOE_FC2_WEIGHT,    /* [E, d, m] */
    LAYOUT_MOE_FC2_BIAS,      /* [E, d] */

    LAYOUT_COUNT
};

struct layout_tensor {
    char name[48]; /* as in the checkpoint: "blocks.3.moe.fc1.weight" */
    uint32_t rank; /* 0 to 3 */
    uint64_t shape[3];
    uint64_t elements;
    /* the elements that one token meets: elements, but top_k experts' share of an expert stack */
    uint64_t active;
};

/* Whether `id` is a tensor of a block, not of the whole model. */
bool layout_per_block(enum layout_id id);

/* The tensor `id` of block `block` (ignored where !layout_per_block(id)). False, and *out untouched, when a
 * model of this config has no such tensor: an MLP in a MoE block, a query norm without "qk_norm". */
bool layout_expected(const struct config *config, enum layout_id id, uint32_t block,
                     struct layout_tensor *out);

/* The same tensor in a checkpoint, its shape and dtype (F32, BF16 or F16) checked. Asking for one that the
 * config does not call for is LIMOE_INTERNAL. */
enum limoe_status layout_find(const struct config *config, enum layout_id id, uint32_t block,
                              const struct safetensors *st, const struct tensor **out,
                              struct limoe_error *err);

/* Whether a checkpoint holds every tensor that the config calls for, and no other: one too many means that
 * the config leaves something out ("qk_norm", a block), and the answers would be silently wrong. */
enum limoe_status layout_check(const struct config *config, const struct safetensors *st,
                               struct limoe_error *err);

/* Parameters of the whole model, and those that serve one token: all but the experts it is not sent to. Both
 * modalities' embeddings and projections count in full, as in the published sizes (H/14: 5.55 B and 675 M).
 */
void layout_count(const struct config *config, uint64_t *total, uint64_t *active);

#endif
