/* oip.c - tensors → what is to be embedded, vectors and scores → tensors. */
#include "server/api/dialects/oip.h"

#include "server/api/dialects/instances.h"
#include "server/api/request_parts.h"
#include <stdio.h>

#define INPUTS  "text, image, labels (with image), templates (with labels)"
#define PREDICT ":predict"

/* The request's inputs by what they are; NULL: not given. */
struct inputs {
    const struct oip_input *text, *image, *labels, *templates;
};

/* Binary data is little-endian; so is every machine this builds for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "float32 is sent as it lies in memory");

/* What the writer must know besides. */
struct notes {
    struct text id; /* data NULL: none */
    bool binary;
    struct text name; /* of the model, as it was asked for */
    float *scores;    /* [images, labels], for the writer to fill; NULL: vectors are asked for */
};

/* ---- which input is which */

static const struct oip_input **slot_of(struct inputs *inputs, struct text name) {
    return text_is(name, "text") || text_is(name, "input_text") ? &inputs->text
           : text_is(name, "image")                             ? &inputs->image
           : text_is(name, "labels")                            ? &inputs->labels
           : text_is(name, "templates")                         ? &inputs->templates
                                                                : NULL;
}

static bool sort_inputs(const struct oip_body *body, struct inputs *inputs, struct api_error *error) {
    char quoted[40];
    for (size_t i = 0; i < body->n_inputs; i++) {
        const struct oip_input *input = &body->inputs[i];
        const struct oip_input **slot = slot_of(inputs, input->name);
        if (!slot)
            return api_fail(error, 400, "unknown_field", "inputs",
                            "there is no input \"%s\"; accepted: " INPUTS,
                            text_quote(input->name, quoted, sizeof quoted));
        if (*slot)
            return api_fail(error, 400, "duplicate_field", "inputs",
                            "both input_text and text are given; one of them is accepted");
        *slot = input;
    }
    return true;
}

static bool check_inputs(const struct inputs *inputs, struct api_error *error) {
    if (inputs->text && (inputs->image || inputs->labels || inputs->templates))
        return api_fail(error, 400, "conflicting_fields", "inputs",
                        "text stands beside other inputs; accepted: text alone, or " INPUTS);
    if (inputs->templates && !inputs->labels)
        return api_fail(error, 400, "empty_labels", "labels", "labels is missing: templates are for labels");
    return true;
}

static bool check_count(const struct oip_input *input, size_t most, struct api_error *error) {
    return input->n <= most ||
           api_fail(error, 400, "too_many_items", input->param, "%s has %zu elements; up to %zu are accepted",
                    input->param, input->n, most);
}

/* ---- elements */

/* Binary elements are whatever bytes came: where text is meant they have to be some. */
static bool check_texts(const struct oip_input *input, struct api_error *error) {
    for (size_t i = 0; input->binary && i < input->n; i++) {
        const struct text *element = &input->elements[i];
        const size_t at = text_check(element->data, element->size);
        if (at < element->size)
            return api_fail(error, 400, "invalid_utf8", input->param,
                            "element %zu of %s is not UTF-8, or has a NUL byte: byte 0x%02x at %zu", i,
                            input->param, (unsigned char)element->data[at], at);
    }
    return true;
}

/* Whether a binary element is base64 or a data URI, and not a file. */
static bool is_encoded(struct text element) {
    uint32_t width, height;
    return element.size &&
           !limoe_image_measure((const uint8_t *)element.data, element.size, &width, &height) &&
           text_check(element.data, element.size) == element.size;
}

static bool read_picture(const struct oip_input *input, size_t i, struct arena *arena,
                         struct request_item *item, struct api_error *error) {
    const struct text element = input->elements[i];
    if (!input->binary || is_encoded(element))
        return request_read_image(element, input->param, arena, item, error);
    if (!element.size)
        return api_fail(error, 400, "invalid_image", input->param, "element %zu of %s is empty", i,
                        input->param);
    *item = (struct request_item){.modality = LIMOE_IMAGE,
                                  .bytes = (const uint8_t *)element.data,
                                  .size = element.size,
                                  .param = input->param};
    return true;
}

