/* synthetic_weights.c - random tensors to safetensors files. One thread; one chunk of values at a time.
 *
 * Values keep the variance of activations about even from block to block, so that nothing overflows and the
 * router's choices spread: matrices 1/sqrt(in), norms near 1, small biases, positions and tokens that differ.
 */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench/synthetic.h"
#include "kernels/kernels.h"
#include "kernels/number.h"
#include "model/checkpoint/layout.h"

enum { CHUNK = 1 << 16, MAX_SHARDS = 512 };

struct shard_plan {
    const struct config *config;
    enum kernels_storage dtype;
    uint64_t shard_bytes;
    uint32_t shards;
};

/* ---- every tensor in order */

struct walk {
    const struct config *config;
    uint32_t block;
    int id;
};

/* The next tensor; layout order, but block by block. False at the end. */
static bool walk_next(struct walk *w, struct layout_tensor *t) {
    for (; w->block < config_blocks(w->config); w->block++, w->id = 0) {
        while (w->id < LAYOUT_COUNT) {
            const enum layout_id id = (enum layout_id)w->id++;
            if ((w->block == 0 || layout_per_block(id)) && layout_expected(w->config, id, w->block, t))
                return true;
        }
    }
    return false;
}

/* Which shard a tensor goes to, when shards are filled in order: *used counts the bytes of the last. */
static uint32_t place(const struct shard_plan *plan, uint64_t bytes, uint32_t shard, uint64_t *used) {
    if (*used && bytes > plan->shard_bytes - (*used < plan->shard_bytes ? *used : plan->shard_bytes)) {
        *used = 0;
        shard++;
    }
    *used += bytes;
    return shard;
}

static uint64_t bytes_of(const struct shard_plan *plan, const struct layout_tensor *t) {
    return t->elements * storage_size(plan->dtype);
}

static void shard_name(const struct shard_plan *plan, uint32_t shard, char name[64]) {
    if (plan->shards == 1)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05u-of-%05u.safetensors", shard + 1, plan->shards);
}

/* ---- values */

/* splitmix64 */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t seed_of(uint64_t seed, const char *name) {
    for (; *name; name++)
        seed = (seed ^ (unsigned char)*name) * 0x100000001b3u;
    return next(&seed);
}

/* About normal, mean 0, deviation 1: four uniform numbers of 16 bits, added. */
static float normal(uint64_t *state) {
    const uint64_t bits = next(state);
    const uint32_t sum = (uint32_t)(bits & 0xffff) + (uint32_t)(bits >> 16 & 0xffff) +
                         (uint32_t)(bits >> 32 & 0xffff) + (uint32_t)(bits >> 48);
    return ((float)sum - 131070.0f) * (1.0f / 37837.0f);
}

struct shape {
    float mean, deviation;
};

static struct shape shape_of(const struct layout_tensor *t) {
    const char *dot = strrchr(t->name, '.'), *last = dot ? dot : t->name;
    const bool norm = strstr(t->name, "ln") || strstr(t->name, "norm");
    if (strcmp(t->name, "logit_scale") == 0)
        return (struct shape){2.5f, 0};
    if (strcmp(last, ".bias") == 0)
        return (struct shape){0, 0.05f};
    if (norm)
        return (struct shape){1, 0.1f};
    if (strcmp(last, ".pos") == 0 || strcmp(last, ".token") == 0)
        return (struct shape){0, 0.5f};
    return (struct shape){0, 1 / sqrtf((float)t->shape[t->rank - 1])};
}

/* Small and normal values alone: what a float16 cannot hold does not occur, but what is below 2^-14 is 0. */
static uint16_t f16_from_float(float v) {
    const uint32_t bits = float_bits(v), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude < 0x38800000u)
        return (uint16_t)sign;
    return (uint16_t)(sign | (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13);
}

static bool write_tensor(FILE *f, const struct shard_plan *plan, const struct layout_tensor *t, uint64_t seed,
                         void *chunk) {
    const struct shape shape = shape_of(t);
    const size_t size = storage_size(plan->dtype);
    uint64_t state = seed_of(seed, t->name);
    for (uint64_t done = 0; done < t->elements;) {
        const size_t n = t->elements - done < CHUNK ? (size_t)(t->elements - done) : CHUNK;
        for (size_t i = 0; i < n; i++) {
            const float v = shape.mean + shape.deviation * normal(&state);
            if (plan->dtype == KERNELS_F32)
                ((float *)chunk)[i] = v;
            else
                ((uint16_t *)chunk)[i] = plan->dtype == KERNELS_BF16 ? bf16_from_float(v) : f16_from_float(v);
        }
        if (fwrite(chunk, size, n, f) != n)
            return false;
        done += n;
    }
    return true;
}

