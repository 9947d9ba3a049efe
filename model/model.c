/* model.c - the model half of limoe.h: opening, checking items, embedding.
 *
 * A model owns its config, backend, packed weights, their digests and encoder, and frees them in reverse
 * order. Its files are read once, at opening, and may then change or go. One thread calls it at a time.
 */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "experts/exchange.h"
#include "model/agree.h"
#include "model/checkpoint/adapter.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/digests.h"
#include "model/checkpoint/fingerprint.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/forward/encoder.h"
#include "model/forward/tail.h"
#include "model/forward/tuned.h"
#include "model/forward/weights.h"
#include "model/info.h"
#include "model/rank_sizes.h"
#include "model/text/text.h"

struct limoe_model {
    struct config config;
    struct limoe_info info; /* its strings are config's */
    struct kernels *k;
    const struct exchange *ranks;
    struct placement placement;
    struct weights weights;
    struct encoder *encoder;
    uint64_t dense_bytes, expert_bytes; /* packed; expert_bytes of one expert of one layer */
    struct terms terms;                 /* what this rank has said when it opened, and what it has read: */
    struct digests digests;
    char fingerprint[2 * FINGERPRINT_DIGITS + 1];
    char base[2 * FINGERPRINT_DIGITS + 1];
    char *dir;      /* read again for tails */
    uint64_t tails; /* made so far */
};

/* All that is known before weights are read. */
static enum limoe_status read_headers(struct limoe_model *m, const char *dir,
                                      const struct limoe_options *options, struct safetensors **checkpoint,
                                      struct limoe_error *err) {
    const struct rank_options ranks = {m->ranks->ranks, options->load_file, options->expert_bytes};
    struct fingerprint *inputs = NULL;
    uint64_t token_bytes;
    enum limoe_status status;
    if ((status = fingerprint_create(&inputs, err)) || (status = config_load(dir, &m->config, inputs, err)) ||
        (status = text_fingerprint(dir, &m->config, inputs, err)) ||
        (status = checkpoint_open(dir, &m->config, checkpoint, err)) ||
        (status = layout_float_bytes(&m->config, LAYOUT_TEXT_TOKEN, *checkpoint, &token_bytes, err)))
        goto out;
    fingerprint_digits(inputs, m->fingerprint);
    fingerprint_digits(inputs, m->base);
    info_from_config(&m->config, &m->info);
    if ((status = info_from_checkpoint(&m->config, *checkpoint, &m->info, err)))
        goto out;
    if (m->ranks->ranks > 1 && m->ranks->on_gpus != (m->k->kind == KERNELS_CUDA)) {
        status = limoe_fail(
            err, LIMOE_UNSUPPORTED,
            "%s computes, and these ranks carry rows between %s; \"mpi\" is for CPUs, \"nccl\" for GPUs",
            m->k->name, m->ranks->on_gpus ? "GPUs" : "CPUs");
        goto out;
    }
    if (m->ranks->ranks > 1 && m->config.moe.capacity != 0) {
        status = limoe_fail(err, LIMOE_UNSUPPORTED,
                            "\"%s\" has \"moe.capacity\", whose groups run through a whole call; it works on "
                            "1 rank, not on %u",
                            m->info.name, m->ranks->ranks);
        goto out;
    }
    rank_sizes_bytes(&m->config, m->k->kind, m->k->dtype, token_bytes, &m->dense_bytes, &m->expert_bytes);
    if ((status = rank_sizes_place(&m->config, &ranks, m->expert_bytes, &m->placement, NULL, err)) ||
        (status = digests_create(&m->config, &m->digests, err)))
        goto out;
    snprintf(m->terms.backend, sizeof m->terms.backend, "%s", m->k->name);
    memcpy(m->terms.inputs, m->fingerprint, sizeof m->terms.inputs);
    m->terms.dtype = m->k->dtype;
    m->terms.placement = agree_digest(&m->placement);
out:
    fingerprint_free(inputs);
    return status;
}

static enum limoe_status read_weights(struct limoe_model *m, const struct safetensors *checkpoint,
                                      struct limoe_error *err) {
    enum limoe_status status = weights_load(&m->config, checkpoint, m->k, &m->placement, m->ranks->rank,
                                            &m->digests, &m->weights, err);
    return status ? status
                  : encoder_create(&m->config, m->k, &m->weights, m->ranks, &m->placement, &m->encoder, err);
}

