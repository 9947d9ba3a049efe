/* test_rerank.c - protects /v1/rerank and the shapes of Cohere, Jina, vLLM, Infinity and TEI. The bodies are
 * LiteLLM's own. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/rerank.h"

static const struct prediction ranked[] = {{.label = 1, .cosine = 0.5f}, {.label = 0, .cosine = -0.25f}};

#define USAGE ",\"usage\":{\"prompt_tokens\":3,\"image_tokens\":4,\"total_tokens\":7}}"

static void documents_are_answered_with_results(void **state) {
    (void)state;
    assert_true(hears(rerank_read, "",
                      "{\"model\":\"pictograms\",\"query\":\"cat\",\"documents\":[\"dog\",\"cat\"]}"));
    assert_int_equal(spoken.compare.n, 2);
    assert_int_equal(spoken.compare.top_n, 2);
    assert_bytes(spoken.compare.items[0].bytes, spoken.compare.items[0].size, "cat");
    assert_ranked(
        ranked, 2,
        "{\"object\":\"list\",\"model\":\"pictograms\",\"results\":[{\"index\":1,\"relevance_score\":0.5},"
        "{\"index\":0,\"relevance_score\":-0.25}]" USAGE);
}

static void documents_come_back_as_they_were(void **state) {
    (void)state;
    assert_true(hears(rerank_read, "",
                      "{\"query\":{\"image\":\"" PIXEL
                      "\"},\"documents\":[{\"image\":null,\"text\":\"a \\\"dog\\\"\"},{\"image\":\"" PIXEL
                      "\"}],\"return_documents\":true,\"top_n\":9}"));
    assert_int_equal(spoken.compare.items[0].modality, LIMOE_IMAGE);
    assert_int_equal(spoken.compare.items[1].modality, LIMOE_TEXT);
    assert_int_equal(spoken.compare.items[2].modality, LIMOE_IMAGE);
    assert_int_equal(spoken.compare.top_n, 2);
    assert_ranked(
        ranked, 2,
        "{\"object\":\"list\",\"model\":\"pictograms\",\"results\":[{\"index\":1,\"relevance_score\":0.5,"
        "\"document\":{\"image\":\"" PIXEL "\"}},{\"index\":0,\"relevance_score\":-0.25,"
        "\"document\":{\"text\":\"a \\\"dog\\\"\"}}]" USAGE);
    assert_true(hears(rerank_read, "",
                      "{\"query\":\"x\",\"documents\":[\"a\",\"b\"],\"return_documents\":true,\"top_n\":1}"));
    assert_int_equal(spoken.compare.top_n, 1);
    assert_ranked(
        ranked, 1,
        "{\"object\":\"list\",\"model\":\"pictograms\",\"results\":[{\"index\":1,\"relevance_score\":0.5,"
        "\"document\":{\"text\":\"b\"}}]" USAGE);
}

static void a_picture_named_by_its_url_comes_back_as_that(void **state) {
    (void)state;
    assert_true(hears(rerank_read, "",
                      "{\"query\":\"x\",\"documents\":[\"a\",{\"image\":\"https://a/b.png\"}],"
                      "\"return_documents\":true,\"top_n\":1}"));
    assert_ranked(
        ranked, 1,
        "{\"object\":\"list\",\"model\":\"pictograms\",\"results\":[{\"index\":1,\"relevance_score\":0.5,"
        "\"document\":{\"image\":\"https://a/b.png\"}}]" USAGE);
}

static void other_servers_items_come_back_in_one_form(void **state) {
    (void)state;
    assert_true(hears(rerank_read, "",
                      "{\"query\":\"x\",\"documents\":[{\"type\":\"text\",\"text\":\"a\"},"
                      "\"data:image/png;base64," PIXEL "\"],\"return_documents\":true}"));
    assert_ranked(
        ranked, 2,
        "{\"object\":\"list\",\"model\":\"pictograms\",\"results\":[{\"index\":1,\"relevance_score\":0."
        "5,\"document\":{\"image\":\"" PIXEL "\"}},{\"index\":0,\"relevance_score\":-0.25,"
        "\"document\":{\"text\":\"a\"}}]" USAGE);
}

static void texts_are_answered_as_tei_does(void **state) {
    (void)state;
    assert_true(
        hears(rerank_read_peers, "",
              "{\"raw_scores\":false,\"truncation_direction\":\"Right\",\"query\":\"cat\",\"top_n\":2,"
              "\"texts\":[\"dog\",\"cat\"],\"return_text\":true}"));
    assert_ranked(
        ranked, 2,
        "[{\"index\":1,\"score\":0.5,\"text\":\"cat\"},{\"index\":0,\"score\":-0.25,\"text\":\"dog\"}]");
    assert_true(
        hears(rerank_read_peers, "", "{\"query\":\"cat\",\"texts\":[\"dog\",\"cat\"],\"truncate\":true}"));
    assert_ranked(ranked, 2, "[{\"index\":1,\"score\":0.5},{\"index\":0,\"score\":-0.25}]");
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{\"documents\":[\"a\"]}", "missing_input", "query", "query is missing"},
        {"{\"query\":\"a\"}", "missing_input", "documents", "documents is missing"},
        {"{\"query\":\"a\",\"documents\":[]}", "empty_input", "documents", "1 to 2047"},
        {"{\"query\":\"a\",\"documents\":\"b\"}", "invalid_type", "documents", "a string"},
        {"{\"query\":\"\",\"documents\":[\"b\"]}", "empty_input", "query", "query is empty"},
        {"{\"query\":[\"a\"],\"documents\":[\"b\"]}", "invalid_type", "query", "an array"},
        {"{\"query\":\"a\",\"documents\":[\"b\",null]}", "invalid_type", "documents[1]", "null"},
        {"{\"query\":\"a\",\"documents\":[{\"title\":\"b\"}]}", "unknown_field", "documents[0]", "title"},
        {"{\"query\":\"a\",\"documents\":[\"b\"],\"top_n\":0}", "invalid_top_n", "top_n", "1 or more"},
        {"{\"query\":\"a\",\"documents\":[\"b\"],\"top_n\":1.5}", "invalid_top_n", "top_n", "1 or more"},
        {"{\"query\":\"a\",\"documents\":[\"b\"],\"top_n\":\"1\"}", "invalid_top_n", "top_n", "1 or more"},
        {"{\"query\":\"a\",\"documents\":[\"b\"],\"return_documents\":1}", "invalid_type", "return_documents",
         "true or false"},
        {"{\"query\":\"a\",\"documents\":[\"b\"],\"rank_fields\":[]}", "unknown_field", "rank_fields",
         "rank_fields"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int peers = 0; peers < 2; peers++) {
            if (hears(peers ? rerank_read_peers : rerank_read, "", cases[i].body))
                fail_msg("%s is accepted", cases[i].body);
            assert_error(400, cases[i].code, cases[i].param, cases[i].message);
        }
    assert_false(hears(rerank_read_peers, "", "{\"query\":\"a\",\"documents\":[\"b\"],\"texts\":[\"b\"]}"));
    assert_error(400, "conflicting_fields", "texts", "both documents and texts");
    assert_false(hears(rerank_read_peers, "", "{\"query\":\"a\",\"texts\":[\"b\"],\"truncate\":false}"));
    assert_error(400, "unsupported_value", "truncate", "is false");
    assert_false(hears(rerank_read, "", "{\"query\":\"a\",\"texts\":[\"b\"]}")); /* ours has documents */
    assert_error(400, "unknown_field", "texts", "accepted: query, documents");
    assert_false(hears(rerank_read, "", "{\"query\":\"a\",\"documents\":[\"b\"],\"model\":\"other\"}"));
    assert_error(404, "model_not_found", "model", "other");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(documents_are_answered_with_results),
        TEST(documents_come_back_as_they_were),
        TEST(a_picture_named_by_its_url_comes_back_as_that),
        TEST(other_servers_items_come_back_in_one_form),
        TEST(texts_are_answered_as_tei_does),
        TEST(what_is_not_done_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
