/* staging.h - a checkpoint's tensors, one at a time in ordinary memory, in the form that packing takes.
 *
 * Tensors, of a stack of experts this rank's, are read into a staging buffer, and packing copies them out of it: opening
 * a model holds what is packed so far and one tensor, and an open model needs its files no more. */
#ifndef LIMOE_MODEL_FORWARD_STAGING_H
#define LIMOE_MODEL_FORWARD_STAGING_H

#include <stddef.h>
#include <stdint.h>

#include "experts/placement.h"
#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/digests.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/forward/tuned.h"

/* A linear's weight and bias are packed together, so that two tensors are staged at a time; the spare one is where a
 * tensor is brought to another form. An int8 weight has scales, and may have to become float32. Of what an adapter
 * changes, the base's tensor is staged apart. */
enum staging_slot {
    STAGING_WEIGHT,
    STAGING_BIAS,
    STAGING_SPARE,
    STAGING_SCALES,
    STAGING_FLOATS,
    STAGING_BASE,
    STAGING_SLOTS
};

/* Starts with the borrowed fields set and the rest 0; staging_free at the end. */
struct staging {
    const struct config *config;
    const struct safetensors *st;
    const struct placement *placement;
    uint32_t rank;
    bool int8;                 /* int8 stays so; else it becomes float32 here */
    struct digests *digests;   /* notes what is read, of the base */
    const struct tuned *tuned; /* what becomes of it; NULL: it stays */
    struct limoe_error *err;
    struct staging_buffer {
        void *bytes;
        size_t room;
    } buffer[STAGING_SLOTS];
    struct kernels_int8 rows; /* of an int8 weight: its values and scales, in their buffers */
};

/* The buffers at their full size from the start: grown tensor by tensor, they would leave holes. */
enum limoe_status staging_reserve(struct staging *s);
void staging_free(struct staging *s);

/* Reads a tensor of the layout, which layout_check has passed; *host is good until the slot's next. */
enum limoe_status staging_read(struct staging *s, enum staging_slot slot, enum layout_id id, uint32_t block,
                               struct layout_source *t, struct kernels_tensor *host);

/* The same of a stack of experts: the parts of those that the rank holds in MoE layer `layer`, ascending, end to
 * end. There are some. */
enum limoe_status staging_read_held(struct staging *s, enum staging_slot slot, enum layout_id id,
                                    uint32_t block, uint32_t layer, struct layout_source *t,
                                    struct kernels_tensor *host);

/* The same as float32, in memory of its own: *out [elements] is freed with free(). */
enum limoe_status staging_read_floats(struct staging *s, enum layout_id id, float **out);

#endif
