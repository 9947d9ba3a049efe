/* parameters.c - a tail's tensors, listed, read and stepped. The caller owns them; one thread. */
#include "model/tuning/parameters.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/number.h"
#include "model/checkpoint/digests.h"
#include "model/forward/staging.h"

/* What follows the blocks of a tower: its norm, its projection, its head. */
static bool follows(const struct config *c, enum limoe_modality tower, enum layout_id id) {
    const bool both = c->towers == 1;
    switch (id) {
    case LAYOUT_LN_WEIGHT:
    case LAYOUT_LN_BIAS:
        return both;
    case LAYOUT_IMAGE_PROJ_WEIGHT:
    case LAYOUT_IMAGE_LN_WEIGHT:
    case LAYOUT_IMAGE_LN_BIAS:
        return both || tower == LIMOE_IMAGE;
    case LAYOUT_TEXT_PROJ_WEIGHT:
    case LAYOUT_TEXT_PROJ_BIAS:
    case LAYOUT_TEXT_LN_WEIGHT:
    case LAYOUT_TEXT_LN_BIAS:
        return both || tower == LIMOE_TEXT;
    default:
        return tower == LIMOE_IMAGE && id >= LAYOUT_POOL_PROBE && id <= LAYOUT_POOL_FC2_BIAS;
    }
}

/* Notes the tensor if the config calls for it; `item` NULL: only counts. */
static void list(const struct config *c, const struct tail_shape *shape, enum layout_id id, uint32_t block,
                 struct parameters *p) {
    struct layout_tensor tensor;
    if (!layout_expected(c, id, block, &tensor))
        return;
    if (p->item)
        p->item[p->count] = (struct parameter){.id = id,
                                               .block = block,
                                               .tensor = tensor,
                                               .first = p->elements,
                                               .frozen = id == LAYOUT_MOE_ROUTER_WEIGHT && !shape->routers};
    p->count++;
    p->elements += tensor.elements;
}

static void list_all(const struct config *c, const struct tail_shape *shape, struct parameters *p) {
    const uint32_t base = config_first_block(c, shape->tower), blocks = c->tower[shape->tower].blocks;
    p->count = 0;
    p->elements = 0;
    for (int id = 0; id < LAYOUT_COUNT; id++)
        if (!layout_per_block((enum layout_id)id) && follows(c, shape->tower, (enum layout_id)id))
            list(c, shape, (enum layout_id)id, 0, p);
    for (uint32_t block = shape->first_block; block < blocks; block++)
        for (int id = 0; id < LAYOUT_COUNT; id++)
            if (layout_per_block((enum layout_id)id))
                list(c, shape, (enum layout_id)id, base + block, p);
}

static enum limoe_status read_all(struct staging *s, struct parameters *p) {
    for (uint32_t i = 0; i < p->count; i++) {
        struct layout_source t;
        struct kernels_tensor host;
        enum limoe_status status =
            staging_read(s, STAGING_WEIGHT, p->item[i].id, p->item[i].block, &t, &host);
        if (status)
            return status;
        tensor_read(host, 0, t.elements, p->weight + p->item[i].first);
    }
    return LIMOE_OK;
}

static bool reserve(struct parameters *p) {
    const size_t n = p->elements ? p->elements : 1;
    p->weight = calloc(n, sizeof *p->weight);
    p->gradient = calloc(n, sizeof *p->gradient);
    p->mean = calloc(n, sizeof *p->mean);
    p->square = calloc(n, sizeof *p->square);
    return p->weight && p->gradient && p->mean && p->square;
}

enum limoe_status parameters_load(const struct config *config, const struct safetensors *st,
                                  const struct tail_shape *shape, struct parameters *out,
                                  struct limoe_error *err) {
    struct digests digests;
    *out = (struct parameters){0};
    enum limoe_status status = digests_create(config, &digests, err);
    if (status)
        return status;
    struct staging staging = {.config = config, .st = st, .digests = &digests, .err = err};
    list_all(config, shape, out);
    out->item = calloc(out->count ? out->count : 1, sizeof *out->item);
    if (out->item && reserve(out)) {
        list_all(config, shape, out);
        status = read_all(&staging, out);
    } else {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory to train %zu parameters", out->elements);
    }
    if (status)
        parameters_free(out);
    staging_free(&staging);
    digests_free(&digests);
    return status;
}

void parameters_free(struct parameters *p) {
    free(p->square);
    free(p->mean);
    free(p->gradient);
    free(p->weight);
    free(p->item);
    *p = (struct parameters){0};
}

const struct parameter *parameters_find(const struct parameters *p, enum layout_id id, uint32_t block) {
    for (uint32_t i = 0; i < p->count; i++)
        if (p->item[i].id == id && (p->item[i].block == block || !layout_per_block(id)))
            return &p->item[i];
    return NULL;
}

void parameters_clear_gradients(struct parameters *p) {
    memset(p->gradient, 0, p->elements * sizeof *p->gradient);
}

void parameters_step(struct kernels *k, const struct adamw *how, struct parameters *p) {
    for (uint32_t i = 0; i < p->count; i++) {
        const size_t first = p->item[i].first;
        struct adamw step = *how;
        if (p->item[i].frozen)
            continue;
        step.decay = p->item[i].tensor.rank > 1 ? how->decay : 0;
        k->backward->adamw(k, &step, p->item[i].tensor.elements, p->gradient + first, p->weight + first,
                           p->mean + first, p->square + first);
    }
}
