/* weights.h - a checkpoint's tensors, packed for a backend and ready to compute with. */
#ifndef LIMOE_MODEL_FORWARD_WEIGHTS_H
#define LIMOE_MODEL_FORWARD_WEIGHTS_H

#include <stdbool.h>

#include "experts/mlp.h"
#include "experts/placement.h"
#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/digests.h"
#include "model/checkpoint/safetensors.h"
#include "model/forward/tuned.h"
#include "router/gate.h"

struct weights_norm {
    float *weight, *bias; /* [width] */
};

struct weights_block {
    struct weights_norm ln1, ln2;
    struct kernels_matrix *qkv;         /* [3 width, width] */
    struct kernels_matrix *out;         /* [width, width] */
    struct weights_norm q_norm, k_norm; /* [width / heads], with "qk_norm" */
    /* A dense block's MLP is fc1 and fc2; a MoE block's are stacks of them, one to an expert that is held
     * here, and a router. */
    bool moe;
    uint32_t held;              /* experts here; 0: there is no stack */
    struct kernels_matrix *fc1; /* [mlp, width], or held of them */
    struct kernels_matrix *fc2; /* [width, mlp], or held of them */
    float *router;              /* [experts, width] */
};

/* Pooling by attention: a query that is the same for every picture, then an MLP with a residual. */
struct weights_pool {
    float *query;              /* [width]: the probe, projected */
    struct kernels_matrix *kv; /* [2 width, width] */
    struct kernels_matrix *out;
    struct weights_norm ln;
    struct kernels_matrix *fc1, *fc2;
};

/* Attention of the decoder's rows to themselves or to a picture's. */
struct weights_attention {
    struct kernels_matrix *q;   /* [width, width] */
    struct kernels_matrix *kv;  /* [2 width, the width of the rows that are attended to] */
    struct kernels_matrix *out; /* [width, width] */
};

struct weights_decoder_block {
    struct weights_norm ln1, ln2, ln3; /* before each of what follows */
    struct weights_attention self, cross;
    struct kernels_matrix *fc1, *fc2;
};

struct weights_decoder {
    struct kernels_table *token;         /* [vocab, width] */
    struct kernels_matrix *head;         /* the same once more, to multiply by */
    float *pos;                          /* [length, width] */
    struct weights_norm rows_ln;         /* of a picture's rows, before all blocks */
    struct weights_decoder_block *block; /* [blocks] */
    uint32_t blocks;
    struct weights_norm ln; /* the final one */
};

/* What a config does not call for is NULL. */
struct weights {
    struct {
        struct kernels_matrix *patch; /* [width, patch patch 3] */
        float *pos;                   /* [image tokens, width]; the class token's row holds the token, too */
        struct weights_norm pre;
        struct weights_pool pool;
        struct kernels_matrix *proj; /* [embed, width] */
    } image;
    struct {
        struct kernels_table *token; /* [vocab, width] */
        float *pos;                  /* [length, width]; each row holds the first token type, too */
        struct weights_norm pre;
        struct kernels_matrix *proj; /* [embed, width] */
    } text;
    struct weights_block *block; /* [blocks], of both towers (config.h) */
    uint32_t blocks;
    struct weights_norm ln[LIMOE_MODALITIES]; /* the final ones; of one tower for both the first */
    struct weights_decoder decoder;
};

/* Packs what `rank` needs of a checkpoint that layout_check has passed: the dense part, and the experts that
 * it holds; others are not read. Notes in `digests` what was. Nothing of st is needed afterwards. On failure
 * *weights is freed and empty. */
enum limoe_status weights_load(const struct config *config, const struct safetensors *st, struct kernels *k,
                               const struct placement *placement, uint32_t rank, struct digests *digests,
                               struct weights *weights, struct limoe_error *err);
void weights_free(struct kernels *k, struct weights *weights); /* an empty one is fine */

/* The same weights as an adapter makes them: what it does not change is the base's, borrowed, which must outlive them;
 * what it changes is read again, of base and adapter, and packed. Digests as above, of what was read of the base. One
 * rank, which holds all experts. */
enum limoe_status weights_load_tail(const struct weights *base, const struct tuned *tuned, struct kernels *k,
                                    const struct placement *placement, struct digests *digests,
                                    struct weights *weights, struct limoe_error *err);
void weights_free_tail(struct kernels *k, const struct weights *base, struct weights *weights);

#endif
