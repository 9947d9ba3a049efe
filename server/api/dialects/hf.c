/* hf.c - Hugging Face's inference API and TEI: what huggingface_hub's InferenceClient and TEI's clients send
 * and read. Shapes: huggingface.co/docs/inference-providers/tasks, huggingface.github.io/text-embeddings-inference. */
#include "server/api/dialects/hf.h"

#include "server/api/request_parts.h"
#include "server/api/request_peers.h"

#define ANY_FIELDS "inputs, parameters, options, normalize, truncate, truncation_direction, dimensions, model"
#define IMAGE_FORM "a string (base64 or a data URI), or {\"image\": …}"

/* The body's fields, before their shape is looked at. */
struct fields {
    const struct json_value *inputs, *parameters;
};

/* What asks for something that is done anyway, or else is refused with the reason. */
static bool read_peer(const struct json_value *field, const struct limoe_info *model, const char *accepted,
                      struct api_error *error) {
    const struct request_peer_field *peer = request_peer_find(field->name);
    if (text_is(field->name, "dimensions"))
        return dialect_check_dimensions(model, field, error);
    return peer ? request_peer_check(peer, model, field, error)
                : request_refuse_field(field->name.data, field->name.size, accepted, error);
}

/* "options" says how the hosted service is to wait and cache, which is of no consequence here. */
static bool read_fields(const struct json_value *object, const struct limoe_info *model, struct fields *out,
                        struct api_error *error) {
    for (const struct json_value *field = object->child; field; field = field->next) {
        bool ok = true;
        if (field->type == JSON_NULL || text_is(field->name, "model"))
            continue;
        if (text_is(field->name, "inputs"))
            out->inputs = field;
        else if (text_is(field->name, "parameters")) {
            out->parameters = field;
            ok = field->type == JSON_OBJECT ||
                 request_refuse_type("parameters", "an object", field->type, error);
        } else if (text_is(field->name, "options"))
            ok =
                field->type == JSON_OBJECT || request_refuse_type("options", "an object", field->type, error);
        else
            ok = read_peer(field, model, ANY_FIELDS, error);
        if (!ok)
            return false;
    }
    return out->inputs || api_fail(error, 400, "missing_input", "inputs",
                                   "inputs is missing; accepted: a string, a list of strings, or an object");
}

static bool read_parameters(const struct json_value *parameters, const struct limoe_info *model,
                            struct api_error *error) {
    for (const struct json_value *field = parameters ? parameters->child : NULL; field; field = field->next)
        if (field->type != JSON_NULL &&
            !read_peer(field, model,
                       "candidate_labels, hypothesis_template, normalize, truncate, truncation_direction",
                       error))
            return false;
    return true;
}

/* ---- vectors: [[…],…], also of one input */

static void write_vectors(const struct dialect_request *request, const struct dialect_result *result,
                          struct dialect_answer *out) {
    dialect_write_vectors(out->body, result->embeddings, request->embed.n_items, result->model->embed);
}

static bool read_vectors(const struct dialect_input *in, const struct fields *fields, size_t index,
                         struct dialect_request *out, struct api_error *error) {
    const struct request_items_reader reader = {
        .arena = in->arena, .strings = STRINGS_BY_LOOK, .error = error};
    const struct limoe_info *model = in->models->info[index];
    struct embed_request *request = &out->embed;
    *request = (struct embed_request){.model = index};
    out->kind = DIALECT_EMBED;
    out->write = write_vectors;
    return read_parameters(fields->parameters, model, error) &&
           request_read_items(&reader, fields->inputs, "inputs", request) &&
           request_check_modalities(model, request->items, request->n_items, error);
}

/* ---- similarity: [f,…] in the order of the sentences */

static void write_similarity(const struct dialect_request *request, const struct dialect_result *result,
                             struct dialect_answer *out) {
    dialect_write_cosines(out->body, result->rows, (float *)request->notes);
}

static bool check_members(const struct json_value *inputs, struct api_error *error) {
    for (const struct json_value *field = inputs->child; field; field = field->next)
        if (field->type != JSON_NULL && !text_is(field->name, "source_sentence") &&
            !text_is(field->name, "sentences"))
            return request_refuse_field(field->name.data, field->name.size,
                                        "source_sentence, sentences (of inputs)", error);
    return true;
}