/* Names what all ranks have read, once it is known that they have read the same; digits [FINGERPRINT_DIGITS +
 * 1]. `status` is how reading went here. */
static enum limoe_status name_weights(struct limoe_model *m, enum limoe_status status, char *digits,
                                      struct limoe_error *err) {
    char name[128];
    const size_t bytes = m->digests.count * sizeof *m->digests.value;
    struct fingerprint *tensors = NULL;
    uint64_t *all = malloc(bytes ? bytes : 1);
    if (!all)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu digests", m->digests.count);
    if (!status)
        status = fingerprint_create(&tensors, err);
    if ((status = agree(m->ranks, status, NULL, err)) || !all) /* without it, status is not 0 */
        goto out;
    if (bytes)
        memcpy(all, m->digests.value, bytes);
    if ((status = m->ranks->ops->largest(m->ranks, all, m->digests.count, err)))
        goto out;
    if (digests_differ(&m->digests, all, name))
        status = limoe_fail(err, LIMOE_INVALID,
                            "%s is not the same as another rank's; all must read the same", name);
    if ((status = agree(m->ranks, status, NULL, err)))
        goto out;
    fingerprint_add(tensors, "digests", all, bytes);
    fingerprint_add(tensors, limoe_dtype_name(m->k->dtype), NULL, 0);
    fingerprint_add(tensors, m->k->name, NULL, 0);
    fingerprint_digits(tensors, digits);
    status = digests_name(all, m->digests.count, m->base + FINGERPRINT_DIGITS, err);
out:
    fingerprint_free(tensors);
    free(all);
    return status;
}

enum limoe_status model_open_on(const char *dir, struct kernels *k, const struct limoe_options *options,
                                struct limoe_model **out, struct limoe_error *err) {
    struct limoe_error own; /* the other ranks are told of it, whoever does not want it here */
    const struct exchange *ranks = exchange_of(options->ranks);
    const struct terms terms = agree_terms();
    struct safetensors *checkpoint = NULL;
    enum limoe_status status;
    err = err ? err : &own;
    *out = NULL;
    struct limoe_model *m = calloc(1, sizeof *m);
    if (!m) {
        k->ops->destroy(k);
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a model");
        return agree(ranks, status, &terms, err);
    }
    m->k = k;
    m->ranks = ranks;
    m->terms = terms;
    m->dir = strdup(dir);
    status = m->dir ? read_headers(m, dir, options, &checkpoint, err)
                    : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a model");
    if ((status = agree(ranks, status, &m->terms, err)))
        goto out;
    status = read_weights(m, checkpoint, err);
    status = name_weights(m, status, m->fingerprint + FINGERPRINT_DIGITS, err);
out:
    safetensors_close(checkpoint);
    if (status)
        limoe_model_close(m);
    else
        *out = m;
    return status;
}

enum limoe_dtype model_dtype(enum limoe_dtype asked, enum kernels_kind kind, bool int8) {
    return asked == LIMOE_DTYPE_AUTO && kind == KERNELS_CPU && int8 ? LIMOE_INT8 : asked;
}

/* The dtype to ask for, by a look at the headers; where they are at fault, opening says so. */
static enum limoe_dtype look_ahead(const char *dir, const struct limoe_options *options) {
    struct config config;
    struct safetensors *checkpoint = NULL;
    enum kernels_kind kind;
    enum limoe_dtype dtype = options->dtype;
    struct limoe_error ignored;
    if (dtype == LIMOE_DTYPE_AUTO && kernels_kind_of(options->device, &kind, &ignored) == LIMOE_OK &&
        kind == KERNELS_CPU && config_load(dir, &config, NULL, &ignored) == LIMOE_OK &&
        checkpoint_open(dir, &config, &checkpoint, &ignored) == LIMOE_OK)
        dtype = model_dtype(dtype, kind, checkpoint_is_int8(checkpoint));
    safetensors_close(checkpoint);
    return dtype;
}

enum limoe_status limoe_model_open(const char *dir, const struct limoe_options *options,
                                   struct limoe_model **out, struct limoe_error *err) {
    static const struct limoe_options defaults = {0};
    const struct limoe_options *o = options ? options : &defaults;
    struct limoe_error own;
    struct kernels *k;
    err = err ? err : &own;
    *out = NULL;
    enum limoe_status status = kernels_create(o->device, look_ahead(dir, o), o->threads, &k, err);
    if (status) {
        const struct terms terms = agree_terms();
        return agree(exchange_of(o->ranks), status, &terms, err);
    }
    return model_open_on(dir, k, o, out, err);
}

