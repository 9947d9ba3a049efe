/* staging.c - reads tensors and turns them round. The caller owns the staging and the checkpoint; one thread. */
#include "model/forward/staging.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/number.h"

static const enum kernels_storage storage[] = {[TENSOR_F32] = KERNELS_F32,
                                               [TENSOR_BF16] = KERNELS_BF16,
                                               [TENSOR_F16] = KERNELS_F16,
                                               [TENSOR_I8] = KERNELS_I8};

static enum limoe_status reserve(struct staging *s, enum staging_slot slot, size_t bytes) {
    struct staging_buffer *b = &s->buffer[slot];
    if (b->bytes && bytes <= b->room)
        return LIMOE_OK;
    free(b->bytes);
    b->bytes = malloc(bytes ? bytes : 1);
    b->room = b->bytes ? bytes : 0;
    return b->bytes ? LIMOE_OK
                    : limoe_fail(s->err, LIMOE_NO_MEMORY, "no memory to read a tensor of %zu bytes", bytes);
}

/* Stacks of experts alone have three dimensions; of them the rank reads its own. */
enum limoe_status staging_reserve(struct staging *s) {
    size_t largest = 0, turned = 0;
    uint32_t held = 0;
    for (uint32_t layer = 0; layer < s->placement->shape.layers; layer++) {
        const uint32_t here = placement_held(s->placement, s->rank, layer);
        held = here > held ? here : held;
    }
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        const uint32_t blocks = layout_blocks(s->config, (enum layout_id)id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor expected;
            struct layout_source t;
            if (!layout_expected(s->config, (enum layout_id)id, block, &expected))
                continue;
            enum limoe_status status = layout_find(s->config, (enum layout_id)id, block, s->st, &t, s->err);
            if (status)
                return status;
            const size_t bytes = t.rank == 3 ? t.bytes / t.shape[0] * held : t.bytes;
            largest = bytes > largest ? bytes : largest;
            if ((t.form == NAMES_TRANSPOSED || t.form == NAMES_CHANNELS_FIRST) && bytes > turned)
                turned = bytes;
        }
    }
    /* The two change places as tensors are turned. */
    enum limoe_status status = reserve(s, STAGING_WEIGHT, largest);
    return status || !turned ? status : reserve(s, STAGING_SPARE, largest);
}

void staging_free(struct staging *s) {
    for (int slot = 0; slot < STAGING_SLOTS; slot++)
        free(s->buffer[slot].bytes);
}

/* to[row, column] = from[column, row], elements of `size` bytes. */
static void transpose(const char *from, char *to, size_t rows, size_t columns, size_t size) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            memcpy(to + (r * columns + c) * size, from + (c * rows + r) * size, size);
}

/* Of each output's values, channel, row, column become row, column, channel: a transposition of [3, p p]. */
static void channels_last(const char *from, char *to, size_t outs, size_t values, size_t size) {
    for (size_t o = 0; o < outs; o++)
        transpose(from + o * values * size, to + o * values * size, values / 3, 3, size);
}

/* Brings what the slot holds to the layout's form, by way of the spare buffer, with which it changes places. */
static enum limoe_status reform(struct staging *s, enum staging_slot slot, const struct layout_source *t) {
    if (t->form != NAMES_TRANSPOSED && t->form != NAMES_CHANNELS_FIRST)
        return LIMOE_OK;
    enum limoe_status status = reserve(s, STAGING_SPARE, t->bytes);
    if (status)
        return status;
    const struct staging_buffer from = s->buffer[slot], to = s->buffer[STAGING_SPARE];
    const size_t size = t->bytes / t->elements;
    if (t->form == NAMES_TRANSPOSED)
        transpose(from.bytes, to.bytes, t->shape[0], t->shape[1], size);
    else
        channels_last(from.bytes, to.bytes, t->shape[0], t->shape[1], size);
    s->buffer[slot] = to;
    s->buffer[STAGING_SPARE] = from;
    return LIMOE_OK;
}

/* ---- int8 */

/* Products with scales that are no numbers would be none either, and are not compared with anything. */
static enum limoe_status check_scales(const struct staging *s, const struct tensor *t, const float *scale,
                                      size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(scale[i] >= 0 && scale[i] <= FLT_MAX))
            return limoe_fail(s->err, LIMOE_CORRUPT,
                              "%s: tensor \"%s\": scale %zu is %g; a finite number from 0 on is accepted",
                              safetensors_name(s->st), t->name, i, (double)scale[i]);
    return LIMOE_OK;
}

