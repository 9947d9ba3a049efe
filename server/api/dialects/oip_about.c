/* oip_about.c - what is told of the server and its models: metadata, readiness, configuration. */
#include <string.h>

#include "server/api/dialects/oip.h"
#include "server/api/request_parts.h"

/* ---- paths */

/* "NAME/versions/V" → NAME, and V must be the one that there is. Names may have slashes of their own. */
static bool take_version(struct text *name, struct api_error *error) {
    static const char word[] = "/versions/";
    const size_t size = sizeof word - 1;
    char quoted[32];
    for (size_t at = name->size; at-- > 1;) {
        if (name->size - at <= size || memcmp(name->data + at, word, size) != 0)
            continue;
        const struct text version = {.data = name->data + at + size, .size = name->size - at - size};
        name->size = at;
        return text_is(version, OIP_VERSION) ||
               api_fail(error, 404, "model_not_found", "version",
                        "there is no version \"%s\"; each model has one, \"" OIP_VERSION "\"",
                        text_quote(version, quoted, sizeof quoted));
    }
    return true;
}

static const struct {
    const char *suffix;
    enum oip_action action;
} actions[] = {
    {"/infer", OIP_INFER}, {"/ready", OIP_READY}, {"/config", OIP_CONFIG}, {"/stats", OIP_STATISTICS}};

bool oip_split(struct text below, struct text *name, enum oip_action *action, struct api_error *error) {
    *name = below;
    *action = text_is(below, "stats") ? OIP_ALL_STATISTICS : OIP_METADATA;
    for (size_t i = 0; i < sizeof actions / sizeof *actions && *action == OIP_METADATA; i++)
        if (text_take_suffix(name, actions[i].suffix))
            *action = actions[i].action;
    return take_version(name, error);
}

/* ---- the server */

bool oip_tell_server(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error) {
    (void)about;
    (void)error;
    buffer_string(out->body, "{\"name\":\"limoe\",\"version\":");
    buffer_json_string(out->body, limoe_version());
    buffer_string(out->body, ",\"extensions\":[\"binary_tensor_data\",\"model_configuration\",\"model_"
                             "repository\",\"statistics\"]}");
    return true;
}

bool oip_tell_live(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error) {
    (void)about;
    (void)error;
    buffer_string(out->body, "{\"live\":true}"); /* KServe's client reads a body where there might be none */
    return true;
}

bool oip_tell_ready(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error) {
    if (!dialect_check_ready(about, error))
        return false;
    buffer_string(out->body, "{\"ready\":true}");
    return true;
}

/* ---- a model */

struct tensor {
    const char *name;
    bool images, texts; /* what the model must take for it */
};
static const struct tensor inputs[] = {
    {"text", .texts = true},
    {"image", .images = true},
    {"labels", .images = true, .texts = true},
    {"templates", .images = true, .texts = true},
};

static bool has(const struct limoe_info *model, const struct tensor *tensor) {
    return (!tensor->images || limoe_has(model, LIMOE_IMAGE)) &&
           (!tensor->texts || limoe_has(model, LIMOE_TEXT));
}

static void write_name(struct buffer *out, struct text name) {
    buffer_string(out, "{\"name\":");
    buffer_json_text(out, name);
}

static void write_metadata(struct buffer *out, const struct limoe_info *model, struct text name) {
    const char *comma = "";
    write_name(out, name);
    buffer_string(out, ",\"versions\":[\"" OIP_VERSION "\"],\"platform\":\"limoe\",\"inputs\":[");
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        if (has(model, &inputs[i])) {
            buffer_print(out, "%s{\"name\":\"%s\",\"datatype\":\"BYTES\",\"shape\":[-1]}", comma,
                         inputs[i].name);
            comma = ",";
        }
    buffer_print(out, "],\"outputs\":[{\"name\":\"embedding\",\"datatype\":\"FP32\",\"shape\":[-1,%u]}",
                 model->embed);
    if (has(model, &(struct tensor){.images = true, .texts = true}))
        buffer_string(out, ",{\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[-1,-1]}");
    buffer_string(out, "]}");
}