/* The same words in the same order as model_open_on, to those that open it now. */
enum limoe_status limoe_model_rejoin(struct limoe_model *m, struct limoe_error *err) {
    struct limoe_error own;
    char digits[FINGERPRINT_DIGITS + 1];
    err = err ? err : &own;
    enum limoe_status status = agree(m->ranks, LIMOE_OK, &m->terms, err);
    if (status || (status = name_weights(m, LIMOE_OK, digits, err)))
        return status;
    if (strcmp(digits, m->fingerprint + FINGERPRINT_DIGITS) != 0)
        return limoe_fail(err, LIMOE_INVALID, "another rank has opened another model than at first");
    return LIMOE_OK;
}

void limoe_model_close(struct limoe_model *m) {
    if (!m)
        return;
    encoder_destroy(m->encoder);
    weights_free(m->k, &m->weights);
    digests_free(&m->digests);
    placement_free(&m->placement);
    free(m->dir);
    m->k->ops->destroy(m->k);
    free(m);
}

const struct limoe_info *limoe_model_info(const struct limoe_model *m) {
    return &m->info;
}

enum limoe_dtype limoe_model_dtype(const struct limoe_model *m) {
    return m->k->dtype;
}

const char *limoe_model_backend(const struct limoe_model *m) {
    return m->k->name;
}

uint32_t limoe_model_threads(const struct limoe_model *m) {
    return m->k->threads;
}

uint32_t limoe_model_step_tokens(const struct limoe_model *m) {
    return (uint32_t)m->k->step_rows;
}

const char *limoe_model_fingerprint(const struct limoe_model *m) {
    return m->fingerprint;
}

const char *limoe_model_base(const struct limoe_model *m) {
    return m->base;
}

void limoe_model_memory(const struct limoe_model *m, uint64_t *dense_bytes, uint64_t *expert_bytes,
                        uint32_t *experts_held) {
    uint32_t held = 0;
    for (uint32_t layer = 0; layer < m->placement.shape.layers; layer++)
        held += placement_held(&m->placement, m->ranks->rank, layer);
    if (dense_bytes)
        *dense_bytes = m->dense_bytes;
    if (expert_bytes)
        *expert_bytes = held * m->expert_bytes;
    if (experts_held)
        *experts_held = held;
}

bool limoe_model_device_memory(const struct limoe_model *m, uint64_t *used, uint64_t *total) {
    return m->k->ops->device_memory && m->k->ops->device_memory(m->k, used, total);
}

static enum limoe_status check_image(const struct limoe_model *m, size_t i, const struct limoe_item *item,
                                     struct limoe_error *err) {
    struct limoe_error missing;
    if (limoe_accepts(&m->info, LIMOE_IMAGE, &missing))
        return limoe_fail(err, LIMOE_INVALID, "item %zu: %s", i, missing.message);
    if (item->length != m->info.image_tokens)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: an image of %u tokens, must be %u", i, item->length,
                          m->info.image_tokens);
    if (!item->pixels)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: an image without pixels", i);
    if (item->shares && m->info.shares == LIMOE_SHARES_NONE)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "item %zu: the embeddings of \"%s\" cannot be split by patches", i, m->info.name);
    return LIMOE_OK;
}

static enum limoe_status check_text(const struct limoe_model *m, size_t i, const struct limoe_item *item,
                                    struct limoe_error *err) {
    const uint32_t longest = m->config.text.length;
    struct limoe_error missing;
    if (limoe_accepts(&m->info, LIMOE_TEXT, &missing))
        return limoe_fail(err, LIMOE_INVALID, "item %zu: %s", i, missing.message);
    if (m->config.text.pad == CONFIG_ATTEND && item->length != longest)
        return limoe_fail(
            err, LIMOE_INVALID,
            "item %zu: a text of %u tokens, must be padded to %u (this model attends to padding)", i,
            item->length, longest);
    if (item->length < 1 || item->length > longest)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: a text of %u tokens, must be 1 to %u", i,
                          item->length, longest);
    if (!item->tokens)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: a text without tokens", i);
    if (item->shares)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: shares of patches, which a text has none of", i);
    for (uint32_t t = 0; t < item->length; t++) {
        if (item->tokens[t] < 0 || (uint32_t)item->tokens[t] >= m->config.text.vocab)
            return limoe_fail(err, LIMOE_INVALID, "item %zu: token %u is id %d, must be 0 to %u", i, t,
                              item->tokens[t], m->config.text.vocab - 1);
    }
    return LIMOE_OK;
}

