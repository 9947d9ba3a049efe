/* oip_body.c - the request's object, its inputs and outputs, and what of the binary data is whose. */
#include "server/api/dialects/oip_body.h"

#include <stdint.h>
#include <string.h>

#include "server/api/dialects/oip_tensor.h"
#include "server/api/request_parts.h"

#define REQUEST_FIELDS     "id, model_name, inputs, outputs, parameters"
#define INPUT_FIELDS       "name, shape, datatype, data, parameters"
#define OUTPUT_FIELDS      "name, parameters"
#define REQUEST_PARAMETERS "binary_data_output"
#define INPUT_PARAMETERS   "binary_data_size"
#define OUTPUT_PARAMETERS  "binary_data"

struct reader {
    struct arena *arena;
    struct api_error *error;
    const char *binary; /* what of the body is binary data, and not yet an input's */
    size_t left;
    bool has_length; /* the header was sent */
};

/* ---- the header */

static bool refuse_length(struct text length, struct api_error *error) {
    char quoted[32];
    return api_fail(error, 400, "invalid_header", OIP_LENGTH_HEADER,
                    "the header " OIP_LENGTH_HEADER " is \"%s\"; a whole number of bytes, no more than the "
                    "body has, is accepted",
                    text_quote(length, quoted, sizeof quoted));
}

/* How long the JSON is. */
static bool read_length(struct text length, size_t size, size_t *json, struct api_error *error) {
    size_t value = 0;
    *json = size;
    if (!length.data)
        return true;
    if (!length.size)
        return refuse_length(length, error);
    for (size_t i = 0; i < length.size; i++) {
        const char c = length.data[i];
        if (c < '0' || c > '9' || value > size) /* so that it cannot overflow */
            return refuse_length(length, error);
        value = value * 10 + (size_t)(c - '0');
    }
    *json = value;
    return value <= size || refuse_length(length, error);
}

/* ---- fields */

static bool refuse_member(struct reader *r, const struct json_value *member, const char *where,
                          const char *accepted) {
    char quoted[40];
    return api_fail(r->error, 400, "unknown_field", where, "%s has no field \"%s\"; accepted: %s", where,
                    text_quote(member->name, quoted, sizeof quoted), accepted);
}

/* "inputs[0].shape", in the arena. NULL: *error says that there is no memory. */
static const char *param_of(struct reader *r, const char *list, size_t i, const char *field) {
    const char *param = arena_print(r->arena, "%s[%zu]%s%s", list, i, field ? "." : "", field ? field : "");
    if (!param)
        api_fail_memory(r->error);
    return param;
}

/* The object "parameters", with no member but `accepted`; *out is NULL where there is none. */
static bool read_parameters(struct reader *r, const struct json_value *owner, const char *where,
                            const char *accepted, const struct json_value **out) {
    *out = json_given(owner, text_of("parameters"));
    if (!*out)
        return true;
    if ((*out)->type != JSON_OBJECT)
        return request_refuse_type(where, "an object", (*out)->type, r->error);
    for (const struct json_value *member = (*out)->child; member; member = member->next) {
        if (member->type == JSON_NULL || text_is(member->name, accepted))
            continue;
        if (member->name.size > 13 && memcmp(member->name.data, "shared_memory", 13) == 0)
            return api_fail(r->error, 400, "unsupported_value", where,
                            "%s asks for shared memory, which is not served; send the data with the request",
                            where);
        return refuse_member(r, member, where, accepted);
    }
    return true;
}

/* A member that is true or false; *out is left alone where it is not there. */
static bool read_bool(struct reader *r, const struct json_value *object, const char *name, bool *out) {
    const struct json_value *value = json_given(object, text_of(name));
    if (!value)
        return true;
    if (value->type != JSON_TRUE && value->type != JSON_FALSE)
        return request_refuse_type(name, "true or false", value->type, r->error);
    *out = value->type == JSON_TRUE;
    return true;
}

static bool read_name(struct reader *r, const struct json_value *object, const char *where,
                      struct text *name) {
    const struct json_value *value = json_given(object, text_of("name"));
    if (!value)
        return api_fail(r->error, 400, "missing_field", where, "%s has no name", where);
    if (value->type != JSON_STRING)
        return request_refuse_type(where, "a string as its name", value->type, r->error);
    *name = value->string;
    return true;
}