/* ---- files */

static const char *dtype_name(enum kernels_storage dtype) {
    return dtype == KERNELS_F32 ? "F32" : dtype == KERNELS_BF16 ? "BF16" : "F16";
}

/* The header of the shard, padded with spaces so that tensors begin at a multiple of 8; freed with free(). */
static char *make_header(const struct shard_plan *plan, uint32_t shard, size_t *size) {
    char *text = NULL;
    FILE *f = open_memstream(&text, size);
    if (!f)
        return NULL;
    struct walk w = {.config = plan->config};
    struct layout_tensor t;
    uint32_t at_shard = 0;
    uint64_t used = 0, at = 0;
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", f);
    while (walk_next(&w, &t)) {
        at_shard = place(plan, bytes_of(plan, &t), at_shard, &used);
        if (at_shard != shard)
            continue;
        fprintf(f, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t.name, dtype_name(plan->dtype));
        for (uint32_t i = 0; i < t.rank; i++)
            fprintf(f, "%s%" PRIu64, i ? "," : "", t.shape[i]);
        fprintf(f, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + bytes_of(plan, &t));
        at += bytes_of(plan, &t);
    }
    fputc('}', f);
    for (fflush(f); *size % 8; fflush(f))
        fputc(' ', f);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static enum limoe_status write_shard(const char *dir, const struct shard_plan *plan, uint32_t shard,
                                     uint64_t seed, void *chunk, struct limoe_error *err) {
    char name[64], path[PATH_MAX];
    size_t size = 0;
    shard_name(plan, shard, name);
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return limoe_fail(err, LIMOE_INVALID, "%.300s: too long a path", dir);
    char *header = make_header(plan, shard, &size);
    FILE *f = fopen(path, "wb");
    const uint64_t length = size;
    bool ok = header && f && fwrite(&length, sizeof length, 1, f) == 1 && fwrite(header, 1, size, f) == size;
    struct walk w = {.config = plan->config};
    struct layout_tensor t;
    uint32_t at_shard = 0;
    uint64_t used = 0;
    while (ok && walk_next(&w, &t)) {
        at_shard = place(plan, bytes_of(plan, &t), at_shard, &used);
        if (at_shard == shard)
            ok = write_tensor(f, plan, &t, seed, chunk);
    }
    if (f && fclose(f) != 0)
        ok = false;
    free(header);
    return ok ? LIMOE_OK : limoe_fail(err, LIMOE_IO, "cannot write %.400s", path);
}

static enum limoe_status write_index(const char *dir, const struct shard_plan *plan,
                                     struct limoe_error *err) {
    char *text = NULL, name[64];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the index");
    struct walk w = {.config = plan->config};
    struct layout_tensor t;
    uint32_t shard = 0;
    uint64_t used = 0;
    fputs("{\"weight_map\":{", f);
    for (bool first = true; walk_next(&w, &t); first = false) {
        shard = place(plan, bytes_of(plan, &t), shard, &used);
        shard_name(plan, shard, name);
        fprintf(f, "%s\n\"%s\":\"%s\"", first ? "" : ",", t.name, name);
    }
    fputs("}}\n", f);
    enum limoe_status status = fclose(f) == 0
                                   ? synthetic_write(dir, "model.safetensors.index.json", text, size, err)
                                   : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the index");
    free(text);
    return status;
}

enum limoe_status synthetic_weights(const char *dir, const struct config *config, enum kernels_storage dtype,
                                    uint64_t seed, uint64_t shard_bytes, struct limoe_error *err) {
    struct shard_plan plan = {.config = config, .dtype = dtype, .shard_bytes = shard_bytes};
    struct walk w = {.config = config};
    struct layout_tensor t;
    uint64_t used = 0;
    while (walk_next(&w, &t))
        plan.shards = place(&plan, bytes_of(&plan, &t), plan.shards, &used);
    plan.shards++;
    if (plan.shards > MAX_SHARDS)
        return limoe_fail(err, LIMOE_INVALID, "%u shards; at most %d are read", plan.shards, MAX_SHARDS);
    void *chunk = malloc(CHUNK * sizeof(float));
    if (!chunk)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %d values", CHUNK);
    enum limoe_status status = LIMOE_OK;
    for (uint32_t shard = 0; shard < plan.shards && status == LIMOE_OK; shard++)
        status = write_shard(dir, &plan, shard, seed, chunk, err);
    if (status == LIMOE_OK && plan.shards > 1)
        status = write_index(dir, &plan, err);
    free(chunk);
    return status;
}