/* Pointers, so that a few tails take no time: 1,024 of them half a million comparisons. */
static enum limoe_status check_tails(const struct limoe_model *m, size_t i, const struct limoe_item *item,
                                     struct limoe_error *err) {
    if (item->n_tails > LIMOE_MAX_TAILS)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: %u tails; at most %u are accepted", i, item->n_tails,
                          LIMOE_MAX_TAILS);
    if (item->n_tails && item->shares)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "item %zu: shares of patches, which there are none of with tails", i);
    if (item->n_tails && !item->tails)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: %u tails and no list of them", i, item->n_tails);
    for (uint32_t t = 0; t < item->n_tails; t++) {
        if (item->tails[t] && item->tails[t]->base != &m->weights)
            return limoe_fail(err, LIMOE_INVALID, "item %zu: tail %u is of another model", i, t);
        for (uint32_t before = 0; before < t; before++)
            if (item->tails[before] == item->tails[t])
                return limoe_fail(err, LIMOE_INVALID,
                                  "item %zu: tails %u and %u are the same; each once is accepted", i, before,
                                  t);
    }
    return LIMOE_OK;
}

static enum limoe_status check_trunk(size_t i, const struct limoe_item *item, struct limoe_error *err) {
    const uint32_t fork = tail_fork(item);
    if ((item->trunk || item->keep) && (fork == 0 || fork == UINT32_MAX))
        return limoe_fail(
            err, LIMOE_INVALID,
            "item %zu: rows of the trunk, and %s; a tail that begins behind block 0 is accepted", i,
            fork ? "no tail" : "a tail from block 0 on");
    return LIMOE_OK;
}

enum limoe_status model_check(const struct limoe_model *m, const struct limoe_item *items, size_t n,
                              struct limoe_error *err) {
    for (size_t i = 0; i < n; i++) {
        enum limoe_status status;
        switch (items[i].modality) {
        case LIMOE_IMAGE:
            status = check_image(m, i, &items[i], err);
            break;
        case LIMOE_TEXT:
            status = check_text(m, i, &items[i], err);
            break;
        default:
            status = limoe_fail(err, LIMOE_INVALID, "item %zu: modality %d, must be %d (image) or %d (text)",
                                i, (int)items[i].modality, LIMOE_IMAGE, LIMOE_TEXT);
        }
        if (status || (status = check_tails(m, i, &items[i], err)) ||
            (status = check_trunk(i, &items[i], err)))
            return status;
    }
    return LIMOE_OK;
}

/* ---- tails */

static enum limoe_status check_adapter(const struct limoe_model *m, const struct limoe_adapter *a,
                                       struct limoe_error *err) {
    if (m->ranks->ranks > 1)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "\"%s\" is on %u ranks; adapters work on 1", m->info.name,
                          m->ranks->ranks);
    if (m->config.moe.capacity != 0)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "\"%s\" has \"moe.capacity\", by which answers depend on each other; adapters work "
                          "without it",
                          m->info.name);
    return adapter_check_base(a, m->info.name, m->base, err);
}

/* The files as they are now, and what the adapter makes of them. On failure there is nothing to free. */
static enum limoe_status open_tuned(const struct limoe_model *m, const struct limoe_adapter *a,
                                    float strength, struct safetensors **checkpoint, struct tuned *tuned,
                                    struct limoe_error *err) {
    enum limoe_status status = check_adapter(m, a, err);
    if (status || (status = checkpoint_open(m->dir, &m->config, checkpoint, err)))
        return status;
    if ((status = tuned_create(&m->config, *checkpoint, a, strength, tuned, err)))
        safetensors_close(*checkpoint);
    return status;
}

enum limoe_status limoe_model_adapt_bytes(const struct limoe_model *m, const struct limoe_adapter *adapter,
                                          float strength, uint64_t *bytes, struct limoe_error *err) {
    struct safetensors *checkpoint;
    struct tuned tuned;
    enum limoe_status status = open_tuned(m, adapter, strength, &checkpoint, &tuned, err);
    if (status)
        return status;
    *bytes = rank_sizes_tail_bytes(&tuned, m->k->kind, m->k->dtype);
    tuned_free(&tuned);
    safetensors_close(checkpoint);
    return LIMOE_OK;
}

