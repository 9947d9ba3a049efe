/* test_request_peers.c - protects what clients of other servers may send besides: that each value of the
 * table is taken, that others are refused with the reason, and that docs/api.md shows the table as it is. */
#include "tests/unit/server/api/reading.h"

#include "server/api/request_peers.h"

static bool reads(const char *name, const char *value) {
    struct embed_request request;
    const char *body = arena_print(arena, "{\"input\":\"x\",\"%s\":%s}", name, value);
    return request_embeddings_json(&model, exactly(body, strlen(body)), strlen(body), arena, &request,
                                   &error);
}

static void f20_what_is_done_anyway_is_accepted(void **state) {
    (void)state;
    for (size_t i = 0; i < request_peer_count; i++) {
        const struct request_peer_field *field = &request_peer_fields[i];
        if (!reads(field->name, "null"))
            fail_msg("%s: null: %s", field->name, error.message);
        for (size_t k = 0; k < REQUEST_PEER_VALUES && field->values[k]; k++) {
            if (!reads(field->name, field->values[k]))
                fail_msg("%s: %s: %s", field->name, field->values[k], error.message);
            assert_false(reads(field->name, arena_print(arena, "[%s]", field->values[k])));
        }
        const uint32_t number = field->number == PEER_DIMENSIONS ? info.embed : info.text_length;
        assert_int_equal(reads(field->name, arena_print(arena, "%u", number)),
                         field->number != PEER_NO_NUMBER);
    }
}

static void f20_anything_else_is_refused_with_the_reason(void **state) {
    (void)state;
    static const char *const others[] = {
        "\"something else\"", "\"\"", "77", "-2", "{}", "[]", "[[]]", "[null]", "[\"float\",\"int8\"]"};
    for (size_t i = 0; i < request_peer_count; i++) {
        const struct request_peer_field *field = &request_peer_fields[i];
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            if (reads(field->name, others[k]))
                fail_msg("%s: %s is accepted", field->name, others[k]);
            assert_error(400, "unsupported_value", field->name, field->reason);
        }
    }
    assert_false(reads("truncate", "\"NONE\""));
    assert_error(400, "unsupported_value", "truncate",
                 "truncate is \"NONE\"; accepted: true, \"END\", because a text");
    assert_false(reads("truncate", "false"));
    assert_error(400, "unsupported_value", "truncate", "truncate is false; accepted: true, \"END\"");
    assert_false(reads("late_chunking", "true"));
    assert_error(400, "unsupported_value", "late_chunking", "each item is embedded by itself");
    assert_false(reads("truncate_prompt_tokens", "8"));
    assert_error(400, "unsupported_value", "truncate_prompt_tokens",
                 "is 8; accepted: -1, 16, because a text");
    assert_false(reads("inputtype", "\"query\"")); /* misspelt is unknown as ever */
    assert_error(400, "unknown_field", "inputtype", "accepted: input");
}

/* "| `truncate` | `true`, `"END"` | a text … |": a row of docs/api.md. */
static const char *row_of(const struct request_peer_field *field) {
    static const char *const numbers[] = {
        [PEER_DIMENSIONS] = "the model's `embed`", [PEER_TEXT_LENGTH] = "the model's text length"};
    const char *row = arena_print(arena, "| `%s` | ", field->name), *comma = "";
    for (size_t k = 0; k < REQUEST_PEER_VALUES && field->values[k]; k++, comma = ", ")
        row = arena_print(arena, "%s%s`%s`", row, comma, field->values[k]);
    if (field->number)
        row = arena_print(arena, "%s%s%s", row, comma, numbers[field->number]);
    return arena_print(arena, "%s | %s |\n", row, field->reason);
}

static void f20_the_contract_shows_the_table(void **state) {
    (void)state;
    static const char heading[] = "### Fields of other servers\n";
    FILE *file = fopen(ROOT "/docs/api.md", "r");
    assert_non_null(file);
    char *text = room(200000);
    text[fread(text, 1, 199999, file)] = '\0';
    fclose(file);
    char *section = strstr(text, heading);
    assert_non_null(section);
    char *end = strstr(section, "\n## ");
    assert_non_null(end);
    *end = '\0';

    size_t rows = 0;
    for (const char *line = strstr(section, "\n| `"); line; line = strstr(line + 1, "\n| `"))
        rows++;
    assert_int_equal(rows, request_peer_count);
    for (size_t i = 0; i < request_peer_count; i++)
        if (!strstr(section, row_of(&request_peer_fields[i])))
            fail_msg("docs/api.md lacks the row %s", row_of(&request_peer_fields[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(f20_what_is_done_anyway_is_accepted),
        TEST(f20_anything_else_is_refused_with_the_reason),
        TEST(f20_the_contract_shows_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
