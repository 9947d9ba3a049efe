/* merge.c - limoe_merge: a model with an adapter in it, tensor by tensor; and limoe_base, the digits by which the two
 * know each other.
 *
 * A tensor of which the adapter changes a part becomes float32 in all its parts, since parts must have one dtype; int8
 * scales of such a tensor are left out. All others are copied.
 *
 * One thread.
 */
#include <stdlib.h>

#include "base/error.h"
#include "experts/placement.h"
#include "limoe.h"
#include "model/checkpoint/adapter.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/digests.h"
#include "model/checkpoint/fingerprint.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/forward/staging.h"
#include "model/forward/tuned.h"
#include "model/rewrite.h"
#include "model/text/text.h"

/* ---- the digits of a base */

static enum limoe_status read_tensor(struct staging *s, enum layout_id id, uint32_t block, uint32_t layer) {
    struct layout_source t;
    struct kernels_tensor host;
    const bool stack = id >= LAYOUT_MOE_FC1_WEIGHT && id <= LAYOUT_MOE_FC2_BIAS;
    return stack ? staging_read_held(s, STAGING_WEIGHT, id, block, layer, &t, &host)
                 : staging_read(s, STAGING_WEIGHT, id, block, &t, &host);
}

/* Reads every tensor once, and keeps nothing but what the digests note. */
static enum limoe_status read_all(struct staging *s) {
    const struct config *config = s->config;
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_blocks(config, id);
        for (uint32_t block = 0, layer = 0; block < blocks; block++) {
            struct layout_tensor expected;
            enum limoe_status status = LIMOE_OK;
            if (layout_expected(config, id, block, &expected))
                status = read_tensor(s, id, block, layer);
            if (status)
                return status;
            layer += layout_per_block(id) && config_is_moe(config, block);
        }
    }
    return LIMOE_OK;
}

static enum limoe_status name_tensors(const struct config *config, const struct safetensors *st,
                                      char digits[FINGERPRINT_DIGITS + 1], struct limoe_error *err) {
    const struct placement_shape one = {1, config->moe.layers, config->moe.experts};
    struct placement placement = {0};
    struct digests digests = {0};
    struct staging s = {
        .config = config, .st = st, .placement = &placement, .int8 = true, .digests = &digests, .err = err};
    enum limoe_status status;
    if (!(status = placement_contiguous(&one, &placement, err)) &&
        !(status = digests_create(config, &digests, err)) && !(status = read_all(&s)))
        status = digests_name(digests.value, digests.count, digits, err);
    staging_free(&s);
    digests_free(&digests);
    placement_free(&placement);
    return status;
}

/* Config and checkpoint of a directory, and its digits. On failure *st is NULL. */
static enum limoe_status open_base(const char *dir, struct config *config, struct safetensors **st,
                                   char digits[33], struct limoe_error *err) {
    struct fingerprint *inputs = NULL;
    enum limoe_status status;
    *st = NULL;
    if ((status = fingerprint_create(&inputs, err)) || (status = config_load(dir, config, inputs, err)) ||
        (status = text_fingerprint(dir, config, inputs, err)) ||
        (status = checkpoint_open(dir, config, st, err)))
        goto out;
    fingerprint_digits(inputs, digits);
    status = name_tensors(config, *st, digits + FINGERPRINT_DIGITS, err);
out:
    if (status) {
        safetensors_close(*st);
        *st = NULL;
    }
    fingerprint_free(inputs);
    return status;
}

enum limoe_status limoe_base(const char *dir, char digits[33], struct limoe_error *err) {
    struct limoe_error own;
    struct safetensors *st;
    struct config *config = malloc(sizeof *config);
    if (!config)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a config");
    enum limoe_status status = open_base(dir, config, &st, digits, err ? err : &own);
    safetensors_close(st);
    free(config);
    return status;
}

/* ---- merging */

struct job {
    const struct limoe_adapter *adapter;
    float strength;
    struct tuned tuned;
};

static enum limoe_status write_tuned(struct rewrite *r, const struct rewrite_item *item) {
    const struct job *job = r->job;
    const uint64_t n = item->tensor->elements, most = REWRITE_PIECE;
    enum limoe_status status = LIMOE_OK;
    for (uint64_t first = 0; first < n && !status; first += most) {
        const size_t piece = (size_t)(n - first < most ? n - first : most);
        if (!(status = rewrite_read(r, item, first, piece)) &&
            !(status = tuned_mix(&job->tuned, item->tensor, first, piece, r->floats, r->err)))
            status = rewrite_put(r, item->entry, first * sizeof(float), r->floats, piece * sizeof(float));
    }
    return status;
}

static enum limoe_status plan(struct rewrite *r, enum layout_id id, uint32_t block,
                              const struct layout_source *t, uint32_t part) {
    const struct job *job = r->job;
    const struct tensor *scale = t->scale[part];
    if (tuned_changes(&job->tuned, id, block))
        return rewrite_add(r, (struct rewrite_item){.tensor = t->part[part],
                                                    .scale = scale,
                                                    .write = write_tuned,
                                                    .dtype = "F32",
                                                    .size = sizeof(float)});
    const enum limoe_status status = rewrite_add(r, rewrite_copied(t->part[part]));
    return status || !scale ? status : rewrite_add(r, rewrite_copied(scale));
}

static enum limoe_status open_tuned(struct rewrite *r, const char *dir) {
    struct job *job = r->job;
    char digits[33];
    enum limoe_status status;
    if ((status = open_base(dir, &r->config, &r->st, digits, r->err)) ||
        (status = adapter_check_base(job->adapter, r->config.name, digits, r->err)))
        return status;
    return tuned_create(&r->config, r->st, job->adapter, job->strength, &job->tuned, r->err);
}

enum limoe_status limoe_merge(const char *dir, const struct limoe_adapter *adapter, float strength,
                              const char *out, limoe_progress *progress, void *context,
                              struct limoe_error *err) {
    static const struct rewrite_kind kind = {.open = open_tuned, .plan = plan, .by_name = true};
    struct job job = {.adapter = adapter, .strength = strength};
    const enum limoe_status status = rewrite_model(&kind, &job, dir, out, progress, context, err);
    tuned_free(&job.tuned);
    return status;
}
