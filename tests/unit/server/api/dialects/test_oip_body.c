/* test_oip_body.c - protects what clients of the Open Inference Protocol send, as JSON and as binary data, and
 * what they are told about lengths, shapes and types that do not hold. */
#include "tests/unit/server/api/reading.h"

#include "server/api/dialects/oip_body.h"

#define NO_LENGTH ((struct text){.data = NULL})

/* An input of two texts, but for what stands in for its members. */
#define INPUT(shape, datatype, rest)                                                                         \
    "{\"inputs\":[{\"name\":\"text\",\"shape\":" shape ",\"datatype\":" datatype rest "}]}"
#define TWO(data) INPUT("[2]", "\"BYTES\"", ",\"data\":" data)

static struct oip_body read_json(const char *body) {
    struct oip_body out;
    const size_t size = strlen(body);
    if (!oip_read_body(exactly(body, size), size, NO_LENGTH, arena, &out, &error))
        fail_msg("%s: %s", body, error.message);
    return out;
}

static void refused(const char *body, const char *code, const char *param, const char *message) {
    struct oip_body out;
    const size_t size = strlen(body);
    if (oip_read_body(exactly(body, size), size, NO_LENGTH, arena, &out, &error))
        fail_msg("accepted: %s", body);
    assert_error(400, code, param, message);
}

/* A body whose JSON says that its input "text" [n] has `stated` bytes, with bytes[size] behind it. */
static bool read_binary(size_t n, size_t stated, const char *bytes, size_t size, struct oip_body *out) {
    char body[1024], length[16];
    const int json = snprintf(body, sizeof body,
                              "{\"inputs\":[{\"name\":\"text\",\"shape\":[%zu],\"datatype\":\"BYTES\","
                              "\"parameters\":{\"binary_data_size\":%zu}}]}",
                              n, stated);
    memcpy(body + json, bytes, size);
    snprintf(length, sizeof length, "%d", json);
    return oip_read_body(exactly(body, (size_t)json + size), (size_t)json + size, text_of(length), arena, out,
                         &error);
}

static void refused_binary(size_t n, size_t stated, const char *bytes, size_t size, const char *message) {
    struct oip_body out;
    if (read_binary(n, stated, bytes, size, &out))
        fail_msg("accepted: %zu elements in %zu bytes", n, size);
    assert_error(400, "invalid_item", strstr(message, "no input") ? "inputs" : "inputs[0].data", message);
}

static void json_may_be_flat_or_nested(void **state) {
    (void)state;
    static const char *const bodies[] = {
        TWO("[\"a caf\\u00e9\",\"dog\"]"),
        INPUT("[2,1]", "\"BYTES\"", ",\"data\":[[\"a café\"],[\"dog\"]]"),
        INPUT("[1,2]", "\"BYTES\"", ",\"data\":[[\"a café\",\"dog\"]]"),
        INPUT("[2,1]", "\"BYTES\"", ",\"data\":[\"a café\",\"dog\"],\"parameters\":{}"),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        const struct oip_body body = read_json(bodies[i]);
        assert_int_equal(body.n_inputs, 1);
        assert_int_equal(body.inputs[0].n, 2);
        assert_false(body.inputs[0].binary);
        assert_bytes(body.inputs[0].name.data, body.inputs[0].name.size, "text");
        assert_bytes(body.inputs[0].elements[0].data, body.inputs[0].elements[0].size, "a café");
        assert_bytes(body.inputs[0].elements[1].data, body.inputs[0].elements[1].size, "dog");
        assert_string_equal(body.inputs[0].param, "inputs[0].data");
        assert_null(body.id.data);
    }
}

static void binary_data_have_lengths(void **state) {
    (void)state;
    struct oip_body body;
    assert_true(read_binary(2, 13, "\3\0\0\0cat\2\0\0\0\0\xff", 13, &body));
    assert_true(body.inputs[0].binary);
    assert_bytes(body.inputs[0].elements[0].data, body.inputs[0].elements[0].size, "cat");
    assert_int_equal(body.inputs[0].elements[1].size, 2);
    assert_memory_equal(body.inputs[0].elements[1].data, "\0\xff", 2);
}

static void binary_data_are_the_inputs_in_their_order(void **state) {
    (void)state;
    static const char json[] = "{\"inputs\":[{\"name\":\"image\",\"shape\":[1],\"datatype\":\"BYTES\","
                               "\"parameters\":{\"binary_data_size\":5}},"
                               "{\"name\":\"labels\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"x\"]},"
                               "{\"name\":\"templates\",\"shape\":[1],\"datatype\":\"BYTES\",\"parameters\":{"
                               "\"binary_data_size\":6}}]}";
    const size_t size = sizeof json - 1 + 11;
    char *all = room(size), length[16];
    struct oip_body body;
    memcpy(all, json, sizeof json - 1);
    memcpy(all + sizeof json - 1, "\1\0\0\0a\2\0\0\0bc", 11);
    snprintf(length, sizeof length, "%zu", sizeof json - 1);
    assert_true(oip_read_body(exactly(all, size), size, text_of(length), arena, &body, &error));
    assert_bytes(body.inputs[0].elements[0].data, body.inputs[0].elements[0].size, "a");
    assert_bytes(body.inputs[1].elements[0].data, body.inputs[1].elements[0].size, "x");
    assert_bytes(body.inputs[2].elements[0].data, body.inputs[2].elements[0].size, "bc");
}

