/* adapting.c - adapters of one call. Its owner's thread. */
#include "server/front/calls/adapting.h"

#include <string.h>

#include "server/api/adapter.h"
#include "server/front/calls/call.h"

/* No UTF-8 has it, so that no text is called as another by an adapter. */
#define NOT_TEXT '\xff'

static const struct engine_info *info_of(const struct call *call) {
    return engine_info(call->generation->engine);
}

bool adapting_possible(const struct call *call, struct api_error *error) {
    const struct engine_info *info = info_of(call);
    return info->ranks == 1 ||
           api_fail(error, 400, "unsupported_adapter", "adapter",
                    "the model %s is on %u ranks; adapters work on 1", info->model.name, info->ranks);
}

bool adapting_fits(const struct call *call, const struct adapter *adapter, struct api_error *error) {
    const struct engine_info *info = info_of(call);
    if (!adapting_possible(call, error))
        return false;
    if (strcmp(adapter->base, info->base) != 0)
        return api_fail(error, 409, "adapter_of_another_model", "adapter",
                        "the adapter was made of the model %s; %s is %s", adapter->base, info->model.name,
                        info->base);
    if (adapter->kind == LIMOE_ADAPTER_PROBE && adapter->embed != info->model.embed)
        return api_fail(error, 400, "invalid_adapter", "adapter",
                        "the adapter is a probe of %u numbers; the model's embeddings have %u",
                        adapter->embed, info->model.embed);
    return true;
}

size_t adapting_answers(const struct call *call) {
    return call->adapting.variants ? call->adapting.n_variants : 1;
}

size_t adapting_passes(const struct call *call) {
    return call->adapting.variants ? call->adapting.n_passes : 1;
}

/* What input i is embedded by. */
static const struct tail_key *key_of(const struct adapting *own, size_t i) {
    return own->variants ? own->passes[i % own->n_passes] : &own->key;
}

bool adapting_all(struct call *call, struct api_error *error) {
    struct adapting *own = &call->adapting;
    if (!own->on)
        return true;
    own->of = arena_array(call->arena, call->n, sizeof(void *));
    for (size_t i = 0; own->of && i < call->n; i++)
        own->of[i] = key_of(own, i);
    return own->of || api_fail_memory(error);
}

/* Finds one by its name; *adapter is left alone for the model as it is. */
static bool find(struct call *call, struct text name, const struct request_adapter *asked,
                 const struct adapter **adapter, struct tail_key *key, struct api_error *error) {
    struct adapters *store = call->server->adapters;
    char nearest[129];
    if (text_is(name, ADAPTER_BASE))
        return true;
    *adapter = adapters_find(store, name);
    if (!*adapter)
        return adapter_refuse_unknown(name, "adapter",
                                      adapters_nearest(store, name, nearest) ? nearest : NULL, error);
    memcpy(key->sha256, (*adapter)->sha256, sizeof key->sha256);
    key->strength = asked->has_strength ? asked->strength : (*adapter)->strength;
    return adapting_fits(call, *adapter, error);
}

/* NULL: the model as it is. */
static const struct tail_key *variant_key(const struct adapting_variant *variant) {
    const bool changes = variant->adapter && !variant->adapter->probe && variant->key.strength > 0;
    return changes ? &variant->key : NULL;
}

static bool same_key(const struct tail_key *a, const struct tail_key *b) {
    return a && b ? tail_key_equal(a, b) : a == b;
}

/* Gives the variant the pass of its key: one that is there, or another. */
static void add_pass(struct adapting *own, struct adapting_variant *variant) {
    const struct tail_key *key = variant_key(variant);
    for (variant->pass = 0; variant->pass < own->n_passes; variant->pass++)
        if (same_key(own->passes[variant->pass], key))
            return;
    own->passes[own->n_passes++] = key;
}

static bool choose_list(struct call *call, const struct request_adapter *asked, struct api_error *error) {
    struct adapting *own = &call->adapting;
    own->variants = arena_array(call->arena, asked->n, sizeof *own->variants);
    own->passes = arena_array(call->arena, asked->n, sizeof(void *));
    if (!own->variants || !own->passes)
        return api_fail_memory(error);
    own->on = true;
    for (size_t i = 0; i < asked->n; i++) {
        struct adapting_variant *variant = &own->variants[own->n_variants++];
        *variant = (struct adapting_variant){.name = asked->list[i]};
        if (!find(call, variant->name, asked, &variant->adapter, &variant->key, error))
            return false;
        add_pass(own, variant);
    }
    return true;
}

bool adapting_choose(struct call *call, const struct request_adapter *asked, struct api_error *error) {
    struct adapting *own = &call->adapting;
    if (asked->list)
        return choose_list(call, asked, error);
    if (!asked->name.data)
        return true;
    if (!find(call, asked->name, asked, &own->adapter, &own->key, error))
        return false;
    own->on = own->adapter && own->key.strength > 0 && !own->adapter->probe;
    return true;
}

bool adapting_one(const struct call *call, struct api_error *error) {
    return !call->adapting.variants || api_fail(error, 400, "unsupported_adapter", "adapter",
                                                "a list of adapters is answered by /v1/classify alone");
}

bool adapting_changes(const struct call *call, struct api_error *error) {
    const struct adapter *adapter = call->adapting.adapter;
    return !adapter || !adapter->probe ||
           api_fail(error, 400, "unsupported_adapter", "adapter",
                    "%s is a probe, which changes no embedding; /v1/classify uses it", adapter->name);
}