static enum limoe_status pack_tail(struct limoe_model *m, const struct tuned *tuned, struct limoe_tail *tail,
                                   struct limoe_error *err) {
    struct digests read = {0};
    char name[128];
    enum limoe_status status = digests_create(&m->config, &read, err);
    if (!status)
        status = weights_load_tail(&m->weights, tuned, m->k, &m->placement, &read, &tail->weights, err);
    if (!status && digests_differ(&read, m->digests.value, name)) {
        status = limoe_fail(err, LIMOE_INVALID, "%s in %.200s has changed since the model was opened", name,
                            m->dir);
        weights_free_tail(m->k, &m->weights, &tail->weights);
    }
    digests_free(&read);
    return status;
}

enum limoe_status limoe_model_adapt(struct limoe_model *m, const struct limoe_adapter *adapter,
                                    float strength, struct limoe_tail **out, struct limoe_error *err) {
    struct safetensors *checkpoint;
    struct tuned tuned;
    struct limoe_error own;
    err = err ? err : &own;
    *out = NULL;
    struct limoe_tail *tail = calloc(1, sizeof *tail);
    if (!tail)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tail");
    enum limoe_status status = open_tuned(m, adapter, strength, &checkpoint, &tuned, err);
    if (status) {
        free(tail);
        return status;
    }
    tail->k = m->k;
    tail->base = &m->weights;
    memcpy(tail->start, tuned.start, sizeof tail->start);
    tail->bytes = rank_sizes_tail_bytes(&tuned, m->k->kind, m->k->dtype);
    if ((status = pack_tail(m, &tuned, tail, err))) {
        free(tail);
    } else {
        tail->number = m->tails++;
        *out = tail;
    }
    tuned_free(&tuned);
    safetensors_close(checkpoint);
    return status;
}

uint64_t limoe_tail_bytes(const struct limoe_tail *tail) {
    return tail->bytes;
}

uint32_t limoe_tail_start(const struct limoe_tail *tail, enum limoe_modality modality) {
    return tail->start[modality];
}

uint32_t limoe_item_fork(const struct limoe_item *item) {
    return tail_fork(item);
}

uint64_t limoe_model_trunk_bytes(const struct limoe_model *m, const struct limoe_item *item) {
    const struct tail_rows row = tail_rows(&m->config.tower[item->modality], m->k, NULL, NULL);
    return item->length * (uint64_t)(row.x_bytes + row.h_bytes);
}

void limoe_tail_release(struct limoe_tail *tail) {
    if (!tail)
        return;
    weights_free_tail(tail->k, tail->base, &tail->weights);
    free(tail);
}

/* The routing of blocks that are not passed is not known. */
static enum limoe_status check_routed(const struct limoe_item *items, size_t n,
                                      const struct limoe_routing *routing, struct limoe_error *err) {
    for (size_t i = 0; i < n && routing && (routing->expert || routing->gate); i++)
        if (items[i].trunk)
            return limoe_fail(err, LIMOE_INVALID,
                              "item %zu: rows of the trunk, whose routing is wanted; without them it is told",
                              i);
    return LIMOE_OK;
}

enum limoe_status limoe_model_embed(struct limoe_model *m, const struct limoe_item *items, size_t n,
                                    float *embeddings, const struct limoe_routing *routing,
                                    struct limoe_error *err) {
    enum limoe_status status = model_check(m, items, n, err);
    if (!status)
        status = check_routed(items, n, routing, err);
    if (!status || m->ranks->ranks == 1)
        return status ? status : encoder_embed(m->encoder, items, n, embeddings, routing, err);
    struct limoe_error lost; /* the other ranks count on this one */
    if (encoder_embed(m->encoder, NULL, 0, NULL, routing, &lost) == LIMOE_LOST)
        return limoe_fail(err, LIMOE_LOST, "%s", lost.message);
    return status;
}

const struct config *model_config(const struct limoe_model *m) {
    return &m->config;
}

struct kernels *model_kernels(struct limoe_model *m) {
    return m->k;
}

const struct weights *model_weights(const struct limoe_model *m) {
    return &m->weights;
}

uint32_t model_ranks(const struct limoe_model *m) {
    return m->ranks->ranks;
}

enum limoe_status model_trunk(struct limoe_model *m, const struct limoe_item *items, size_t n, uint32_t block,
                              float *rows, struct limoe_error *err) {
    enum limoe_status status = model_check(m, items, n, err);
    return status ? status : encoder_trunk(m->encoder, items, n, block, rows, err);
}
