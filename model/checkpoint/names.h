/* names.h - the tensors of a model, and what each is called in a checkpoint of a given format.
 *
 * The order is that of layout.c's and of what digests are kept in. A bias comes right after its weight. */
#ifndef LIMOE_MODEL_CHECKPOINT_NAMES_H
#define LIMOE_MODEL_CHECKPOINT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/checkpoint/config.h"

enum layout_id {
    /* Once in a model. */
    LAYOUT_IMAGE_PATCH_WEIGHT, /* [d, p p 3] */
    LAYOUT_IMAGE_PATCH_BIAS,   /* [d], with image.patch_bias */
    LAYOUT_IMAGE_CLASS,        /* [d], with image.class_token */
    LAYOUT_IMAGE_POS,          /* [image tokens, d] */
    LAYOUT_IMAGE_PRE_WEIGHT,   /* [d], the norm of the embedded input, with pre_norm */
    LAYOUT_IMAGE_PRE_BIAS,     /* [d] */
    LAYOUT_IMAGE_PROJ_WEIGHT,  /* [embed, d], with image.projection */
    LAYOUT_TEXT_TOKEN,         /* [vocab, d] */
    LAYOUT_TEXT_POS,           /* [length, d] */
    LAYOUT_TEXT_TYPE,          /* [types, d], with text.types */
    LAYOUT_TEXT_PRE_WEIGHT,    /* [d], as the pictures' */
    LAYOUT_TEXT_PRE_BIAS,      /* [d] */
    LAYOUT_TEXT_PROJ_WEIGHT,   /* [embed, d], with text.projection */
    LAYOUT_TEXT_PROJ_BIAS,     /* [embed], with text.projection_bias */
    LAYOUT_LN_WEIGHT,          /* [d], the final norm of one tower for both */
    LAYOUT_LN_BIAS,            /* [d] */
    LAYOUT_IMAGE_LN_WEIGHT, /* [d], of the image tower, where each modality has its own; not with post_norm */
    LAYOUT_IMAGE_LN_BIAS,   /* [d] */
    LAYOUT_TEXT_LN_WEIGHT,  /* [d], of the text tower */
    LAYOUT_TEXT_LN_BIAS,    /* [d] */
    LAYOUT_LOGIT_SCALE,     /* [], with both modalities, as the next */
    LAYOUT_LOGIT_BIAS,      /* [], with sigmoid scores */

    /* Once, of the image tower's head where it pools by attention. */
    LAYOUT_POOL_PROBE,      /* [d] */
    LAYOUT_POOL_QKV_WEIGHT, /* [3 d, d] */
    LAYOUT_POOL_QKV_BIAS,   /* [3 d] */
    LAYOUT_POOL_OUT_WEIGHT, /* [d, d] */
    LAYOUT_POOL_OUT_BIAS,   /* [d] */
    LAYOUT_POOL_LN_WEIGHT,  /* [d] */
    LAYOUT_POOL_LN_BIAS,    /* [d] */
    LAYOUT_POOL_FC1_WEIGHT, /* [m, d] */
    LAYOUT_POOL_FC1_BIAS,   /* [m] */
    LAYOUT_POOL_FC2_WEIGHT, /* [d, m] */
    LAYOUT_POOL_FC2_BIAS,   /* [d] */

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

    /* Of the decoder, d its width, t the image tower's: once. What stands before is the towers'. */
    LAYOUT_DECODER_TOKEN,          /* [vocab, d], for what it reads and what it writes */
    LAYOUT_DECODER_POS,            /* [length, d] */
    LAYOUT_DECODER_ROWS_LN_WEIGHT, /* [t], of the picture's rows behind the tower's last block */
    LAYOUT_DECODER_ROWS_LN_BIAS,   /* [t] */
    LAYOUT_DECODER_LN_WEIGHT,      /* [d], behind its last block */
    LAYOUT_DECODER_LN_BIAS,        /* [d] */

    /* In each of its blocks, which are counted by themselves. */
    LAYOUT_DECODER_LN1_WEIGHT,       /* [d] */
    LAYOUT_DECODER_LN1_BIAS,         /* [d] */
    LAYOUT_DECODER_ATTN_Q_WEIGHT,    /* [d, d] */
    LAYOUT_DECODER_ATTN_Q_BIAS,      /* [d] */
    LAYOUT_DECODER_ATTN_KV_WEIGHT,   /* [2 d, d] */
    LAYOUT_DECODER_ATTN_KV_BIAS,     /* [2 d] */
    LAYOUT_DECODER_ATTN_OUT_WEIGHT,  /* [d, d] */
    LAYOUT_DECODER_ATTN_OUT_BIAS,    /* [d] */
    LAYOUT_DECODER_LN2_WEIGHT,       /* [d] */
    LAYOUT_DECODER_LN2_BIAS,         /* [d] */
    LAYOUT_DECODER_CROSS_Q_WEIGHT,   /* [d, d] */
    LAYOUT_DECODER_CROSS_Q_BIAS,     /* [d] */
    LAYOUT_DECODER_CROSS_KV_WEIGHT,  /* [2 d, t] */
    LAYOUT_DECODER_CROSS_KV_BIAS,    /* [2 d] */
    LAYOUT_DECODER_CROSS_OUT_WEIGHT, /* [d, d] */
    LAYOUT_DECODER_CROSS_OUT_BIAS,   /* [d] */
    LAYOUT_DECODER_LN3_WEIGHT,       /* [d] */
    LAYOUT_DECODER_LN3_BIAS,         /* [d] */
    LAYOUT_DECODER_FC1_WEIGHT,       /* [m, d] */
    LAYOUT_DECODER_FC1_BIAS,         /* [m] */
    LAYOUT_DECODER_FC2_WEIGHT,       /* [d, m] */
    LAYOUT_DECODER_FC2_BIAS,         /* [d] */

    LAYOUT_COUNT,
    LAYOUT_TOWERS = LAYOUT_DECODER_TOKEN /* those before it are the towers' */
};

/* How a checkpoint's tensor differs from what layout.h has. */
enum names_form {
    NAMES_PLAIN,
    NAMES_TRANSPOSED,     /* [in, out] */
    NAMES_CHANNELS_FIRST, /* a convolution's [d, 3, p, p] */
    NAMES_LEADING_ONE,    /* [1, …] */
    NAMES_LEADING_ONES,   /* [1, 1, …] */
    NAMES_SCALAR,         /* [] or [1] */
};

enum { NAMES_PARTS = 3 };

struct names_entry {
    const char
        *part[NAMES_PARTS]; /* after the block's prefix; the first is NULL: the format has no such tensor */
    uint8_t share[NAMES_PARTS]; /* of the rows; all 0: parts are equal */
    enum names_form form;
};

/* What a tensor is called; `modality` is the block's tower's, and any for what is not in a block. Never NULL. */
const struct names_entry *names_of(const struct config *config, enum layout_id id,
                                   enum limoe_modality modality);

/* What the names of a tower's block (counted through) begin with: "blocks.3.". */
void names_prefix(const struct config *config, uint32_t block, char *to, size_t size);

/* The same name without the tower's, as transformers 5 writes a tower that is saved alone and without a projection:
 * "encoder.layers.0.…" for "vision_model.encoder.layers.0.…". NULL: such a model has no such name. */
const char *names_bare(const struct config *config, const char *name);

/* Whether such checkpoints may hold a tensor of this name that answers do not depend on. */
bool names_ignored(const struct config *config, const char *name);

#endif
