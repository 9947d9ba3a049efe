/* layers.h - what a tail is made of, for the files that compute it (tail.h is for others).
 *
 * d = width, m = mlp, K = top_k, E = experts; rows and sequences are the batch's. All is float32 in the host's memory. */
#ifndef LIMOE_MODEL_TUNING_LAYERS_H
#define LIMOE_MODEL_TUNING_LAYERS_H

#include "kernels/backward.h"
#include "model/forward/activation.h"
#include "model/tuning/parameters.h"
#include "model/tuning/tail.h"

struct tail_norm {
    struct backward_norm norm;
    const float *bias;
};

struct tail_linear {
    struct backward_matrix matrix;
    const float *bias;             /* NULL: none */
    struct kernels_matrix *packed; /* of the tail */
};

/* What a block's forward keeps for its backward. */
struct tail_kept {
    float *x;      /* [rows, d], what entered it */
    float *qkv;    /* [rows, 3 d] */
    float *mixed;  /* [rows, d], attention's output */
    float *middle; /* [rows, d], x + Attention(LN(x)) */
    float *sums;   /* [rows K, m], before the activation; of a dense block [rows, m] */
    /* Of experts: */
    float *answer; /* [rows K, d] */
    float *logits; /* [rows, E] */
    float *gate;   /* [rows, K] */
    int32_t *expert;
    struct kernels_plan plan;
};

struct tail_block {
    struct tail_norm ln1, ln2;
    struct tail_linear qkv, out, fc1, fc2;
    struct backward_qk_norm qk_norm;
    struct backward_matrix router;
    bool moe;
    struct tail_kept kept;
};

/* SigLIP's head. */
struct tail_head {
    const float *probe;       /* [d] */
    float *dprobe;            /* [d] */
    struct tail_linear q, kv; /* parts of one tensor */
    struct tail_linear out, fc1, fc2;
    struct tail_norm ln;
};

/* What a batch passes through; a part that two uses share is dead between them. */
struct tail_scratch {
    float *x, *dx;  /* [rows, d]: the last block's output; the residual stream's gradient */
    float *h, *dh;  /* [rows, d]: of a sublayer's input */
    float *dqkv;    /* [rows, 3 d] */
    float *hidden;  /* [rows K, m] */
    float *dhidden; /* the same */
    float *slots;   /* [rows K, d] */
    float *dslots;  /* the same */
    float *dgate;   /* [rows, K] */
    float *dlogits; /* [rows, E] */
    /* [sequences, …] */
    float *pooled;  /* d: before its norm where that comes late, else what is projected */
    float *normed;  /* d */
    float *dpooled; /* d */
    float *z;       /* embed, before it becomes a unit vector */
    float *dz;      /* embed */
    float *head_mixed, *head_sums, *head_z, *head_dmixed; /* d, m, d, d; of a head alone */
    float *query, *dquery;                                /* [d], of a head alone */
    float *head_kv;                                       /* [rows, 2 d], of a head alone */
};

struct tail {
    const struct config *config;
    const struct config_tower *tower;
    enum limoe_modality modality;
    struct kernels *k;
    struct parameters parameters;
    struct tail_block *block; /* [blocks] */
    uint32_t blocks;
    bool any_moe;
    struct tail_norm ln;
    struct tail_linear projection[LIMOE_MODALITIES]; /* not packed: there is none */
    struct tail_head head;
    float *memory; /* that of what is kept and of scratch */
    size_t rows_room, sequences_room;
    struct tail_scratch scratch;
    struct tail_batch batch; /* the last forward's */
};

static inline size_t tail_sequences(const struct tail *t) {
    return t->batch.images + t->batch.texts;
}

static inline size_t tail_rows(const struct tail *t) {
    return t->batch.start[tail_sequences(t)];
}

static inline enum kernels_epilogue tail_activation(const struct tail *t) {
    return epilogue_of(t->tower);
}

/* tail_memory.c: makes room for a batch. */
enum limoe_status tail_reserve(struct tail *t, size_t rows, size_t sequences, struct limoe_error *err);

/* tail_blocks.c: of one block; `to` gets its output. Backward turns scratch.dx from the output's gradient to the input's. */
void tail_block_forward(struct tail *t, struct tail_block *b, float *to);
void tail_block_backward(struct tail *t, struct tail_block *b);

/* tail_answer.c: from scratch.x to z [sequences, embed], and from dz to scratch.dx. */
void tail_answer_forward(struct tail *t, float *z);
void tail_answer_backward(struct tail *t, const float *dz);

#endif
