/* dialects.c - the list of dialects, sets of them, and what several of them share. Read-only, any thread. */
#include <string.h>

#include "base/error.h"
#include "server/api/dialects/dialect.h"
#include "server/api/request_parts.h"

/* To add one: its bit (dialect.h), its name here, its files, rows of server/front/calls/route.c, tests, docs
 * (docs/development.md#a-dialect). */
static const struct dialect *const dialects[] = {
    [DIALECT_HF] = &dialect_hf,
    [DIALECT_RERANK] = &dialect_rerank,
    [DIALECT_NIM] = &dialect_nim,
    [DIALECT_SAGEMAKER] = &dialect_sagemaker,
    [DIALECT_VERTEX] = &dialect_vertex,
    [DIALECT_TITAN] = &dialect_titan,
    [DIALECT_IMMICH] = &dialect_immich,
    [DIALECT_OLLAMA] = &dialect_ollama,
    [DIALECT_COHERE] = &dialect_cohere,
    [DIALECT_VOYAGE] = &dialect_voyage,
    [DIALECT_WEAVIATE] = &dialect_weaviate,
    [DIALECT_ROBOFLOW] = &dialect_roboflow,
    [DIALECT_OIP] = &dialect_oip,
};
_Static_assert(sizeof dialects / sizeof dialects[0] == DIALECTS && DIALECTS <= 32, "a bit each");

#define ALL (UINT32_MAX >> (32 - DIALECTS))

static enum limoe_status refuse(struct text name, struct limoe_error *err) {
    struct buffer names = {0};
    char quoted[64];
    for (size_t i = 0; i < DIALECTS; i++)
        buffer_print(&names, ", %s", dialects[i]->name);
    const enum limoe_status status =
        limoe_fail(err, LIMOE_INVALID, "dialects has \"%s\"; accepted: all, none%.*s",
                   text_quote(name, quoted, sizeof quoted), (int)names.size, names.data ? names.data : "");
    buffer_free(&names);
    return status;
}

enum limoe_status dialects_parse(const char *list, uint32_t *out, struct limoe_error *err) {
    struct text rest = text_of(list);
    *out = 0;
    for (size_t n = text_comma_count(rest); n > 0; n--) {
        const struct text name = text_comma_next(&rest);
        uint32_t found = text_is(name, "all") ? ALL : 0;
        for (size_t i = 0; i < DIALECTS; i++)
            if (text_is(name, dialects[i]->name))
                found = UINT32_C(1) << i;
        if (!found && !text_is(name, "none"))
            return refuse(name, err);
        *out |= found;
    }
    return LIMOE_OK;
}

bool dialects_have(uint32_t set, const struct dialect *dialect) {
    return !dialect || set & UINT32_C(1) << dialect->bit;
}

static bool owns(const struct dialect *dialect, const char *path) {
    for (const char *const *prefix = dialect->prefixes; *prefix; prefix++) {
        const size_t length = strlen(*prefix);
        if (strncmp(path, *prefix, length) == 0 && (path[length] == '/' || !path[length]))
            return true;
    }
    return false;
}

const struct dialect *dialects_at(uint32_t set, const char *path) {
    for (size_t i = 0; i < DIALECTS; i++)
        if (dialects_have(set, dialects[i]) && owns(dialects[i], path))
            return dialects[i];
    return NULL;
}

bool dialect_fail_starting(struct api_error *error) {
    return api_fail(error, 503, "starting", NULL, "the server is starting: the model is not ready yet");
}

bool dialect_check_ready(const struct dialect_about *about, struct api_error *error) {
    return about->ready || api_fail(error, 503, "starting", NULL, "%s", about->why);
}

bool dialect_read_object(const struct dialect_input *in, const struct json_value **object,
                         struct api_error *error) {
    *object = in->object;
    return in->object || request_read_object(in->body, in->size, in->arena, object, error);
}

static void write_error(struct buffer *out, const char *name, const struct api_error *error) {
    buffer_print(out, "{\"%s\":", name);
    buffer_json_string(out, error->message);
    buffer_string(out, "}");
}

void dialect_error_string(struct buffer *out, const struct api_error *error) {
    write_error(out, "error", error);
}

void dialect_error_message(struct buffer *out, const struct api_error *error) {
    write_error(out, "message", error);
}

void dialect_error_detail(struct buffer *out, const struct api_error *error) {
    write_error(out, "detail", error);
}

bool dialect_check_dimensions(const struct limoe_info *model, const struct json_value *field,
                              struct api_error *error) {
    return (field->type == JSON_NUMBER && field->number == (double)model->embed) ||
           api_fail(error, 400, "unsupported_dimensions", "dimensions",
                    "dimensions must be %u: this model was not trained to be cut shorter", model->embed);
}

size_t dialect_count_images(const struct embed_request *request) {
    size_t n = 0;
    for (size_t i = 0; i < request->n_items; i++)
        n += request->items[i].modality == LIMOE_IMAGE;
    return n;
}

void dialect_write_vector(struct buffer *out, const float *row, size_t n) {
    for (size_t i = 0; i < n; i++) {
        buffer_bytes(out, i ? "," : "[", 1);
        buffer_json_float(out, row[i]);
    }
    buffer_bytes(out, "]", 1);
}

void dialect_write_vectors(struct buffer *out, const float *rows, size_t n, size_t embed) {
    buffer_reserve(out, answer_embeddings_size(n, embed, REQUEST_FLOAT));
    for (size_t i = 0; i < n; i++) {
        buffer_bytes(out, i ? "," : "[", 1);
        dialect_write_vector(out, rows + i * embed, embed);
    }
    buffer_bytes(out, "]", 1);
}

void dialect_write_cosines(struct buffer *out, const struct classification *ranked, float *room) {
    for (size_t k = 0; k < ranked->count; k++)
        room[ranked->predictions[k].label] = ranked->predictions[k].cosine;
    dialect_write_vector(out, room, ranked->count);
}