static void binary_lengths_are_bounded(void **state) {
    (void)state;
    refused_binary(1, 7, "\4\0\0\0cat", 7, "element 0 says that it has 4 bytes, and 3 are left");
    refused_binary(1, 4, "\xff\xff\xff\xff", 4,
                   "element 0 says that it has 4294967295 bytes, and 0 are left");
    refused_binary(2, 9, "\3\0\0\0cat\1\0", 9, "ends after 1 of the 2 elements");
    refused_binary(3, 7, "\3\0\0\0cat", 7, "has 7 bytes, fewer than the lengths of the 3 elements");
    refused_binary(1, 8, "\3\0\0\0cats", 8, "has 1 bytes behind the 1 elements");
    refused_binary(1, 8, "\3\0\0\0cat", 7, "binary_data_size of 8; 7 bytes of binary data are left");
    refused_binary(1, 7, "\3\0\0\0cat!", 8, "1 bytes of binary data that no input's");
    refused_binary(16384, 0, "", 0, "has 0 bytes, fewer than");
}

static void the_header_is_within_the_body(void **state) {
    (void)state;
    static const char *const lengths[] = {
        "", "-1", "1e3", " 5", "104", "18446744073709551616", "99999999999999999999999999"};
    const char *body = TWO("[\"cat\",\"dog\"]");
    struct oip_body out;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        if (oip_read_body(body, strlen(body), text_of(lengths[i]), arena, &out, &error))
            fail_msg("accepted: a length of %s", lengths[i]);
        assert_error(400, "invalid_header", OIP_LENGTH_HEADER, "no more than the body has");
    }
    assert_false(oip_read_body(body, strlen(body), text_of("3"), arena, &out, &error));
    assert_error(400, "invalid_json", "", "line 1");
    refused(INPUT("[1]", "\"BYTES\"", ",\"parameters\":{\"binary_data_size\":0}"), "invalid_item",
            "inputs[0].data", "the header " OIP_LENGTH_HEADER " is missing");
}

static void shapes_are_lists_within_bounds(void **state) {
    (void)state;
    refused(INPUT("[2,2]", "\"BYTES\"", ",\"data\":[]"), "invalid_item", "inputs[0].shape",
            "[2,2]; a list is accepted: [n] or [n,1]");
    refused(INPUT("[4294967295,4294967295,4294967295]", "\"BYTES\"", ",\"data\":[]"), "too_many_items",
            "inputs[0].shape", "[4294967295,4294967295,4294967295]; up to 16384");
    refused(INPUT("[16385]", "\"BYTES\"", ",\"data\":[]"), "too_many_items", "inputs[0].shape", "[16385]");
    refused(INPUT("[0]", "\"BYTES\"", ",\"data\":[]"), "invalid_item", "inputs[0].shape", "dimension of 0");
    refused(INPUT("[-1]", "\"BYTES\"", ",\"data\":[]"), "invalid_item", "inputs[0].shape", "of -1;");
    refused(INPUT("[1.5]", "\"BYTES\"", ",\"data\":[]"), "invalid_item", "inputs[0].shape", "of 1.5;");
    refused(INPUT("[1e300]", "\"BYTES\"", ",\"data\":[]"), "invalid_item", "inputs[0].shape", "1e+300");
    refused(INPUT("[\"1\"]", "\"BYTES\"", ",\"data\":[]"), "invalid_type", "inputs[0].shape", "a string");
    refused(INPUT("2", "\"BYTES\"", ",\"data\":[]"), "invalid_type", "inputs[0].shape", "a number");
    refused(INPUT("[]", "\"BYTES\"", ",\"data\":[]"), "invalid_item", "inputs[0].shape", "0 dimensions");
    refused(INPUT("[1,1,1,1,1,1,1,1,1]", "\"BYTES\"", ",\"data\":[]"), "invalid_item", "inputs[0].shape",
            "9 dimensions; 1 to 8");
    refused(TWO("[\"cat\"]"), "invalid_item", "inputs[0].data", "1 elements; its shape says 2");
    refused(TWO("[\"cat\",[\"dog\",\"cow\"]]"), "invalid_item", "inputs[0].data", "3 elements");
}

