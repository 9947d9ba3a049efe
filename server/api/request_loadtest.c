/* request_loadtest.c - the fields of a load test, each within its bounds. */
#include "server/api/request_loadtest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "server/api/fields.h"
#include "server/api/request_parts.h"

const char *const loadtest_kinds[LOADTEST_KINDS] = {
    [LOADTEST_CLASSIFY] = "classify", [LOADTEST_IMAGE] = "image", [LOADTEST_TEXT] = "text"};

struct reading {
    const struct request_models *models;
    const struct loadtest_limits *limits;
    struct loadtest_request *out;
    struct api_error *error;
};

/* A number within bounds; `most` is an option's, which the message names. */
static bool read_number(const struct reading *r, const struct json_value *value, const char *name,
                        double least, uint64_t most, const char *option, double *out) {
    char accepted[120];
    snprintf(accepted, sizeof accepted, "a number from %.10g to %llu (the server's option %s)", least,
             (unsigned long long)most, option);
    if (value->type != JSON_NUMBER)
        return request_refuse_type(name, accepted, value->type, r->error);
    if (!(value->number >= least && value->number <= (double)most))
        return api_fail(r->error, 400, "invalid_value", name, "%s is %.10g; accepted: %s", name,
                        value->number, accepted);
    *out = value->number;
    return true;
}

static bool read_rate(void *reader, const struct json_value *value) {
    const struct reading *r = reader;
    return read_number(r, value, "rate", LOADTEST_LEAST_RATE, r->limits->rate, "--loadtest-max-rate",
                       &r->out->rate);
}

static bool read_duration(void *reader, const struct json_value *value) {
    const struct reading *r = reader;
    return read_number(r, value, "duration", LOADTEST_LEAST_SECONDS, r->limits->seconds,
                       "--loadtest-max-seconds", &r->out->seconds);
}

static bool read_arrivals(void *reader, const struct json_value *value) {
    const struct reading *r = reader;
    char quoted[64];
    if (value->type != JSON_STRING)
        return request_refuse_type("arrivals", "\"poisson\" and \"constant\"", value->type, r->error);
    r->out->constant = text_is(value->string, "constant");
    if (r->out->constant || text_is(value->string, "poisson"))
        return true;
    return api_fail(r->error, 400, "invalid_value", "arrivals",
                    "arrivals is \"%s\"; accepted: \"poisson\" and \"constant\"",
                    text_quote(value->string, quoted, sizeof quoted));
}

static bool read_weight(const struct reading *r, const struct json_value *value, const char *kind,
                        uint32_t *out) {
    char param[32], accepted[64];
    snprintf(param, sizeof param, "mix.%s", kind);
    snprintf(accepted, sizeof accepted, "a whole number from 0 to %d", LOADTEST_MOST_WEIGHT);
    if (value->type != JSON_NUMBER)
        return request_refuse_type(param, accepted, value->type, r->error);
    if (!(value->number >= 0 && value->number <= LOADTEST_MOST_WEIGHT) ||
        value->number != floor(value->number))
        return api_fail(r->error, 400, "invalid_value", param, "%s is %.10g; accepted: %s", param,
                        value->number, accepted);
    *out = (uint32_t)value->number;
    return true;
}

static bool read_mix(void *reader, const struct json_value *value) {
    const struct reading *r = reader;
    uint64_t sum = 0;
    if (value->type != JSON_OBJECT)
        return request_refuse_type("mix", "an object of classify, image and text", value->type, r->error);
    memset(r->out->mix, 0, sizeof r->out->mix);
    for (const struct json_value *field = value->child; field; field = field->next) {
        int kind = 0;
        char quoted[64];
        while (kind < LOADTEST_KINDS && !text_is(field->name, loadtest_kinds[kind]))
            kind++;
        if (kind == LOADTEST_KINDS)
            return api_fail(r->error, 400, "unknown_field", "mix",
                            "there is no field \"%s\" in mix; accepted: classify, image, text",
                            text_quote(field->name, quoted, sizeof quoted));
        if (field->type != JSON_NULL && !read_weight(r, field, loadtest_kinds[kind], &r->out->mix[kind]))
            return false;
        sum += r->out->mix[kind];
    }
    return sum || api_fail(r->error, 400, "invalid_value", "mix",
                           "mix asks for nothing; accepted: one of classify, image and text above 0");
}

static struct text without_slash(struct text url) {
    while (url.size && url.data[url.size - 1] == '/')
        url.size--;
    return url;
}

static bool read_target(void *reader, const struct json_value *value) {
    const struct reading *r = reader;
    char quoted[128];
    if (value->type != JSON_STRING)
        return request_refuse_type("target", "a URL that the server's option --loadtest-targets has",
                                   value->type, r->error);
    const struct text asked = without_slash(value->string);
    struct text rest = text_of(r->limits->targets ? r->limits->targets : "");
    while (asked.size && rest.size) {
        const struct text named = without_slash(text_comma_next(&rest));
        if (text_equal(named, asked)) {
            r->out->target = named;
            return true;
        }
    }
    return api_fail(r->error, 403, "target_not_allowed", "target",
                    "target is \"%s\"; accepted: no target, for this server, and those that its option "
                    "--loadtest-targets names (%s)",
                    text_quote(value->string, quoted, sizeof quoted),
                    r->limits->targets ? r->limits->targets : "none");
}

static bool read_model(void *reader, const struct json_value *value) {
    const struct reading *r = reader;
    if (value->type != JSON_STRING)
        return request_refuse_type("model", "a string", value->type, r->error);
    r->out->model = value->string;
    return true;
}