static bool read_similarity(const struct dialect_input *in, const struct fields *fields, size_t index,
                            struct dialect_request *out, struct api_error *error) {
    const struct request_items_reader reader = {
        .arena = in->arena, .strings = STRINGS_BY_LOOK, .error = error};
    const struct limoe_info *model = in->models->info[index];
    if (fields->inputs->type != JSON_OBJECT)
        return request_refuse_type("inputs", "{\"source_sentence\": …, \"sentences\": […]}",
                                   fields->inputs->type, error);
    const struct json_value *source = json_given(fields->inputs, text_of("source_sentence"));
    const struct json_value *sentences = json_given(fields->inputs, text_of("sentences"));
    if (!check_members(fields->inputs, error) || !read_parameters(fields->parameters, model, error))
        return false;
    if (!source || !sentences)
        return api_fail(error, 400, "missing_input", source ? "inputs.sentences" : "inputs.source_sentence",
                        "inputs.%s is missing", source ? "sentences" : "source_sentence");
    if (sentences->type != JSON_ARRAY)
        return request_refuse_type("inputs.sentences", "a list of strings", sentences->type, error);
    if (!sentences->count || sentences->count >= REQUEST_MAX_ITEMS)
        return api_fail(error, 400, sentences->count ? "too_many_items" : "empty_input", "inputs.sentences",
                        "%zu sentences; 1 to %u are accepted", sentences->count, REQUEST_MAX_ITEMS - 1);
    struct request_item *items = arena_array(in->arena, sentences->count + 1, sizeof *items);
    out->notes = arena_array(in->arena, sentences->count, sizeof(float));
    if (!items || !out->notes)
        return api_fail_memory(error);
    out->kind = DIALECT_COMPARE;
    out->write = write_similarity;
    out->compare = (struct compare_request){
        .model = index, .items = items, .n = sentences->count, .top_n = sentences->count};
    return request_read_item(&reader, source, "inputs.source_sentence", &items[0]) &&
           request_read_item_list(&reader, sentences, "inputs.sentences", items + 1) &&
           request_check_modalities(model, items, sentences->count + 1, error);
}

/* ---- zero-shot classification: [{"score","label"}] by descending score */

static void write_labels(const struct dialect_request *request, const struct dialect_result *result,
                         struct dialect_answer *out) {
    const struct classification *ranked = result->rows;
    buffer_string(out->body, "[");
    for (size_t k = 0; k < ranked->count; k++) {
        const struct prediction *prediction = &ranked->predictions[k];
        buffer_string(out->body, k ? ",{\"score\":" : "{\"score\":");
        buffer_json_float(out->body, prediction->score);
        buffer_string(out->body, ",\"label\":");
        buffer_json_text(out->body, request->classify.labels[prediction->label]);
        buffer_string(out->body, "}");
    }
    buffer_string(out->body, "]");
}

static bool read_template(const struct json_value *value, struct arena *arena,
                          struct classify_request *request, struct api_error *error) {
    struct text *template = arena_array(arena, 1, sizeof *template);
    if (!template)
        return api_fail_memory(error);
    if (value->type != JSON_STRING)
        return request_refuse_type("hypothesis_template", "a string with a {}", value->type, error);
    *template = value->string;
    request->templates = template;
    request->n_templates = 1;
    return true;
}

static bool read_label_parameters(const struct json_value *parameters, const struct limoe_info *model,
                                  struct arena *arena, struct classify_request *request,
                                  struct api_error *error) {
    struct request_list labels = request_labels(request);
    labels.name = "candidate_labels";
    for (const struct json_value *field = parameters->child; field; field = field->next) {
        bool ok = true;
        if (field->type == JSON_NULL)
            continue;
        if (text_is(field->name, "candidate_labels"))
            ok = request_read_strings(field, &labels, arena, error);
        else if (text_is(field->name, "hypothesis_template"))
            ok = read_template(field, arena, request, error);
        else
            ok = read_peer(field, model, "candidate_labels, hypothesis_template", error);
        if (!ok)
            return false;
    }
    return request_check_labels(request, error);
}

