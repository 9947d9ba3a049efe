/* layout.h - every tensor that a model of a given config has, and where its checkpoint keeps it.
 *
 * The one place that knows: loading, inspecting and counting parameters all ask here. A tensor is as the forward
 * pass wants it: torch layout, [out, in]; q, k and v as one; of a patch row, column, channel. A checkpoint may keep
 * it under another name, in parts, or in another form (names.h); weights.c brings it back.
 *
 * d = the tower's width, m = its mlp, h = its heads, p = patch, E = experts. Blocks are counted through both towers
 * (config.h). */
#ifndef LIMOE_MODEL_CHECKPOINT_LAYOUT_H
#define LIMOE_MODEL_CHECKPOINT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/names.h"
#include "model/checkpoint/safetensors.h"

struct layout_tensor {
    char name[96]; /* as in the checkpoint: "blocks.3.moe.fc1.weight"; of several parts, the first */
    uint32_t rank; /* 0 to 3 */
    uint64_t shape[3];
    uint64_t elements;
    /* the elements that one token meets on its way to an embedding: elements, but top_k experts' share of an expert stack, and
     * none of the decoder's */
    uint64_t active;
};

#define LAYOUT_SCALE ".scale"

/* Where a tensor lies in a checkpoint: parts that follow each other by rows, all of one dtype. A part that is I8 has
 * a scale for each of its rows, its output channels: "NAME.scale", F32 [rows], of a stack of experts
 * [E, rows]. */
struct layout_source {
    enum names_form form;
    uint32_t parts;
    const struct tensor *part[NAMES_PARTS], *scale[NAMES_PARTS];
    uint64_t scales;   /* of all parts together; 0: they are fractions */
    uint64_t shape[3]; /* of the whole, as in layout_tensor */
    uint32_t rank;
    uint64_t elements;
    size_t bytes;
};

/* Whether `id` is a tensor of a tower's block, not of the whole model, nor the decoder's. */
bool layout_per_block(enum layout_id id);

/* How many blocks may hold it: the towers', or the decoder's, which are counted by themselves; 1: it stands once. */
uint32_t layout_blocks(const struct config *config, enum layout_id id);

/* Whether it is a matrix or a stack of them that is packed as it lies. The weight of pooling's q, k and v is not: q's
 * part is multiplied out in float32. */
bool layout_is_matrix(enum layout_id id);

/* Whether text.token is int8 where matrices are. In 16 bits it costs no accuracy, and is so in models of which it is a
 * sixth or less: all weights then take about 0.3 of float32's bytes at most, as they do where a larger table is int8. */
bool layout_table_is_int8(const struct config *config);

/* Whether it is I8 in a quantised checkpoint: what is packed, and such a table. */
bool layout_may_be_int8(const struct config *config, enum layout_id id);

/* The tensor `id` of block `block` (ignored where it stands once). False, and *out untouched, when a
 * model of this config has no such tensor: an MLP in a MoE block, a query norm without "qk_norm". */
bool layout_expected(const struct config *config, enum layout_id id, uint32_t block,
                     struct layout_tensor *out);

/* The same tensor in a checkpoint, its shape and dtype (F32, BF16, F16, or I8 with scales) checked. Asking for one that the
 * config does not call for is LIMOE_INTERNAL. */
enum limoe_status layout_find(const struct config *config, enum layout_id id, uint32_t block,
                              const struct safetensors *st, struct layout_source *out,
                              struct limoe_error *err);

/* The bytes that the tensor takes where it is not int8: in the checkpoint's dtype, or, of I8, in float32; 0 where the
 * config calls for none. */
enum limoe_status layout_float_bytes(const struct config *config, enum layout_id id,
                                     const struct safetensors *st, uint64_t *bytes, struct limoe_error *err);

/* Whether a checkpoint holds every tensor that the config calls for, and no other but those that are known to be of
 * no use (names_ignored): one too many means that the config leaves something out ("qk_norm", a block), and the
 * answers would be silently wrong. */
enum limoe_status layout_check(const struct config *config, const struct safetensors *st,
                               struct limoe_error *err);

/* Parameters of the whole model, and those that serve one token: all but the experts it is not sent to, and the decoder. Both
 * modalities' embeddings, projections and towers count in full, as in the published sizes (H/14: 5.55 B and 675 M).
 */
void layout_count(const struct config *config, uint64_t *total, uint64_t *active);

#endif