static bool copy_texts(const char *const *strings, size_t n, struct arena *arena, const struct text **out) {
    struct text *texts = arena_array(arena, n, sizeof *texts);
    for (size_t i = 0; texts && i < n; i++)
        texts[i] = text_of(strings[i]);
    *out = texts;
    return texts;
}

static bool same_texts(const char *const *a, size_t n, const char *const *b, size_t m) {
    for (size_t i = 0; n == m && i < n; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return n == m;
}

static bool same_labels(const struct adapter *a, const struct adapter *b) {
    const struct limoe_adapter_info *x = limoe_adapter_about(a->probe), *y = limoe_adapter_about(b->probe);
    return same_texts(x->labels, x->n_labels, y->labels, y->n_labels) &&
           same_texts(x->templates, x->n_templates, y->templates, y->n_templates);
}

/* The probe whose labels the call's are; *probe NULL: there is none. False: there are two with different ones. */
static bool find_probe(const struct call *call, const struct adapter **probe, struct api_error *error) {
    const struct adapting *own = &call->adapting;
    *probe = own->adapter && own->adapter->probe ? own->adapter : NULL;
    for (size_t i = 0; i < own->n_variants; i++) {
        const struct adapter *adapter = own->variants[i].adapter;
        if (!adapter || !adapter->probe)
            continue;
        if (*probe && !same_labels(*probe, adapter))
            return api_fail(
                error, 400, "unsupported_adapter", "adapter",
                "%s and %s are probes with different labels or templates; a list has one set of them",
                (*probe)->name, adapter->name);
        *probe = adapter;
    }
    return true;
}

bool adapting_labels(struct call *call, struct classify_request *request, struct api_error *error) {
    const struct adapter *adapter;
    if (!find_probe(call, &adapter, error))
        return false;
    if (!adapter)
        return request->classifier.data || request->n_labels > 0 || request_check_labels(request, error);
    if (request->classifier.data || request->labels)
        return api_fail(error, 400, "conflicting_fields", request->labels ? "labels" : "classifier",
                        "%s is a probe, which has its own labels", adapter->name);
    const struct limoe_adapter_info *info = limoe_adapter_about(adapter->probe);
    if (!copy_texts(info->labels, info->n_labels, call->arena, &request->labels) ||
        !copy_texts(info->templates, info->n_templates, call->arena, &request->templates))
        return api_fail_memory(error);
    request->n_labels = info->n_labels;
    request->n_templates = info->n_templates;
    return request_check_labels(request, error);
}

static size_t name_bytes(const struct request_item *input) {
    return 1 + sizeof(struct tail_key) + input->size;
}

size_t adapting_bytes(const struct call *call) {
    size_t bytes = call->adapting.of ? call->n * sizeof(void *) : 0;
    for (size_t i = 0; call->adapting.of && call->generation->cache && i < call->n; i++)
        if (call->inputs[i].modality == LIMOE_TEXT)
            bytes += 2 * name_bytes(&call->inputs[i]); /* to look for it, and to keep it */
    return bytes;
}

struct text adapting_cached_name(struct call *call, const struct request_item *input,
                                 const struct tail_key *key) {
    if (!key)
        return (struct text){.data = (const char *)input->bytes, .size = input->size};
    char *name = arena_array(call->arena, name_bytes(input), 1);
    if (!name)
        return (struct text){.data = NULL};
    name[0] = NOT_TEXT;
    memcpy(name + 1, key, sizeof *key);
    memcpy(name + 1 + sizeof *key, input->bytes, input->size);
    return (struct text){.data = name, .size = name_bytes(input)};
}

/* Without the name of a file that only we know. */
static const char *message_of(const struct limoe_error *cause) {
    const char *rest = strstr(cause->message, ": ");
    const bool named = strncmp(cause->message, ADAPTERS_NEW_FILE, strlen(ADAPTERS_NEW_FILE)) == 0;
    return named && rest ? rest + 2 : cause->message;
}

bool adapting_fail(struct call *call, struct api_error *error) {
    const struct limoe_error *cause = &call->job.error;
    const bool put = call->adapting.draft;
    switch (cause->status) {
    case LIMOE_NOT_FOUND:
        return api_fail(error, 409, "adapter_gone", "adapter",
                        "the adapter was replaced or deleted before the request was computed");
    case LIMOE_TOO_LARGE:
        return api_fail(error, 413, "adapter_too_large", "adapter", "%s (--adapter-memory)", cause->message);
    case LIMOE_UNSUPPORTED:
        return api_fail(error, 400, "unsupported_adapter", "adapter", "%s", cause->message);
    case LIMOE_INVALID:
    case LIMOE_CORRUPT:
        if (put)
            return api_fail(error, 400, "invalid_adapter", NULL, "the body is no adapter of this model: %s",
                            message_of(cause));
        break;
    case LIMOE_NO_MEMORY:
        return api_fail_memory(error);
    default:
        break;
    }
    return api_fail(error, 500, "engine_error", NULL, "the engine could not compute this request: %s",
                    cause->message);
}

void adapting_release(struct call *call) {
    adapter_release(call->adapting.adapter);
    for (size_t i = 0; i < call->adapting.n_variants; i++)
        adapter_release(call->adapting.variants[i].adapter);
    call->adapting.n_variants = 0;
    adapters_discard(call->adapting.draft);
    call->adapting.adapter = call->adapting.draft = NULL;
}