/* Elements first .. first + n - 1 of a tensor of scales, to `to`. */
static enum limoe_status read_scales(struct staging *s, const struct tensor *t, size_t first, size_t n,
                                     float *to) {
    enum limoe_status status =
        safetensors_read_part(s->st, t, first * sizeof *to, n * sizeof *to, to, s->err);
    return status ? status : check_scales(s, t, to, n);
}

/* What the slot holds, rows of `row` int8 whose scales have been read, as kernels take it. */
static enum limoe_status int8_tensor(struct staging *s, enum staging_slot slot, size_t row, size_t elements,
                                     struct kernels_tensor *host) {
    s->rows = (struct kernels_int8){
        .value = s->buffer[slot].bytes, .scale = s->buffer[STAGING_SCALES].bytes, .row = row};
    *host = (struct kernels_tensor){&s->rows, KERNELS_I8};
    if (s->int8)
        return LIMOE_OK;
    enum limoe_status status = reserve(s, STAGING_FLOATS, elements * sizeof(float));
    if (status)
        return status;
    tensor_read(*host, 0, elements, s->buffer[STAGING_FLOATS].bytes);
    *host = (struct kernels_tensor){s->buffer[STAGING_FLOATS].bytes, KERNELS_F32};
    return LIMOE_OK;
}

/* ---- adapters */

static bool is_tuned(const struct staging *s, enum layout_id id, uint32_t block) {
    return s->tuned && tuned_changes(s->tuned, id, block);
}

/* What the base's tensor, or of a stack the experts held[n], becomes: float32, in the slot. `base` has the same parts end
 * to end. */
static enum limoe_status tune(struct staging *s, enum staging_slot slot, struct kernels_tensor base,
                              struct layout_source *t, const uint32_t *held, uint32_t n,
                              struct kernels_tensor *host) {
    const uint32_t pieces = held ? n : t->parts;
    const size_t share = held ? t->elements / s->config->moe.experts : 0;
    const size_t elements = held ? share * n : t->elements;
    enum limoe_status status = reserve(s, slot, elements * sizeof(float));
    float *const to = s->buffer[slot].bytes;
    size_t at = 0;
    if (status || !to)
        return status;
    for (uint32_t i = 0; i < pieces && !status; i++) {
        const struct tensor *part = t->part[held ? 0 : i];
        const size_t count = held ? share : part->elements;
        tensor_read(base, at, count, to + at);
        status = tuned_mix(s->tuned, part, held ? held[i] * share : 0, count, to + at, s->err);
        at += count;
    }
    t->bytes = t->elements * sizeof(float);
    *host = (struct kernels_tensor){to, KERNELS_F32};
    return status;
}

/* ---- the interface */

/* The scales of all parts, end to end. */
static enum limoe_status read_all_scales(struct staging *s, enum layout_id id, uint32_t block,
                                         const struct layout_source *t) {
    enum limoe_status status = reserve(s, STAGING_SCALES, t->scales * sizeof(float));
    float *to = s->buffer[STAGING_SCALES].bytes;
    for (uint32_t i = 0; i < t->parts && !status; to += t->scale[i++]->elements)
        status = read_scales(s, t->scale[i], 0, t->scale[i]->elements, to);
    if (!status)
        digests_note_more(s->digests, id, block, 0, s->buffer[STAGING_SCALES].bytes,
                          t->scales * sizeof(float));
    return status;
}

/* What lies in the slot as it came from the checkpoint. */
static enum limoe_status read_as_stored(struct staging *s, enum staging_slot slot, enum layout_id id,
                                        uint32_t block, struct layout_source *t) {
    enum limoe_status status;
    if ((status = layout_find(s->config, id, block, s->st, t, s->err)) ||
        (status = reserve(s, slot, t->bytes)))
        return status;
    char *to = s->buffer[slot].bytes;
    for (uint32_t i = 0; i < t->parts; to += t->part[i++]->bytes)
        if ((status = safetensors_read(s->st, t->part[i], to, s->err)))
            return status;
    digests_note(s->digests, id, block, 0, t->part[0], s->buffer[slot].bytes, t->bytes);
    return t->scales ? read_all_scales(s, id, block, t) : LIMOE_OK;
}

