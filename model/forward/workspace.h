/* workspace.h - the activations of one step, in the backend's memory. */
#ifndef LIMOE_MODEL_FORWARD_WORKSPACE_H
#define LIMOE_MODEL_FORWARD_WORKSPACE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "model/checkpoint/config.h"

struct workspace {
    /* [rows, …]; d = width, m = mlp, K = top_k, E = experts; of two towers the larger */
    float *x;      /* [rows, d], the residual stream */
    void *h;       /* act [rows, d], a sublayer's normalised input; attention's output */
    float *h32;    /* [rows, d], the same in float32 for the router; h itself where act is float32 */
    void *patches; /* act [rows, patch patch 3] */
    void *qkv;     /* act [rows, 3 d] */
    void *hidden;  /* act [rows K, m] ([rows, m] in a dense block) */
    void *slots;   /* act [rows K, d], rows as dispatched to experts */

    /* Only in a model with MoE blocks. Decisions are those of all layers, layer l's from row l * step's rows
     * on. */
    float *logits;   /* [rows, E], of one layer */
    int32_t *expert; /* [layers, rows, K] */
    float *gate;     /* [layers, rows, K] */
    float *entropy;  /* [layers, rows], of the gate; set only for who asks */
    struct kernels_plan plan;
    /* Ordinary memory, for who asks about routing, and for capacity. */
    int32_t *host_expert; /* [layers, rows, K] */
    int32_t *host_kept;   /* [layers, rows, K], -1 where capacity dropped it; set only with "moe.capacity" */
    float *host_gate;     /* [layers, rows, K] */
    float *host_entropy;  /* [layers, rows] */

    /* [sequences, …] */
    void *pooled;    /* act [sequences, d] */
    float *pooled32; /* the same in float32, before its norm */
    float *z;        /* [sequences, embed] */
    float *host_z;

    /* [rows, …], only once a step has had tails: the trunk's x and h while tails go on in x and h. */
    float *x_aside;
    void *h_aside;

    void *arena; /* what patches, qkv, hidden and slots share */
    size_t rows, sequences;
};

/* Makes room for a step of `rows` rows in `sequences` sequences, keeping what is already large enough;
 * contents are undefined afterwards. LIMOE_NO_MEMORY leaves the workspace empty. */
enum limoe_status workspace_reserve(struct workspace *w, struct kernels *k, const struct config *config,
                                    size_t rows, size_t sequences, struct limoe_error *err);

/* The same for the trunk's rows, of which a step with tails keeps some apart. */
enum limoe_status workspace_reserve_aside(struct workspace *w, struct kernels *k, const struct config *config,
                                          struct limoe_error *err);
/* x and h change places with those aside. */
void workspace_set_aside(struct workspace *w);

void workspace_release(struct workspace *w, struct kernels *k); /* an empty one is fine */

#endif
