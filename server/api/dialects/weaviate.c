/* weaviate.c - what Weaviate's multi2vec-clip sends and reads. Shapes: github.com/weaviate/weaviate,
 * modules/multi2vec-clip/clients. It sends no Content-Type and no key. */
#include "server/api/dialects/weaviate.h"

#include "server/api/request_parts.h"

struct reader {
    const struct json_value *texts, *images; /* read last */
};

static bool keep_texts(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->texts = value;
    return true;
}

static bool keep_images(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->images = value;
    return true;
}

static const struct field accepted[] = {{.name = "texts", .forms = FIELD_JSON, .read = keep_texts},
                                        {.name = "images", .forms = FIELD_JSON, .read = keep_images},
                                        FIELD_MODEL(FIELD_JSON)};
static const struct field_table fields = {FIELD_TABLE(accepted)};

static bool check_list(const struct json_value *list, const char *name, struct api_error *error) {
    return !list || list->type == JSON_ARRAY ||
           request_refuse_type(name, "a list of strings, or null", list->type, error);
}

/* The texts, then the pictures. */
static bool read_items(const struct dialect_input *in, const struct reader *r, struct embed_request *out,
                       struct api_error *error) {
    const struct request_items_reader texts = {
        .arena = in->arena, .strings = STRINGS_ARE_TEXTS, .error = error};
    const struct request_items_reader images = {
        .arena = in->arena, .strings = STRINGS_ARE_IMAGES, .error = error};
    if (!check_list(r->texts, "texts", error) || !check_list(r->images, "images", error))
        return false;
    const size_t n_texts = r->texts ? r->texts->count : 0;
    const size_t n = n_texts + (r->images ? r->images->count : 0);
    if (!n || n > REQUEST_MAX_ITEMS)
        return api_fail(error, 400, n ? "too_many_items" : "empty_input", "texts",
                        "there are %zu texts and images; 1 to %u are accepted", n, REQUEST_MAX_ITEMS);
    struct request_item *items = arena_array(in->arena, n, sizeof *items);
    if (!items)
        return api_fail_memory(error);
    out->items = items;
    out->n_items = n;
    return (!r->texts || request_read_item_list(&texts, r->texts, "texts", items)) &&
           (!r->images || request_read_item_list(&images, r->images, "images", items + n_texts));
}

/* The vectors of one modality, in the order of the request; both lists are there, if an empty one. */
static void write_modality(struct buffer *out, const struct embed_request *request, const float *rows,
                           size_t embed, enum limoe_modality modality) {
    const char *before = "";
    for (size_t i = 0; i < request->n_items; i++) {
        if (request->items[i].modality != modality)
            continue;
        buffer_string(out, before);
        dialect_write_vector(out, rows + i * embed, embed);
        before = ",";
    }
}

static void write(const struct dialect_request *request, const struct dialect_result *result,
                  struct dialect_answer *out) {
    const size_t embed = result->model->embed;
    buffer_string(out->body, "{\"textVectors\":[");
    write_modality(out->body, &request->embed, result->embeddings, embed, LIMOE_TEXT);
    buffer_string(out->body, "],\"imageVectors\":[");
    write_modality(out->body, &request->embed, result->embeddings, embed, LIMOE_IMAGE);
    buffer_string(out->body, "]}");
}

bool weaviate_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    const struct json_value *object;
    struct reader reader = {0};
    out->kind = DIALECT_EMBED;
    out->write = write;
    return dialect_read_object(in, &object, error) &&
           request_choose_model(in->models, object, &out->embed.model, error) &&
           field_read_object(object, &fields, &reader, error) &&
           read_items(in, &reader, &out->embed, error) &&
           request_check_modalities(in->models->info[out->embed.model], out->embed.items, out->embed.n_items,
                                    error);
}

/* ---- what is told */

bool weaviate_tell_meta(const struct dialect_about *about, struct dialect_answer *out,
                        struct api_error *error) {
    if (!about->n)
        return dialect_fail_starting(error);
    const struct answer_model *model = &about->models[0];
    buffer_string(out->body, "{\"model\":");
    buffer_json_string(out->body, model->info->name);
    buffer_string(out->body, ",\"architecture\":");
    buffer_json_string(out->body, model->info->architecture);
    buffer_string(out->body, ",\"fingerprint\":");
    buffer_json_string(out->body, model->fingerprint);
    buffer_print(out->body, ",\"dimensions\":%u,\"version\":", model->info->embed);
    buffer_json_string(out->body, limoe_version());
    buffer_string(out->body, "}");
    return true;
}

bool weaviate_tell_live(const struct dialect_about *about, struct dialect_answer *out,
                        struct api_error *error) {
    (void)about, (void)error;
    out->status = 204;
    return true;
}

bool weaviate_tell_ready(const struct dialect_about *about, struct dialect_answer *out,
                         struct api_error *error) {
    out->status = 204;
    return dialect_check_ready(about, error);
}

static const char *const prefixes[] = {NULL};
const struct dialect dialect_weaviate = {
    .name = "weaviate", .bit = DIALECT_WEAVIATE, .prefixes = prefixes, .write_error = dialect_error_string};