static bool read_classification(const struct dialect_input *in, const struct fields *fields, size_t index,
                                struct dialect_request *out, struct api_error *error) {
    struct classify_request *request = &out->classify;
    struct request_item *image = arena_array(in->arena, 1, sizeof *image);
    const struct json_value *picture =
        fields->inputs->type == JSON_OBJECT ? json_given(fields->inputs, text_of("image")) : fields->inputs;
    *request = (struct classify_request){.model = index, .images = image, .n_images = 1};
    out->kind = DIALECT_CLASSIFY;
    out->write = write_labels;
    if (!image)
        return api_fail_memory(error);
    if (!picture || picture->type != JSON_STRING)
        return request_refuse_type("inputs", IMAGE_FORM, picture ? picture->type : JSON_OBJECT, error);
    return read_label_parameters(fields->parameters, in->models->info[index], in->arena, request, error) &&
           request_read_image(picture->string, "inputs", in->arena, image, error);
}

/* ---- which of them */

/* The model, by the path or the body, and the body's fields. */
static bool read_body(const struct dialect_input *in, struct fields *fields, size_t *model,
                      struct api_error *error) {
    const struct json_value *object = NULL;
    if (!dialect_read_object(in, &object, error) ||
        !(in->below.size ? request_find_model(in->models, in->below, model, error)
                         : request_choose_model(in->models, object, model, error)))
        return false;
    return read_fields(object, in->models->info[*model], fields, error) && fields->inputs;
}

bool hf_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    struct fields fields = {0};
    size_t model;
    if (!read_body(in, &fields, &model, error))
        return false;
    if (fields.parameters && json_given(fields.parameters, text_of("candidate_labels")))
        return read_classification(in, &fields, model, out, error);
    if (fields.inputs->type == JSON_OBJECT && json_given(fields.inputs, text_of("image")))
        return api_fail(error, 400, "empty_labels", "parameters.candidate_labels",
                        "parameters.candidate_labels is missing: a picture is classified by labels");
    return (fields.inputs->type == JSON_OBJECT ? read_similarity : read_vectors)(in, &fields, model, out,
                                                                                 error);
}

bool hf_read_embed(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    struct fields fields = {0};
    size_t model;
    return read_body(in, &fields, &model, error) && read_vectors(in, &fields, model, out, error);
}

bool hf_read_similarity(const struct dialect_input *in, struct dialect_request *out,
                        struct api_error *error) {
    struct fields fields = {0};
    size_t model;
    return read_body(in, &fields, &model, error) && read_similarity(in, &fields, model, out, error);
}

/* ---- what is told */

bool hf_tell_info(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error) {
    if (!about->n)
        return dialect_fail_starting(error);
    const struct answer_model *model = &about->models[0];
    buffer_string(out->body, "{\"model_id\":");
    buffer_json_string(out->body, model->info->name);
    buffer_string(out->body, ",\"model_sha\":");
    buffer_json_string(out->body, model->fingerprint);
    buffer_string(out->body, ",\"model_dtype\":");
    buffer_json_string(out->body, model->dtype);
    buffer_print(out->body,
                 ",\"model_type\":{\"embedding\":{}},\"max_concurrent_requests\":%zu,"
                 "\"max_input_length\":%u,\"max_client_batch_size\":%u,\"auto_truncate\":true,\"version\":",
                 about->most_requests, model->info->text_length, REQUEST_MAX_ITEMS);
    buffer_json_string(out->body, limoe_version());
    buffer_string(out->body, "}");
    return true;
}

bool hf_tell_ping(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error) {
    if (!dialect_check_ready(about, error))
        return false;
    buffer_string(out->body, "{\"status\":\"ok\"}");
    return true;
}

/* ---- errors */

const char *hf_error_type(int status) {
    switch (status) {
    case 429:
        return "overloaded";
    case 500:
        return "backend";
    case 503:
        return "unhealthy";
    default:
        return "validation";
    }
}

int hf_status(const struct api_error *error) {
    return error->status == 400 ? 422 : error->status == 500 ? 424 : error->status;
}

static void write_error(struct buffer *out, const struct api_error *error) {
    buffer_string(out, "{\"error\":");
    buffer_json_string(out, error->message);
    buffer_print(out, ",\"error_type\":\"%s\"}", hf_error_type(error->status));
}

static const char *const prefixes[] = {"/hf", NULL};
const struct dialect dialect_hf = {
    .name = "hf", .bit = DIALECT_HF, .prefixes = prefixes, .write_error = write_error, .status = hf_status};