static void types_are_named(void **state) {
    (void)state;
    refused(TWO("[\"cat\",7]"), "invalid_type", "inputs[0].data", "a number as element 1");
    refused(TWO("\"cat\""), "invalid_type", "inputs[0].data", "a string; accepted: a list of strings");
    refused(INPUT("[2]", "\"FP32\"", ",\"data\":[1,2]"), "unsupported_value", "inputs[0].datatype",
            "(of \"text\") is \"FP32\"; accepted: \"BYTES\"");
    refused(INPUT("[2]", "8", ",\"data\":[]"), "invalid_type", "inputs[0].datatype", "a number");
    refused("{\"inputs\":[7]}", "invalid_type", "inputs[0]", "a number; accepted: an object");
    refused("{\"inputs\":{}}", "invalid_type", "inputs", "an object; accepted: a list of tensors");
    refused("{\"id\":7,\"inputs\":[]}", "invalid_type", "id", "a number; accepted: a string");
    refused("{\"model_name\":7,\"inputs\":[]}", "invalid_type", "model_name", "a number; accepted: a string");
    refused("[]", "invalid_json", "", "an array; a JSON object is expected");
}

static void what_is_missing_or_too_much_is_named(void **state) {
    (void)state;
    refused("{}", "missing_input", "inputs", "inputs is missing");
    refused("{\"inputs\":[]}", "too_many_items", "inputs", "0 tensors; 1 to 8");
    refused("{\"inputs\":[{}]}", "missing_field", "inputs[0]", "inputs[0] has no name");
    refused("{\"inputs\":[{\"name\":\"text\"}]}", "missing_field", "inputs[0].datatype", "is missing");
    refused("{\"inputs\":[{\"name\":\"text\",\"datatype\":\"BYTES\"}]}", "missing_field", "inputs[0].shape",
            "is missing");
    refused(INPUT("[2]", "\"BYTES\"", ""), "missing_field", "inputs[0].data", "neither data nor");
    refused(TWO("[\"a\",\"b\"],\"parameters\":{\"binary_data_size\":2}"), "conflicting_fields",
            "inputs[0].data", "both data and binary_data_size");
    refused(TWO("[\"a\",\"b\"],\"sahpe\":[1]"), "unknown_field", "inputs[0]",
            "no field \"sahpe\"; accepted: name");
    refused(TWO("[\"a\",\"b\"],\"parameters\":{\"shared_memory_region\":\"r\"}"), "unsupported_value",
            "inputs[0]", "shared memory, which is not served");
    refused("{\"inputs\":[],\"parameters\":{\"binary\":true}}", "unknown_field", "parameters",
            "\"binary\"; accepted: binary_data_output");
    refused("{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"x\"]},"
            "{\"name\":\"a\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"x\"]}]}",
            "duplicate_field", "inputs", "\"a\" twice");
}

#define ONE_INPUT "\"inputs\":[{\"name\":\"text\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"x\"]}]"

static void outputs_are_asked_for(void **state) {
    (void)state;
    struct oip_body body = read_json(
        "{\"id\":\"7\"," ONE_INPUT ",\"parameters\":{\"binary_data_output\":true},"
        "\"outputs\":[{\"name\":\"embedding\",\"parameters\":{\"binary_data\":false}},{\"name\":\"b\"}]}");
    assert_bytes(body.id.data, body.id.size, "7");
    assert_true(body.binary_outputs);
    assert_int_equal(body.n_outputs, 2);
    assert_bytes(body.outputs[0].name.data, body.outputs[0].name.size, "embedding");
    assert_false(body.outputs[0].binary);
    assert_true(body.outputs[1].binary);
    body = read_json("{" ONE_INPUT ",\"outputs\":[]}");
    assert_int_equal(body.n_outputs, 0);
    assert_false(body.binary_outputs);
    refused("{" ONE_INPUT ",\"outputs\":[{\"name\":\"e\"},{\"name\":\"e\"}]}", "duplicate_field", "outputs",
            "\"e\" twice");
    refused("{" ONE_INPUT ",\"outputs\":[{\"name\":\"e\",\"parameters\":{\"binary_data\":1}}]}",
            "invalid_type", "binary_data", "a number; accepted: true or false");
    refused("{" ONE_INPUT ",\"outputs\":[{\"name\":\"e\",\"parameters\":{\"classification\":3}}]}",
            "unknown_field", "outputs[0]", "\"classification\"; accepted: binary_data");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(json_may_be_flat_or_nested),
        TEST(binary_data_have_lengths),
        TEST(binary_data_are_the_inputs_in_their_order),
        TEST(binary_lengths_are_bounded),
        TEST(the_header_is_within_the_body),
        TEST(shapes_are_lists_within_bounds),
        TEST(types_are_named),
        TEST(what_is_missing_or_too_much_is_named),
        TEST(outputs_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
