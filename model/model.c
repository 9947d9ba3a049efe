/* model.c - the model half of limoe.h: opening, checking items, embedding.
 *
 * A model owns its config, backend, packed weights and encoder, and frees them in reverse order. Its files
 * are read once, at opening, and may then change or go. One thread calls it at a time.
 */
#include "model.h"

#include <stdlib.h>

#include "config.h"
#include "encoder.h"
#include "error.h"
#include "fingerprint.h"
#include "info.h"
#include "layout.h"
#include "place.h"
#include "safetensors.h"
#include "tokenizer.h"
#include "weights.h"

struct limoe_model {
    struct config config;
    struct limoe_info info; /* its strings are config's */
    struct kernels *k;
    struct weights weights;
    struct encoder *encoder;
    uint64_t dense_bytes, expert_bytes; /* packed; expert_bytes of one expert of one layer */
    uint32_t experts_held;
    char fingerprint[2 * FINGERPRINT_DIGITS + 1];
};

enum limoe_status model_open_on(const char *dir, struct kernels *k, struct limoe_model **out,
                                struct limoe_error *err) {
    enum limoe_status status;
    *out = NULL;
    struct limoe_model *m = calloc(1, sizeof *m);
    if (!m) {
        k->ops->destroy(k);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a model");
    }
    m->k = k;
    struct safetensors *checkpoint = NULL;
    struct fingerprint *inputs = NULL, *tensors = NULL; /* its first digits and the others */
    if ((status = fingerprint_create(&inputs, err)) || (status = fingerprint_create(&tensors, err)) ||
        (status = config_load(dir, &m->config, inputs, err)) ||
        (status = tokenizer_fingerprint(dir, inputs, err)) ||
        (status = safetensors_open(dir, &checkpoint, err)) ||
        (status = layout_check(&m->config, checkpoint, err)))
        goto out;
    info_from_config(&m->config, &m->info);
    if ((status = info_from_checkpoint(&m->config, checkpoint, &m->info, err)) ||
        (status = weights_load(&m->config, checkpoint, k, tensors, &m->weights, err)))
        goto out;
    place_sizes(&m->config, k->dtype, safetensors_find(checkpoint, "text.token")->bytes, &m->dense_bytes,
                &m->expert_bytes);
    m->experts_held = m->config.moe.layers * m->config.moe.experts;
    fingerprint_add(tensors, limoe_dtype_name(k->dtype), NULL, 0);
    fingerprint_add(tensors, k->name, NULL, 0);
    fingerprint_digits(inputs, m->fingerprint);
    fingerprint_digits(tensors, m->fingerprint + FINGERPRINT_DIGITS);
    status = encoder_create(&m->config, k, &m->weights, &m->encoder, err);
out:
    safetensors_close(checkpoint);
    fingerprint_free(tensors);
    fingerprint_free(inputs);
    if (status)
        limoe_model_close(m);
    else
        *out = m;
    return status;
}

enum limoe_status limoe_model_open(const char *dir, const struct limoe_options *options,
                                   struct limoe_model **out, struct limoe_error *err) {
    static const struct limoe_options defaults = {0};
    const struct limoe_options *o = options ? options : &defaults;
    struct kernels *k;
    *out = NULL;
    enum limoe_status status = kernels_cpu_create(o->dtype, o->threads, &k, err);
    return status ? status : model_open_on(dir, k, out, err);
}

void limoe_model_close(struct limoe_model *m) {
    if (!m)
        return;
    encoder_destroy(m->encoder);
    weights_free(m->k, &m->weights);
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

const char *limoe_model_fingerprint(const struct limoe_model *m) {
    return m->fingerprint;
}

void limoe_model_memory(const struct limoe_model *m, uint64_t *dense_bytes, uint64_t *expert_bytes,
                        uint32_t *experts_held) {
    if (dense_bytes)
        *dense_bytes = m->dense_bytes;
    if (expert_bytes)
        *expert_bytes = m->experts_held * m->expert_bytes;
    if (experts_held)
        *experts_held = m->experts_held;
}

static enum limoe_status check_image(const struct limoe_model *m, size_t i, const struct limoe_item *item,
                                     struct limoe_error *err) {
    if (item->length != m->info.image_tokens)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: an image of %u tokens, must be %u", i, item->length,
                          m->info.image_tokens);
    if (!item->pixels)
        return limoe_fail(err, LIMOE_INVALID, "item %zu: an image without pixels", i);
    return LIMOE_OK;
}

static enum limoe_status check_text(const struct limoe_model *m, size_t i, const struct limoe_item *item,
                                    struct limoe_error *err) {
    const uint32_t longest = m->config.text.length;
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
    for (uint32_t t = 0; t < item->length; t++) {
        if (item->tokens[t] < 0 || (uint32_t)item->tokens[t] >= m->config.text.vocab)
            return limoe_fail(err, LIMOE_INVALID, "item %zu: token %u is id %d, must be 0 to %u", i, t,
                              item->tokens[t], m->config.text.vocab - 1);
    }
    return LIMOE_OK;
}

static enum limoe_status check_items(const struct limoe_model *m, const struct limoe_item *items, size_t n,
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
        if (status)
            return status;
    }
    return LIMOE_OK;
}

enum limoe_status limoe_model_embed(struct limoe_model *m, const struct limoe_item *items, size_t n,
                                    float *embeddings, const struct limoe_routing *routing,
                                    struct limoe_error *err) {
    enum limoe_status status = check_items(m, items, n, err);
    return status ? status : encoder_embed(m->encoder, items, n, embeddings, routing, err);
}
