/* ollama.c - what clients of Ollama send for embeddings, and read. Shapes: github.com/ollama/ollama, docs/api.md. */
#include "server/api/dialects/ollama.h"

#include <inttypes.h>
#include <time.h>

#include "server/api/request_parts.h"
#include "server/api/request_peers.h"

#define TAG ":latest"

/* The reader of both requests. */
struct reader {
    const struct limoe_info *model;
    const struct json_value *input; /* read last */
    struct api_error *error;
};

static bool keep_input(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->input = value;
    return true;
}

static bool check_truncate(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return request_peer_check(request_peer_find(value->name), r->model, value, r->error);
}

static bool check_dimensions(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return dialect_check_dimensions(r->model, value, r->error);
}

/* How a model that generates is run: there is nothing of this to choose here. */
static bool check_options(void *reader, const struct json_value *value) {
    return value->type == JSON_OBJECT ||
           request_refuse_type("options", "an object", value->type, ((struct reader *)reader)->error);
}

/* A model stays in memory in any case. */
static bool check_keep_alive(void *reader, const struct json_value *value) {
    return value->type == JSON_STRING || value->type == JSON_NUMBER ||
           request_refuse_type("keep_alive", "a number or a string", value->type,
                               ((struct reader *)reader)->error);
}

#define HARMLESS                                                                                             \
    {.name = "truncate", .forms = FIELD_JSON, .read = check_truncate},                                       \
        {.name = "dimensions", .forms = FIELD_JSON, .read = check_dimensions},                               \
        {.name = "options", .forms = FIELD_JSON, .read = check_options},                                     \
        {.name = "keep_alive", .forms = FIELD_JSON, .read = check_keep_alive}, FIELD_MODEL(FIELD_JSON)

static const struct field embed[] = {{.name = "input", .forms = FIELD_JSON, .read = keep_input}, HARMLESS};
static const struct field prompt[] = {{.name = "prompt", .forms = FIELD_JSON, .read = keep_input}, HARMLESS};
static const struct field_table embed_fields = {FIELD_TABLE(embed)}, prompt_fields = {FIELD_TABLE(prompt)};

/* Clients put the tag ":latest" behind a name that has none: "pictograms:latest" is pictograms, unless a model
 * or an alias is called so to the letter. */
static bool choose_model(const struct request_models *models, const struct json_value *object, size_t *out,
                         struct api_error *error) {
    const struct json_value *name = json_member(object, text_of("model"));
    const struct text written = name && name->type == JSON_STRING ? name->string : text_of("");
    struct text bare = written;
    if (text_take_suffix(&bare, TAG)) {
        *out = model_names_find_written(models, written);
        if (*out == models->n)
            *out = model_names_find_written(models, bare);
        if (*out < models->n)
            return true;
    }
    return request_choose_model(models, object, out, error);
}

static bool read(const struct dialect_input *in, const struct field_table *table, const char *name,
                 struct dialect_request *out, struct api_error *error) {
    const struct json_value *object;
    struct embed_request *request = &out->embed;
    struct reader reader = {.error = error};
    const struct request_items_reader items = {.arena = in->arena, .error = error};
    out->kind = DIALECT_EMBED;
    if (!dialect_read_object(in, &object, error) || !choose_model(in->models, object, &request->model, error))
        return false;
    reader.model = in->models->info[request->model];
    return field_read_object(object, table, &reader, error) &&
           request_read_items(&items, reader.input, name, request) &&
           request_check_modalities(reader.model, request->items, request->n_items, error);
}

/* ---- answers */

/* Durations are nanoseconds; nothing is loaded for a request. */
static void write_embed(const struct dialect_request *request, const struct dialect_result *result,
                        struct dialect_answer *out) {
    buffer_string(out->body, "{\"model\":");
    buffer_json_string(out->body, result->model->name);
    buffer_string(out->body, ",\"embeddings\":");
    dialect_write_vectors(out->body, result->embeddings, request->embed.n_items, result->model->embed);
    buffer_print(out->body,
                 ",\"total_duration\":%" PRId64 ",\"load_duration\":0,\"prompt_eval_count\":%" PRIu64 "}",
                 result->ns, result->usage.prompt_tokens + result->usage.image_tokens);
}

static void write_prompt(const struct dialect_request *request, const struct dialect_result *result,
                         struct dialect_answer *out) {
    (void)request;
    buffer_string(out->body, "{\"embedding\":");
    dialect_write_vector(out->body, result->embeddings, result->model->embed);
    buffer_string(out->body, "}");
}

bool ollama_read_embed(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    out->write = write_embed;
    return read(in, &embed_fields, "input", out, error);
}

bool ollama_read_prompt(const struct dialect_input *in, struct dialect_request *out,
                        struct api_error *error) {
    out->write = write_prompt;
    if (!read(in, &prompt_fields, "prompt", out, error))
        return false;
    return out->embed.n_items == 1 ||
           api_fail(error, 400, "too_many_items", "prompt",
                    "prompt has %zu items; one is accepted here, several by /api/embed as input",
                    out->embed.n_items);
}

/* ---- what is told */

/* "pictograms:latest" */
static void write_name(struct buffer *out, const char *name) {
    struct buffer tagged = {0};
    buffer_print(&tagged, "%s" TAG, name);
    if (tagged.failed)
        out->failed = true;
    else
        buffer_json_text(out, (struct text){.data = tagged.data, .size = tagged.size});
    buffer_free(&tagged);
}

static void write_tag(struct buffer *out, const struct answer_model *model) {
    char when[32] = "1970-01-01T00:00:00Z";
    const time_t created = (time_t)model->created;
    struct tm parts;
    if (gmtime_r(&created, &parts))
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts);
    buffer_string(out, "{\"name\":");
    write_name(out, model->info->name);
    buffer_string(out, ",\"model\":");
    write_name(out, model->info->name);
    buffer_print(out, ",\"modified_at\":\"%s\",\"size\":%" PRIu64 ",\"digest\":", when,
                 model->info->weight_bytes);
    buffer_json_string(out, model->fingerprint);
    buffer_string(out, ",\"details\":{\"format\":\"safetensors\",\"family\":");
    buffer_json_string(out, model->info->architecture);
    buffer_string(out, ",\"families\":[");
    buffer_json_string(out, model->info->architecture);
    buffer_print(out, "],\"parameter_size\":\"%.1fM\",\"quantization_level\":",
                 (double)model->info->total_parameters / 1e6);
    buffer_json_string(out, model->dtype);
    buffer_string(out, "}}");
}

bool ollama_tell_tags(const struct dialect_about *about, struct dialect_answer *out,
                      struct api_error *error) {
    if (!about->n)
        return dialect_fail_starting(error);
    for (size_t i = 0; i < about->n; i++) {
        buffer_string(out->body, i ? "," : "{\"models\":[");
        write_tag(out->body, &about->models[i]);
    }
    buffer_string(out->body, "]}");
    return true;
}

bool ollama_tell_version(const struct dialect_about *about, struct dialect_answer *out,
                         struct api_error *error) {
    (void)about, (void)error;
    buffer_string(out->body, "{\"version\":");
    buffer_json_string(out->body, limoe_version());
    buffer_string(out->body, "}");
    return true;
}

static const char *const prefixes[] = {"/api", NULL};
const struct dialect dialect_ollama = {
    .name = "ollama", .bit = DIALECT_OLLAMA, .prefixes = prefixes, .write_error = dialect_error_string};