/* The input's elements as things to embed; NULL: *error says why not. */
static struct request_item *read_items(const struct oip_input *input, bool pictures, struct arena *arena,
                                       struct api_error *error) {
    if (!check_count(input, REQUEST_MAX_ITEMS, error) || (!pictures && !check_texts(input, error)))
        return NULL;
    struct request_item *items = arena_array(arena, input->n, sizeof *items);
    bool good = items || api_fail_memory(error);
    for (size_t i = 0; good && i < input->n; i++)
        good = pictures ? read_picture(input, i, arena, &items[i], error)
                        : request_read_text(input->elements[i], input->param, &items[i], error);
    return good ? items : NULL;
}

/* ---- outputs */

/* Whether the one output that there is was asked for, and how. */
static bool choose_output(const struct oip_body *body, const char *only, struct notes *notes,
                          struct api_error *error) {
    char quoted[40];
    notes->binary = body->binary_outputs;
    for (size_t i = 0; i < body->n_outputs; i++) {
        if (!text_is(body->outputs[i].name, only))
            return api_fail(error, 400, "unknown_field", "outputs",
                            "there is no output \"%s\" for these inputs; accepted: %s",
                            text_quote(body->outputs[i].name, quoted, sizeof quoted), only);
        notes->binary = body->outputs[i].binary;
    }
    return true;
}

/* Everything of the answer but the numbers, with where they are to be found. */
static void open_output(struct buffer *out, const struct notes *notes, const char *name, size_t rows,
                        size_t columns) {
    buffer_string(out, "{\"model_name\":");
    buffer_json_text(out, notes->name);
    buffer_string(out, ",\"model_version\":\"" OIP_VERSION "\"");
    if (notes->id.data) {
        buffer_string(out, ",\"id\":");
        buffer_json_text(out, notes->id);
    }
    buffer_print(out, ",\"outputs\":[{\"name\":\"%s\",\"datatype\":\"FP32\",\"shape\":[%zu,%zu],", name, rows,
                 columns);
    if (notes->binary)
        buffer_print(out, "\"parameters\":{\"binary_data_size\":%zu}}]}", rows * columns * sizeof(float));
    else
        buffer_string(out, "\"data\":");
}

/* Says where the JSON ends and binary data begins. */
static void begin_binary(struct dialect_answer *out) {
    out->type = "application/octet-stream";
    out->header_name = OIP_LENGTH_HEADER;
    snprintf(out->header_value, sizeof out->header_value, "%zu", out->body->size);
}

static void write_tensor(const struct dialect_request *request, const char *name, const float *values,
                         size_t rows, size_t columns, struct dialect_answer *out) {
    const struct notes *notes = request->notes;
    open_output(out->body, notes, name, rows, columns);
    if (notes->binary) {
        begin_binary(out);
        buffer_bytes(out->body, values, rows * columns * sizeof *values);
        return;
    }
    dialect_write_vector(out->body, values, rows * columns);
    buffer_string(out->body, "}]}");
}

static void write_embedding(const struct dialect_request *request, const struct dialect_result *result,
                            struct dialect_answer *out) {
    write_tensor(request, "embedding", result->embeddings, request->embed.n_items, result->model->embed, out);
}

/* Scores come by rank, and go out by label. */
static void write_scores(const struct dialect_request *request, const struct dialect_result *result,
                         struct dialect_answer *out) {
    const struct classify_request *asked = &request->classify;
    float *scores = ((const struct notes *)request->notes)->scores;
    for (size_t i = 0; i < asked->n_images; i++)
        for (size_t k = 0; k < result->rows[i].count; k++)
            scores[i * asked->n_labels + result->rows[i].predictions[k].label] =
                result->rows[i].predictions[k].score;
    write_tensor(request, "scores", scores, asked->n_images, asked->n_labels, out);
}

/* ---- the request */

static bool ask_for_embedding(const struct dialect_input *in, const struct oip_input *input, bool pictures,
                              size_t model, struct dialect_request *out, struct api_error *error) {
    const struct request_item *items = read_items(input, pictures, in->arena, error);
    out->kind = DIALECT_EMBED;
    out->write = write_embedding;
    out->embed = (struct embed_request){.model = model, .items = items, .n_items = input->n};
    return items && request_check_modalities(in->models->info[model], items, input->n, error);
}

