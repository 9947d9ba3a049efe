/* sagemaker.c - finds out whose body it is, and leaves it to that reader. Contract:
 * docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html. */
#include "server/api/dialects/sagemaker.h"

#include "server/api/dialects/hf.h"
#include "server/api/dialects/instances.h"
#include "server/api/dialects/rerank.h"
#include "server/api/multipart.h"
#include "server/api/request_parts.h"

/* ---- our own answers */

static void write_embeddings(const struct dialect_request *request, const struct dialect_result *result,
                             struct dialect_answer *out) {
    answer_embeddings(out->body, result->model->name, result->embeddings, NULL, request->embed.n_items,
                      result->model->embed, request->embed.encoding, &result->usage);
}

static void write_classification(const struct dialect_request *request, const struct dialect_result *result,
                                 struct dialect_answer *out) {
    answer_classify(out->body, result->model->name, request->classify.labels, result->rows,
                    request->classify.n_images, &result->usage);
}

static bool answer_as_classify(struct dialect_request *out, struct api_error *error) {
    out->kind = DIALECT_CLASSIFY;
    out->write = write_classification;
    return !out->classify.classifier.data ||
           api_fail(error, 400, "unknown_field", "classifier",
                    "a stored classifier is not used here; accepted: labels and templates");
}

static void answer_as_embeddings(struct dialect_request *out) {
    out->kind = DIALECT_EMBED;
    out->write = write_embeddings;
}

/* ---- a picture as it is */

static bool has_labels(const struct dialect_input *in) {
    for (size_t i = 0; i < in->n_args; i++)
        if (text_is(text_of(in->args[i].name), "labels") || text_is(text_of(in->args[i].name), "classifier"))
            return true;
    return false;
}

/* The query's "model", which may stand once, and nothing else. */
static bool read_model(const struct dialect_input *in, size_t *model, struct api_error *error) {
    struct text name = {.data = "", .size = 0};
    for (size_t i = 0; i < in->n_args; i++) {
        const struct request_field *arg = &in->args[i];
        if (!text_is(text_of(arg->name), "model"))
            return request_refuse_field(arg->name, text_of(arg->name).size,
                                        "model; with labels also templates, top_k", error);
        if (name.size)
            return api_fail(error, 400, "duplicate_field", "model",
                            "model is given several times; once is accepted");
        name = (struct text){.data = (const char *)arg->bytes, .size = arg->size};
    }
    return request_find_model(in->models, name, model, error);
}

static bool read_picture(const struct dialect_input *in, struct dialect_request *out,
                         struct api_error *error) {
    if (has_labels(in))
        return request_classify_raw(in->models, (const uint8_t *)in->body, in->size, in->args, in->n_args,
                                    in->arena, &out->classify, error) &&
               answer_as_classify(out, error);
    struct request_item *item = arena_array(in->arena, 1, sizeof *item);
    if (!item)
        return api_fail_memory(error);
    if (!in->size)
        return api_fail(error, 400, "missing_image", NULL, "the body is empty; a picture is expected");
    *item = (struct request_item){
        .modality = LIMOE_IMAGE, .bytes = (const uint8_t *)in->body, .size = in->size, .param = "image"};
    out->embed = (struct embed_request){.items = item, .n_items = 1};
    answer_as_embeddings(out);
    return read_model(in, &out->embed.model, error) &&
           request_check_modalities(in->models->info[out->embed.model], item, 1, error);
}

/* ---- a form */

static bool read_form(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    struct request_field *parts;
    size_t n;
    return multipart_parse(in->content_type, in->body, in->size, in->arena, &parts, &n, error) &&
           request_classify_multipart(in->models, parts, n, in->arena, &out->classify, error) &&
           answer_as_classify(out, error);
}

/* ---- JSON */

static bool read_classify(const struct dialect_input *in, struct dialect_request *out,
                          struct api_error *error) {
    return request_classify_object(in->models, in->object, in->arena, &out->classify, error) &&
           answer_as_classify(out, error);
}

static bool read_embeddings(const struct dialect_input *in, struct dialect_request *out,
                            struct api_error *error) {
    answer_as_embeddings(out);
    return request_embeddings_object(in->models, in->object, in->arena, &out->embed, error);
}

static bool read_instances(const struct dialect_input *in, struct dialect_request *out,
                           struct api_error *error) {
    return instances_read(in, (struct text){.data = "", .size = 0}, out, error);
}

/* The field that tells, and whose it is: the first row that a body has. */
static const struct {
    const char *field;
    dialect_reader *read;
} forms[] = {
    {"instances", read_instances}, {"inputs", hf_read},           {"query", rerank_read_peers},
    {"labels", read_classify},     {"classifier", read_classify}, {"image", read_classify},
    {"images", read_classify},
};

static bool read_json(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    struct dialect_input known = *in;
    if (!dialect_read_object(in, &known.object, error))
        return false;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (json_member(known.object, text_of(forms[i].field)))
            return forms[i].read(&known, out, error);
    return read_embeddings(&known, out, error);
}

/* ---- which of them */

/* SageMaker's own name for a picture, and what bytes are called that nobody has named. */
static bool tells_nothing(const char *content_type) {
    static const char *const types[] = {"application/x-image", "application/octet-stream"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (text_is(text_of(content_type), types[i]))
            return true;
    return false;
}

bool sagemaker_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    enum request_body body = request_body_of(in->content_type);
    if (body == REQUEST_BODY_UNTYPED || (body == REQUEST_BODY_OTHER && tells_nothing(in->content_type)))
        body = request_body_look(in->body, in->size);
    switch (body) {
    case REQUEST_BODY_IMAGE:
        return read_picture(in, out, error);
    case REQUEST_BODY_MULTIPART:
        return read_form(in, out, error);
    case REQUEST_BODY_JSON:
        return read_json(in, out, error);
    default:
        return request_refuse_body(in->content_type, SAGEMAKER_BODIES, error);
    }
}

/* Its body is of no consequence there. */
bool sagemaker_tell_ping(const struct dialect_about *about, struct dialect_answer *out,
                         struct api_error *error) {
    return hf_tell_ping(about, out, error);
}

/* SageMaker hands on what it gets, so errors are our own. */
static const char *const prefixes[] = {NULL};
const struct dialect dialect_sagemaker = {
    .name = "sagemaker", .bit = DIALECT_SAGEMAKER, .prefixes = prefixes, .write_error = answer_error};