enum limoe_status staging_read(struct staging *s, enum staging_slot slot, enum layout_id id, uint32_t block,
                               struct layout_source *t, struct kernels_tensor *host) {
    const bool tuned = is_tuned(s, id, block);
    const enum staging_slot stored = tuned ? STAGING_BASE : slot;
    enum limoe_status status = read_as_stored(s, stored, id, block, t);
    if (status)
        return status;
    struct kernels_tensor base = {s->buffer[stored].bytes, storage[t->part[0]->dtype]};
    if (tuned) {
        status = t->scales ? int8_tensor(s, stored, t->elements / t->scales, t->elements, &base) : LIMOE_OK;
        if (status || (status = tune(s, slot, base, t, NULL, 0, host)) || (status = reform(s, slot, t)))
            return status;
        host->host = s->buffer[slot].bytes;
        return LIMOE_OK;
    }
    if ((status = reform(s, slot, t)))
        return status;
    if (t->scales)
        return int8_tensor(s, slot, t->elements / t->scales, t->elements, host);
    base.host = s->buffer[slot].bytes;
    *host = base;
    return LIMOE_OK;
}

/* The experts that the rank holds, as they came, to the slot: held[*n]. */
static enum limoe_status read_held_as_stored(struct staging *s, enum staging_slot slot, enum layout_id id,
                                             uint32_t block, uint32_t layer, struct layout_source *t,
                                             uint32_t *held, uint32_t *n) {
    const uint32_t experts = s->config->moe.experts;
    enum limoe_status status;
    if ((status = layout_find(s->config, id, block, s->st, t, s->err)))
        return status;
    const uint32_t here = placement_held(s->placement, s->rank, layer);
    const size_t part = t->bytes / experts, scales = t->scales / experts;
    if ((status = reserve(s, slot, part * here)) ||
        (scales && (status = reserve(s, STAGING_SCALES, scales * here * sizeof(float)))))
        return status;
    char *to = s->buffer[slot].bytes;
    float *scale = s->buffer[STAGING_SCALES].bytes;
    *n = 0;
    for (uint32_t e = 0; e < experts; e++) {
        if (!placement_holds(s->placement, s->rank, layer, e))
            continue;
        if ((status = safetensors_read_part(s->st, t->part[0], e * part, part, to, s->err)))
            return status;
        digests_note(s->digests, id, block, e, t->part[0], to, part);
        to += part;
        held[(*n)++] = e;
        if (!scales)
            continue;
        if ((status = read_scales(s, t->scale[0], e * scales, scales, scale)))
            return status;
        digests_note_more(s->digests, id, block, e, scale, scales * sizeof *scale);
        scale += scales;
    }
    return LIMOE_OK;
}

enum limoe_status staging_read_held(struct staging *s, enum staging_slot slot, enum layout_id id,
                                    uint32_t block, uint32_t layer, struct layout_source *t,
                                    struct kernels_tensor *host) {
    const bool tuned = is_tuned(s, id, block);
    const enum staging_slot stored = tuned ? STAGING_BASE : slot;
    uint32_t held[CONFIG_MAX_EXPERTS], n = 0;
    *t = (struct layout_source){0};
    enum limoe_status status = read_held_as_stored(s, stored, id, block, layer, t, held, &n);
    if (status)
        return status;
    const uint32_t experts = s->config->moe.experts;
    *host = (struct kernels_tensor){s->buffer[stored].bytes, storage[t->part[0]->dtype]};
    if (t->scales)
        status = int8_tensor(s, stored, t->elements / t->scales, t->elements / experts * n, host);
    return status || !tuned ? status : tune(s, slot, *host, t, held, n, host);
}

enum limoe_status staging_read_floats(struct staging *s, enum layout_id id, float **out) {
    struct layout_source t;
    struct kernels_tensor host;
    *out = NULL;
    enum limoe_status status = staging_read(s, STAGING_WEIGHT, id, 0, &t, &host);
    if (status)
        return status;
    if (!host.host || !t.elements)
        return limoe_fail(s->err, LIMOE_INTERNAL, "tensor \"%s\" has no elements", t.part[0]->name);
    *out = calloc(t.elements, sizeof **out);
    if (!*out)
        return limoe_fail(s->err, LIMOE_NO_MEMORY, "no memory for tensor \"%s\"", t.part[0]->name);
    tensor_read(host, 0, t.elements, *out);
    return LIMOE_OK;
}