/* Once it is known whose model it is. */
static bool check_model(const struct reading *r) {
    const struct text name = r->out->model;
    size_t index;
    if (!name.data)
        return true;
    if (!r->out->target.data && !request_find_model(r->models, name, &index, r->error))
        return false;
    bool good = name.size > 0 && name.size <= LOADTEST_MOST_NAME_BYTES;
    for (size_t i = 0; good && i < name.size; i++)
        good = (unsigned char)name.data[i] >= 0x20 && name.data[i] != 0x7f;
    return good || api_fail(r->error, 400, "invalid_value", "model",
                            "model is of %zu bytes; accepted: 1 to %u, without control characters", name.size,
                            LOADTEST_MOST_NAME_BYTES);
}

static bool check_count(const struct reading *r) {
    const double requests = r->out->rate * r->out->seconds;
    if (requests <= (double)r->limits->requests)
        return true;
    return api_fail(r->error, 400, "invalid_value", "duration",
                    "rate %.10g for a duration of %.10g is %.0f requests; up to %llu are accepted (the "
                    "server's option --loadtest-max-requests)",
                    r->out->rate, r->out->seconds, requests, (unsigned long long)r->limits->requests);
}

static bool check_given(const struct reading *r) {
    const char *missing = r->out->rate <= 0 ? "rate" : r->out->seconds <= 0 ? "duration" : NULL;
    return !missing || api_fail(r->error, 400, "missing_field", missing,
                                "%s is missing; a load test has a rate (arrivals a second) and a duration "
                                "(seconds)",
                                missing);
}

static const char *const arrivals[] = {"poisson", "constant", NULL};

#define WEIGHT                                                                                               \
    "{\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":" FIELD_NUMBER(LOADTEST_MOST_WEIGHT) "}"

static const struct field fields[] = {
    {.name = "rate",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .required = true,
     .schema = "{\"type\":\"number\",\"minimum\":" FIELD_NUMBER(LOADTEST_LEAST_RATE) "}",
     .what = "Arrivals a second, up to --loadtest-max-rate.",
     .read = read_rate},
    {.name = "duration",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .required = true,
     .schema = "{\"type\":\"number\",\"minimum\":" FIELD_NUMBER(LOADTEST_LEAST_SECONDS) "}",
     .what = "Seconds, up to --loadtest-max-seconds. Rate x duration: up to --loadtest-max-requests.",
     .read = read_duration},
    {.name = "arrivals",
     .forms = FIELD_JSON,
     .kind = FIELD_CHOICE,
     .choices = arrivals,
     .fallback = "\"poisson\"",
     .what = "Independent clients, or a beat.",
     .read = read_arrivals},
    {.name = "mix",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = "{\"type\":\"object\",\"properties\":{\"classify\":" WEIGHT ",\"image\":" WEIGHT
               ",\"text\":" WEIGHT "},\"additionalProperties\":false}",
     .fallback = "{\"classify\":1,\"image\":1,\"text\":2}",
     .what = "How many of each kind, one of them above 0.",
     .read = read_mix},
    {.name = "target",
     .forms = FIELD_JSON,
     .kind = FIELD_STRING,
     .what = "Another server, as --loadtest-targets has it. Absent: this one.",
     .read = read_target},
    {.name = "model",
     .forms = FIELD_JSON,
     .kind = FIELD_STRING,
     .what = "Which of the target's models, of 1 to 256 bytes. Absent: its default.",
     .read = read_model},
};
const struct field_table request_loadtest_fields = {FIELD_TABLE(fields)};

bool request_loadtest_json(const struct request_models *models, const struct loadtest_limits *limits,
                           const char *body, size_t size, struct arena *arena, struct loadtest_request *out,
                           struct api_error *error) {
    struct reading r = {models, limits, out, error};
    const struct json_value *object;
    *out = (struct loadtest_request){
        .mix = {[LOADTEST_CLASSIFY] = 1, [LOADTEST_IMAGE] = 1, [LOADTEST_TEXT] = 2}};
    return request_read_object(body, size, arena, &object, error) &&
           field_read_object(object, &request_loadtest_fields, &r, error) && check_given(&r) &&
           check_count(&r) && check_model(&r);
}

/* "http://host:8080": a scheme and an authority; neither a user, a path, a query nor what no URL has. */
static bool is_target(struct text url) {
    const char *const schemes[] = {"http://", "https://"};
    size_t scheme = 0;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        const size_t length = strlen(schemes[i]);
        if (url.size > length && memcmp(url.data, schemes[i], length) == 0)
            scheme = length;
    }
    for (size_t i = scheme; i < url.size; i++)
        if ((unsigned char)url.data[i] <= 0x20 || (unsigned char)url.data[i] >= 0x7f ||
            strchr("/@?#\\\"<>^`{|}%", url.data[i]))
            return false;
    return scheme > 0;
}

enum limoe_status loadtest_check_targets(const char *targets, struct limoe_error *err) {
    struct text rest = text_of(targets ? targets : "");
    char quoted[128];
    while (targets && rest.size) {
        const struct text url = without_slash(text_comma_next(&rest));
        if (!is_target(url))
            return limoe_fail(err, LIMOE_INVALID,
                              "loadtest-targets has \"%s\"; accepted: http://HOST:PORT and "
                              "https://HOST:PORT, divided by commas",
                              text_quote(url, quoted, sizeof quoted));
    }
    return LIMOE_OK;
}