static bool ask_for_scores(const struct dialect_input *in, const struct inputs *inputs,
                           const struct oip_input *pictures, size_t model, struct notes *notes,
                           struct dialect_request *out, struct api_error *error) {
    struct classify_request *asked = &out->classify;
    *asked = (struct classify_request){.model = model,
                                       .n_images = pictures->n,
                                       .labels = inputs->labels->elements,
                                       .n_labels = inputs->labels->n};
    if (inputs->templates) {
        asked->templates = inputs->templates->elements;
        asked->n_templates = inputs->templates->n;
    }
    out->kind = DIALECT_CLASSIFY;
    out->write = write_scores;
    /* Labels are checked first: they are cheap to check, pictures are not. */
    if (!check_texts(inputs->labels, error) ||
        (inputs->templates && !check_texts(inputs->templates, error)) ||
        !request_check_labels(asked, error) || !check_count(pictures, REQUEST_MAX_ITEMS, error))
        return false;
    notes->scores = arena_array(in->arena, asked->n_images * asked->n_labels, sizeof *notes->scores);
    if (!notes->scores)
        return api_fail_memory(error);
    asked->images = read_items(pictures, true, in->arena, error);
    return asked->images &&
           request_check_modalities(in->models->info[model], asked->images, asked->n_images, error);
}

static bool read_inference(const struct dialect_input *in, const struct oip_body *body, size_t model,
                           struct notes *notes, struct dialect_request *out, struct api_error *error) {
    struct inputs inputs = {0};
    if (!sort_inputs(body, &inputs, error) || !check_inputs(&inputs, error))
        return false;
    const struct oip_input *items = inputs.text ? inputs.text : inputs.image;
    if (!items)
        return api_fail(error, 400, "missing_input", "inputs",
                        "there is neither text nor image; accepted: " INPUTS);
    if (!choose_output(body, inputs.labels ? "scores" : "embedding", notes, error))
        return false;
    out->notes = notes;
    out->scratch = 6 * body->id.size + 1024;
    return inputs.labels ? ask_for_scores(in, &inputs, items, model, notes, out, error)
                         : ask_for_embedding(in, items, items == inputs.image, model, out, error);
}

bool oip_read_infer(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    enum oip_action action;
    struct oip_body body;
    size_t model;
    struct notes *notes = arena_array(in->arena, 1, sizeof *notes);
    if (!notes)
        return api_fail_memory(error);
    *notes = (struct notes){0};
    if (!oip_split(in->below, &notes->name, &action, error) ||
        !request_find_model(in->models, notes->name, &model, error))
        return false;
    if (action != OIP_INFER)
        return api_fail(error, 404, "unknown_path", NULL,
                        "nothing is posted there; the nearest is POST /v2/models/{model}/infer");
    if (!oip_read_body(in->body, in->size, in->header, in->arena, &body, error))
        return false;
    notes->id = body.id;
    return read_inference(in, &body, model, notes, out, error);
}

/* ---- the repository */

static void write_index(const struct dialect_request *request, const struct dialect_result *result,
                        struct dialect_answer *out) {
    const struct request_models *models = request->notes;
    (void)result;
    buffer_string(out->body, "[");
    for (size_t i = 0; i < models->n; i++) {
        buffer_string(out->body, i ? ",{\"name\":" : "{\"name\":");
        buffer_json_string(out->body, models->info[i]->name);
        buffer_string(out->body, ",\"version\":\"" OIP_VERSION "\",\"state\":\"READY\",\"reason\":\"\"}");
    }
    buffer_string(out->body, "]");
}

/* {"ready": …} asks for models that are ready alone: all that are listed are, or will be again by themselves. */
bool oip_read_index(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    const struct json_value *object;
    if (in->size && !dialect_read_object(in, &object, error))
        return false;
    out->kind = DIALECT_EMBED;
    out->write = write_index;
    out->notes = in->models;
    return true;
}

/* ---- the first protocol */

bool oip_read_predict(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    struct text model = in->below;
    if (!text_take_suffix(&model, PREDICT))
        return api_fail(error, 404, "unknown_path", NULL,
                        "nothing is posted there; the nearest is POST /v1/models/{model}" PREDICT);
    return instances_read(in, model, out, error);
}

static const char *const prefixes[] = {"/v2", NULL};
const struct dialect dialect_oip = {
    .name = "oip", .bit = DIALECT_OIP, .prefixes = prefixes, .write_error = dialect_error_string};
