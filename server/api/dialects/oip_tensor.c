/* oip_tensor.c - shapes, strings in JSON, elements in binary. No state, any thread. */
#include "server/api/dialects/oip_tensor.h"

#include <stdint.h>
#include <stdio.h>

#include "server/api/request_parts.h"

#define LENGTH_BYTES 4u /* of an element's length */

/* ---- shapes */

/* "[2,3]", cut where it does not fit. */
static const char *show_shape(const struct json_value *shape, char *out, size_t size) {
    size_t used = (size_t)snprintf(out, size, "[");
    for (const struct json_value *d = shape->child; d && used < size; d = d->next)
        used += (size_t)snprintf(out + used, size - used, "%.0f%s", d->number, d->next ? "," : "");
    if (used < size)
        snprintf(out + used, size - used, "]");
    return out;
}

static bool is_dimension(const struct json_value *value) {
    return value->type == JSON_NUMBER && value->number >= 1 && value->number <= (double)UINT32_MAX &&
           value->number == (double)(uint32_t)value->number;
}

static bool check_dimensions(const struct json_value *shape, const char *param, struct api_error *error) {
    if (shape->type != JSON_ARRAY)
        return request_refuse_type(param, "a list of whole numbers", shape->type, error);
    if (shape->count < 1 || shape->count > OIP_MOST_DIMENSIONS)
        return api_fail(error, 400, "invalid_item", param, "%s has %zu dimensions; 1 to %u are accepted",
                        param, shape->count, OIP_MOST_DIMENSIONS);
    for (const struct json_value *d = shape->child; d; d = d->next) {
        if (d->type != JSON_NUMBER)
            return request_refuse_type(param, "a list of whole numbers", d->type, error);
        if (!is_dimension(d))
            return api_fail(error, 400, "invalid_item", param,
                            "%s has a dimension of %g; whole numbers from 1 are accepted", param, d->number);
    }
    return true;
}

bool oip_read_shape(const struct json_value *shape, const char *param, size_t *n, struct api_error *error) {
    char shown[64];
    size_t product = 1, wide = 0;
    if (!check_dimensions(shape, param, error))
        return false;
    for (const struct json_value *d = shape->child; d; d = d->next) {
        const size_t dimension = (size_t)d->number;
        if (dimension > OIP_MOST_ELEMENTS / product)
            return api_fail(error, 400, "too_many_items", param,
                            "%s is %s; up to %u elements are accepted in one input", param,
                            show_shape(shape, shown, sizeof shown), OIP_MOST_ELEMENTS);
        product *= dimension;
        wide += dimension > 1;
    }
    if (wide > 1)
        return api_fail(error, 400, "invalid_item", param, "%s is %s; a list is accepted: [n] or [n,1]",
                        param, show_shape(shape, shown, sizeof shown));
    *n = product;
    return true;
}

/* ---- elements */

/* Room for the elements; input->elements is set. NULL: *error says that there is no memory. */
static struct text *make_room(struct arena *arena, struct oip_input *input, struct api_error *error) {
    struct text *elements = arena_array(arena, input->n, sizeof *elements);
    if (!elements)
        api_fail_memory(error);
    input->elements = elements;
    return elements;
}

struct gathering {
    const struct oip_input *input;
    struct text *elements;
    size_t n; /* found; those beyond input->n are counted alone */
    struct api_error *error;
};

/* The strings of a list and of the lists in it; json_read has bounded their depth. */
static bool gather(struct gathering *g, const struct json_value *list) { // NOLINT(misc-no-recursion)
    for (const struct json_value *value = list->child; value; value = value->next) {
        if (value->type == JSON_ARRAY) {
            if (!gather(g, value))
                return false;
            continue;
        }
        if (value->type != JSON_STRING)
            return api_fail(g->error, 400, "invalid_type", g->input->param,
                            "%s has %s as element %zu; accepted: strings, since the datatype is BYTES",
                            g->input->param, json_type_name(value->type), g->n);
        if (g->n < g->input->n)
            g->elements[g->n] = value->string;
        g->n++;
    }
    return true;
}

bool oip_read_strings(const struct json_value *data, struct arena *arena, struct oip_input *input,
                      struct api_error *error) {
    if (data->type != JSON_ARRAY)
        return request_refuse_type(input->param, "a list of strings", data->type, error);
    struct gathering g = {.input = input, .elements = make_room(arena, input, error), .error = error};
    if (!g.elements || !gather(&g, data))
        return false;
    return g.n == input->n ||
           api_fail(error, 400, "invalid_item", input->param, "%s has %zu elements; its shape says %zu",
                    input->param, g.n, input->n);
}

static uint32_t read_u32(const char *bytes) {
    const uint8_t *b = (const uint8_t *)bytes;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

bool oip_read_binary(const char *bytes, size_t size, struct arena *arena, struct oip_input *input,
                     struct api_error *error) {
    size_t at = 0;
    if (size / LENGTH_BYTES < input->n) /* before memory is spent on them */
        return api_fail(error, 400, "invalid_item", input->param,
                        "%s has %zu bytes, fewer than the lengths of the %zu elements that its shape says",
                        input->param, size, input->n);
    struct text *elements = make_room(arena, input, error);
    if (!elements)
        return false;
    for (size_t i = 0; i < input->n; i++) {
        if (size - at < LENGTH_BYTES)
            return api_fail(error, 400, "invalid_item", input->param,
                            "%s ends after %zu of the %zu elements that its shape says", input->param, i,
                            input->n);
        const uint32_t length = read_u32(bytes + at);
        at += LENGTH_BYTES;
        if (length > size - at)
            return api_fail(error, 400, "invalid_item", input->param,
                            "%s: element %zu says that it has %u bytes, and %zu are left", input->param, i,
                            length, size - at);
        elements[i] = (struct text){.data = bytes + at, .size = length};
        at += length;
    }
    return at == size || api_fail(error, 400, "invalid_item", input->param,
                                  "%s has %zu bytes behind the %zu elements that its shape says",
                                  input->param, size - at, input->n);
}