/* Triton's own form of the same. max_batch_size 0: shapes are complete as they are. */
static void write_config(struct buffer *out, const struct limoe_info *model, struct text name) {
    const char *comma = "";
    write_name(out, name);
    buffer_string(out, ",\"platform\":\"limoe\",\"backend\":\"limoe\",\"max_batch_size\":0,\"input\":[");
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        if (has(model, &inputs[i])) {
            buffer_print(out,
                         "%s{\"name\":\"%s\",\"data_type\":\"TYPE_STRING\",\"dims\":[-1],\"optional\":true}",
                         comma, inputs[i].name);
            comma = ",";
        }
    buffer_print(out, "],\"output\":[{\"name\":\"embedding\",\"data_type\":\"TYPE_FP32\",\"dims\":[-1,%u]}",
                 model->embed);
    if (has(model, &(struct tensor){.images = true, .texts = true}))
        buffer_string(out, ",{\"name\":\"scores\",\"data_type\":\"TYPE_FP32\",\"dims\":[-1,-1]}");
    buffer_string(out, "]}");
}

/* ---- statistics */

static void member_sum(struct buffer *out, const char *comma, const char *name, struct dialect_sum sum) {
    buffer_print(out, "%s\"%s\":{\"count\":%llu,\"ns\":%llu}", comma, name, (unsigned long long)sum.count,
                 (unsigned long long)sum.ns);
}

/* What an output takes is not measured, and so happened 0 times; nor is it told how steps of each size went. */
static void write_statistics(struct buffer *out, const struct dialect_statistics *s, struct text name) {
    write_name(out, name);
    buffer_print(out,
                 ",\"version\":\"" OIP_VERSION "\",\"last_inference\":%llu,\"inference_count\":%llu,"
                 "\"execution_count\":%llu,\"inference_stats\":{",
                 (unsigned long long)s->last_ms, (unsigned long long)s->items, (unsigned long long)s->steps);
    member_sum(out, "", "success", s->ok);
    member_sum(out, ",", "fail", s->failed);
    member_sum(out, ",", "queue", s->queue);
    member_sum(out, ",", "compute_input", s->input);
    member_sum(out, ",", "compute_infer", s->inference);
    member_sum(out, ",", "compute_output", (struct dialect_sum){0});
    buffer_string(out, "},\"batch_stats\":[]}");
}

static void write_all_statistics(struct buffer *out, const struct dialect_about *about) {
    for (size_t i = 0; i < about->n; i++) {
        buffer_string(out, i ? "," : "");
        write_statistics(out, &about->statistics[i], text_of(about->models[i].info->name));
    }
}

/* ---- what is asked of a model */

static bool tell_ready(const struct dialect_about *about, size_t model, struct text name,
                       struct dialect_answer *out, struct api_error *error) {
    if (!about->models[model].ready)
        return api_fail(error, 503, "starting", NULL,
                        "the model's engine does not answer"); /* no code is shown here */
    write_name(out->body, name);
    buffer_string(out->body, ",\"ready\":true}");
    return true;
}

bool oip_tell_model(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error) {
    enum oip_action action;
    struct text name;
    size_t model;
    if (!oip_split(about->below, &name, &action, error))
        return false;
    if (action == OIP_INFER)
        return api_fail(error, 404, "unknown_path", NULL,
                        "nothing is told there: an inference is asked for by POST");
    if (!about->n)
        return dialect_fail_starting(error);
    if (action == OIP_ALL_STATISTICS) {
        buffer_string(out->body, "{\"model_stats\":[");
        write_all_statistics(out->body, about);
        buffer_string(out->body, "]}");
        return true;
    }
    if (!request_find_model(about->names, name, &model, error))
        return false;
    const struct limoe_info *info = about->models[model].info;
    switch (action) {
    case OIP_READY:
        return tell_ready(about, model, name, out, error);
    case OIP_CONFIG:
        write_config(out->body, info, name);
        return true;
    case OIP_STATISTICS:
        buffer_string(out->body, "{\"model_stats\":[");
        write_statistics(out->body, &about->statistics[model], name);
        buffer_string(out->body, "]}");
        return true;
    default:
        write_metadata(out->body, info, name);
        return true;
    }
}
