/* nim.c - NIM's metadata and health. Shapes: docs.nvidia.com/nim. Its /v1/embeddings and /v1/models are
 * OpenAI's, and so are ours. */
#include "server/api/dialects/nim.h"

/* A release's name is all that a client reads of a model: in "shortName", perhaps with a ":version" that ours
 * do not have. */
bool nim_tell_metadata(const struct dialect_about *about, struct dialect_answer *out,
                       struct api_error *error) {
    if (!about->n)
        return dialect_fail_starting(error);
    buffer_string(out->body, "{\"version\":");
    buffer_json_string(out->body, limoe_version());
    buffer_string(out->body, ",\"assetInfo\":[],\"licenseInfo\":{},\"modelInfo\":[");
    for (size_t i = 0; i < about->n; i++) {
        buffer_string(out->body, i ? ",{\"shortName\":" : "{\"shortName\":");
        buffer_json_string(out->body, about->models[i].info->name);
        buffer_string(out->body, ",\"modelUrl\":\"\",\"fingerprint\":");
        buffer_json_string(out->body, about->models[i].fingerprint);
        buffer_string(out->body, "}");
    }
    buffer_string(out->body, "],\"repository_override\":\"\"}");
    return true;
}

bool nim_tell_ready(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error) {
    if (!dialect_check_ready(about, error))
        return false;
    buffer_string(out->body,
                  "{\"object\":\"health.response\",\"message\":\"Service is ready.\",\"ready\":true}");
    return true;
}

bool nim_tell_live(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error) {
    (void)about;
    (void)error;
    buffer_string(out->body,
                  "{\"object\":\"health.response\",\"message\":\"Service is live.\",\"live\":true}");
    return true;
}

/* The members that its clients look for a message in. */
static void write_error(struct buffer *out, const struct api_error *error) {
    buffer_string(out, "{\"object\":\"error\",\"message\":");
    buffer_json_string(out, error->message);
    buffer_string(out, ",\"detail\":");
    buffer_json_string(out, error->message);
    buffer_print(out, ",\"type\":\"%s\"}", api_error_type(error->status));
}

static const char *const prefixes[] = {"/v1/health", NULL};
const struct dialect dialect_nim = {
    .name = "nim", .bit = DIALECT_NIM, .prefixes = prefixes, .write_error = write_error};