static bool check_members(struct reader *r, const struct json_value *object, const char *where,
                          const char *const *known, const char *accepted) {
    if (object->type != JSON_OBJECT)
        return request_refuse_type(where, "an object", object->type, r->error);
    for (const struct json_value *member = object->child; member; member = member->next) {
        size_t i = 0;
        while (known[i] && !text_is(member->name, known[i]))
            i++;
        if (!known[i] && member->type != JSON_NULL)
            return refuse_member(r, member, where, accepted);
    }
    return true;
}

/* ---- inputs */

static bool check_datatype(struct reader *r, const struct json_value *object, struct text name, size_t i) {
    const struct json_value *value = json_given(object, text_of("datatype"));
    const char *param = param_of(r, "inputs", i, "datatype");
    char input[40], found[24];
    if (!param)
        return false;
    if (!value)
        return api_fail(r->error, 400, "missing_field", param, "%s is missing; accepted: \"BYTES\"", param);
    if (value->type != JSON_STRING)
        return request_refuse_type(param, "\"BYTES\"", value->type, r->error);
    return text_is(value->string, "BYTES") ||
           api_fail(r->error, 400, "unsupported_value", param,
                    "%s (of \"%s\") is \"%s\"; accepted: \"BYTES\", for texts and encoded pictures", param,
                    text_quote(name, input, sizeof input), text_quote(value->string, found, sizeof found));
}

/* Takes the input's share of the binary data. */
static bool take_binary(struct reader *r, const struct json_value *size, struct oip_input *input) {
    const char *param = input->param;
    if (size->type != JSON_NUMBER)
        return request_refuse_type(param, "a whole number as binary_data_size", size->type, r->error);
    if (!r->has_length)
        return api_fail(r->error, 400, "invalid_item", param,
                        "%s is binary, and the header " OIP_LENGTH_HEADER " is missing, which says where it "
                        "begins",
                        param);
    const double wanted = size->number;
    if (!(wanted >= 0) || wanted > (double)r->left || wanted != (double)(size_t)wanted)
        return api_fail(r->error, 400, "invalid_item", param,
                        "%s has a binary_data_size of %g; %zu bytes of binary data are left in the body",
                        param, wanted, r->left);
    const char *bytes = r->binary;
    r->binary += (size_t)wanted;
    r->left -= (size_t)wanted;
    input->binary = true;
    return oip_read_binary(bytes, (size_t)wanted, r->arena, input, r->error);
}

static bool read_data(struct reader *r, const struct json_value *object, const char *where,
                      struct oip_input *input) {
    const struct json_value *parameters, *data = json_given(object, text_of("data"));
    if (!read_parameters(r, object, where, INPUT_PARAMETERS, &parameters))
        return false;
    const struct json_value *size = json_given(parameters, text_of(INPUT_PARAMETERS));
    if (data && size)
        return api_fail(r->error, 400, "conflicting_fields", input->param,
                        "%s has both data and binary_data_size; one of them is accepted", where);
    if (!data && !size)
        return api_fail(r->error, 400, "missing_field", input->param,
                        "%s has neither data nor the parameter binary_data_size", where);
    return size ? take_binary(r, size, input) : oip_read_strings(data, r->arena, input, r->error);
}

static bool read_input(struct reader *r, const struct json_value *object, size_t i, struct oip_input *input) {
    static const char *const known[] = {"name", "shape", "datatype", "data", "parameters", NULL};
    const char *where = param_of(r, "inputs", i, NULL), *shape_param = param_of(r, "inputs", i, "shape");
    input->param = param_of(r, "inputs", i, "data");
    if (!where || !shape_param || !input->param)
        return false;
    if (!check_members(r, object, where, known, INPUT_FIELDS) || !read_name(r, object, where, &input->name) ||
        !check_datatype(r, object, input->name, i))
        return false;
    const struct json_value *shape = json_given(object, text_of("shape"));
    if (!shape)
        return api_fail(r->error, 400, "missing_field", shape_param, "%s is missing; accepted: [n] or [n,1]",
                        shape_param);
    return oip_read_shape(shape, shape_param, &input->n, r->error) && read_data(r, object, where, input);
}

/* A list of 1 to OIP_MOST_TENSORS. */
static bool check_list(struct reader *r, const struct json_value *list, const char *name) {
    if (!list)
        return api_fail(r->error, 400, "missing_input", name, "%s is missing; a list of tensors is accepted",
                        name);
    if (list->type != JSON_ARRAY)
        return request_refuse_type(name, "a list of tensors", list->type, r->error);
    return (list->count >= 1 && list->count <= OIP_MOST_TENSORS) ||
           api_fail(r->error, 400, "too_many_items", name, "%s has %zu tensors; 1 to %u are accepted", name,
                    list->count, OIP_MOST_TENSORS);
}

static bool refuse_twice(struct reader *r, const char *list, struct text name) {
    char quoted[40];
    return api_fail(r->error, 400, "duplicate_field", list, "%s has \"%s\" twice; once is accepted", list,
                    text_quote(name, quoted, sizeof quoted));
}

static bool read_inputs(struct reader *r, const struct json_value *list, struct oip_body *out) {
    if (!check_list(r, list, "inputs"))
        return false;
    struct oip_input *inputs = arena_array(r->arena, list->count, sizeof *inputs);
    if (!inputs)
        return api_fail_memory(r->error);
    out->inputs = inputs;
    for (const struct json_value *value = list->child; value; value = value->next) {
        const size_t i = out->n_inputs;
        if (!read_input(r, value, i, &inputs[i]))
            return false;
        for (size_t k = 0; k < i; k++)
            if (text_equal(inputs[k].name, inputs[i].name))
                return refuse_twice(r, "inputs", inputs[i].name);
        out->n_inputs++;
    }
    return r->left == 0 ||
           api_fail(r->error, 400, "invalid_item", "inputs",
                    "the body has %zu bytes of binary data that no input's binary_data_size accounts for",
                    r->left);
}

/* ---- outputs */

static bool read_output(struct reader *r, const struct json_value *object, size_t i,
                        struct oip_output *output) {
    static const char *const known[] = {"name", "parameters", NULL};
    const struct json_value *parameters;
    const char *where = param_of(r, "outputs", i, NULL);
    return where && check_members(r, object, where, known, OUTPUT_FIELDS) &&
           read_name(r, object, where, &output->name) &&
           read_parameters(r, object, where, OUTPUT_PARAMETERS, &parameters) &&
           read_bool(r, parameters, OUTPUT_PARAMETERS, &output->binary);
}

static bool read_outputs(struct reader *r, const struct json_value *list, struct oip_body *out) {
    if (!list || (list->type == JSON_ARRAY && list->count == 0))
        return true;
    if (!check_list(r, list, "outputs"))
        return false;
    struct oip_output *outputs = arena_array(r->arena, list->count, sizeof *outputs);
    if (!outputs)
        return api_fail_memory(r->error);
    out->outputs = outputs;
    for (const struct json_value *value = list->child; value; value = value->next) {
        const size_t i = out->n_outputs;
        outputs[i].binary = out->binary_outputs;
        if (!read_output(r, value, i, &outputs[i]))
            return false;
        for (size_t k = 0; k < i; k++)
            if (text_equal(outputs[k].name, outputs[i].name))
                return refuse_twice(r, "outputs", outputs[i].name);
        out->n_outputs++;
    }
    return true;
}

/* ---- the request */

static bool read_id(struct reader *r, const struct json_value *id, struct text *out) {
    if (!id)
        return true;
    if (id->type != JSON_STRING)
        return request_refuse_type("id", "a string", id->type, r->error);
    *out = id->string;
    return id->string.size <= OIP_MOST_ID_BYTES ||
           api_fail(r->error, 400, "too_long", "id", "id has %zu bytes; up to %u are accepted",
                    id->string.size, OIP_MOST_ID_BYTES);
}

/* KServe's client says the model's name here, too; which model is asked for is the path's to say. */
static bool check_model_name(struct reader *r, const struct json_value *name) {
    return !name || name->type == JSON_STRING ||
           request_refuse_type("model_name", "a string", name->type, r->error);
}

bool oip_read_body(const char *body, size_t size, struct text length, struct arena *arena,
                   struct oip_body *out, struct api_error *error) {
    static const char *const known[] = {"id", "model_name", "inputs", "outputs", "parameters", NULL};
    const struct json_value *object, *parameters;
    size_t json;
    *out = (struct oip_body){0};
    if (!read_length(length, size, &json, error) || !request_read_object(body, json, arena, &object, error))
        return false;
    struct reader r = {.arena = arena,
                       .error = error,
                       .binary = body + json,
                       .left = size - json,
                       .has_length = length.data != NULL};
    return check_members(&r, object, "the request", known, REQUEST_FIELDS) &&
           read_id(&r, json_given(object, text_of("id")), &out->id) &&
           check_model_name(&r, json_given(object, text_of("model_name"))) &&
           read_parameters(&r, object, "parameters", REQUEST_PARAMETERS, &parameters) &&
           read_bool(&r, parameters, REQUEST_PARAMETERS, &out->binary_outputs) &&
           read_inputs(&r, json_given(object, text_of("inputs")), out) &&
           read_outputs(&r, json_given(object, text_of("outputs")), out);
}
