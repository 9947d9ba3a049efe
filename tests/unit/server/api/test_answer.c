/* test_answer.c - holds every answer to its JSON in docs/api.md, byte for byte,
 * and the order of predictions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/answer.h"

static void assert_answer(struct buffer *out, const char *expected) {
    size_t size;
    char *data = buffer_take(out, &size);
    assert_non_null(data);
    if (size != strlen(expected) || memcmp(data, expected, size) != 0)
        fail_msg("\n%.*s\nis not\n%s", (int)size, data, expected);
    free(data);
}

static const struct usage usage = {.prompt_tokens = 8, .image_tokens = 64};
#define USAGE "\"usage\":{\"prompt_tokens\":8,\"image_tokens\":64,\"total_tokens\":72}"

static void classifications(void **state) {
    (void)state;
    struct buffer out = {0};
    const struct text labels[] = {text_of("cat"), text_of("\"犬\"")};
    const struct prediction first[] = {{.label = 1, .score = 0.75f, .cosine = 0.5f},
                                       {.label = 0, .score = 0.25f, .cosine = -0.125f}};
    const struct classification rows[] = {{.index = 0, .predictions = first, .count = 2},
                                          {.index = 2, .predictions = first, .count = 1}};
    answer_classify(&out, "pictograms", labels, rows, 2, &usage);
    assert_answer(&out, "{\"object\":\"list\",\"model\":\"pictograms\",\"data\":["
                        "{\"object\":\"classification\",\"index\":0,\"predictions\":["
                        "{\"label\":\"\\\"犬\\\"\",\"score\":0.75,\"cosine\":0.5},"
                        "{\"label\":\"cat\",\"score\":0.25,\"cosine\":-0.125}]},"
                        "{\"object\":\"classification\",\"index\":2,\"predictions\":["
                        "{\"label\":\"\\\"犬\\\"\",\"score\":0.75,\"cosine\":0.5}]}]," USAGE "}");
}

static void embeddings(void **state) {
    (void)state;
    struct buffer out = {0};
    const float rows[] = {1.0f, -2.0f, 0.1f, 0.0f};
    answer_embeddings(&out, "pictograms", rows, NULL, 2, 2, REQUEST_FLOAT, &usage);
    assert_answer(&out, "{\"object\":\"list\",\"data\":["
                        "{\"object\":\"embedding\",\"index\":0,\"embedding\":[1.0,-2.0]},"
                        "{\"object\":\"embedding\",\"index\":1,\"embedding\":[0.1,0.0]}],"
                        "\"model\":\"pictograms\"," USAGE "}");
    const size_t index[] = {0, 5};
    answer_embeddings(&out, "pictograms", rows, index, 2, 2, REQUEST_BASE64, &usage);
    assert_answer(&out, "{\"object\":\"list\",\"data\":["
                        "{\"object\":\"embedding\",\"index\":0,\"embedding\":\"AACAPwAAAMA=\"},"
                        "{\"object\":\"embedding\",\"index\":5,\"embedding\":\"zczMPQAAAAA=\"}],"
                        "\"model\":\"pictograms\"," USAGE "}");
    const float steps[] = {127.0f / 128, -0.5f};
    answer_embeddings(&out, "pictograms", steps, NULL, 1, 2, REQUEST_INT8, &usage);
    assert_answer(&out, "{\"object\":\"list\",\"data\":["
                        "{\"object\":\"embedding\",\"index\":0,\"embedding\":[127,-64],\"scale\":0.0078125}],"
                        "\"model\":\"pictograms\"," USAGE "}");
}

static const uint32_t moe_blocks[] = {1, 3};
static const struct limoe_info info = {.name = "tiny",
                                       .architecture = "limoe",
                                       .towers = 1,
                                       .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}},
                                       .blocks = 4,
                                       .embed = 4,
                                       .image_size = 16,
                                       .patch = 8,
                                       .image_tokens = 4,
                                       .vocab = 100,
                                       .text_length = 16,
                                       .moe_layers = 2,
                                       .experts = 4,
                                       .top_k = 2,
                                       .moe_blocks = moe_blocks,
                                       .total_parameters = 5550000000,
                                       .active_parameters = 675000000,
                                       .weight_bytes = 11100000000,
                                       .scoring = {.scale = 4.5f}};

/* Expert and gate of layer l, row r, choice k are told apart by their numbers,
 * so that a wrong stride shows. */
static void routing(void **state) {
    (void)state;
    enum { ROWS = 6, TOP_K = 2 };
    const int32_t tokens[] = {42, 2};
    const struct limoe_item items[] = {
        {.modality = LIMOE_IMAGE, .length = 4},
        {.modality = LIMOE_TEXT, .length = 2, .tokens = tokens},
    };
    int32_t expert[2 * ROWS * TOP_K];
    float gate[2 * ROWS * TOP_K];
    for (int i = 0; i < 2 * ROWS * TOP_K; i++) {
        expert[i] = i;
        gate[i] = (float)i / 32;
    }
    struct buffer out = {0};
    const struct limoe_routing result = {.expert = expert, .gate = gate};
    answer_routing(&out, &info, items, 2, &result, &usage);
    assert_answer(
        &out,
        "{\"object\":\"list\",\"model\":\"tiny\",\"experts\":4,\"top_k\":2,\"data\":["
        "{\"object\":\"routing\",\"index\":0,\"modality\":\"image\",\"tokens\":4,"
        "\"grid\":{\"rows\":2,\"columns\":2},\"layers\":["
        "{\"block\":1,\"experts\":[[0,1],[2,3],[4,5],[6,7]],"
        "\"gates\":[[0.0,0.03125],[0.0625,0.09375],[0.125,0.15625],[0.1875,0.21875]]},"
        "{\"block\":3,\"experts\":[[12,13],[14,15],[16,17],[18,19]],"
        "\"gates\":[[0.375,0.40625],[0.4375,0.46875],[0.5,0.53125],[0.5625,0.59375]]}]},"
        "{\"object\":\"routing\",\"index\":1,\"modality\":\"text\",\"tokens\":2,\"token_ids\":[42,2],"
        "\"layers\":["
        "{\"block\":1,\"experts\":[[8,9],[10,11]],\"gates\":[[0.25,0.28125],[0.3125,0.34375]]},"
        "{\"block\":3,\"experts\":[[20,21],[22,23]],\"gates\":[[0.625,0.65625],[0.6875,0.71875]]}]}]," USAGE
        "}");
}

#define SHAPE                                                                                                \
    "\"architecture\":\"limoe\",\"width\":8,\"blocks\":4,\"heads\":2,\"mlp\":16,\"embed\":4,"                \
    "\"image\":{\"size\":16,\"patch\":8,\"tokens\":4},\"text\":{\"vocab\":100,\"length\":16},"               \
    "\"moe\":{\"blocks\":[1,3],\"experts\":4,\"top_k\":2},"                                                  \
    "\"parameters\":{\"total\":5550000000,\"active\":675000000},\"weight_bytes\":11100000000,"               \
    "\"scores\":\"softmax\",\"logit_scale\":4.5"

static void models(void **state) {
    (void)state;
    struct buffer out = {0};
    const struct limoe_rank ranks[] = {{.experts = 3, .dense_bytes = 1, .expert_bytes = 2},
                                       {.experts = 4, .dense_bytes = 1, .expert_bytes = 5}};
    struct limoe_info dense = info;
    dense.name = "dense";
    dense.moe_layers = 0;
    const struct limoe_info *const infos[] = {&info, &dense};
    const struct request_models all = {
        .info = infos, .n = 2, .aliases = "clip,text-embedding-3-small=tiny,vit=dense"};
    const struct answer_model model = {.info = &info,
                                       .models = &all,
                                       .ready = true,
                                       .dtype = "bfloat16",
                                       .backend = "cpu-amx",
                                       .fingerprint = "0123456789abcdef",
                                       .threads = 2,
                                       .ranks = 2,
                                       .rank = ranks,
                                       .created = 1700000000};
    struct answer_model second = model;
    second.info = &dense;
    second.index = 1;
    second.ready = false;
    answer_model(&out, &second);
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, "{\"id\":\"dense\","));
    assert_non_null(strstr(
        out.data, ",\"ready\":false,\"aliases\":[\"vit\"],\"capabilities\":[\"classify\",\"embeddings\"],"));
    buffer_free(&out);
    answer_models(&out, &model, 1);
    assert_answer(
        &out,
        "{\"object\":\"list\",\"data\":[{\"id\":\"tiny\",\"object\":\"model\","
        "\"created\":1700000000,\"owned_by\":\"limoe\",\"ready\":true,\"aliases\":[\"clip\",\"text-embedding-"
        "3-small\"],"
        "\"capabilities\":[\"classify\",\"embeddings\",\"routing\"],"
        "\"dtype\":\"bfloat16\","
        "\"backend\":\"cpu-amx\",\"fingerprint\":\"0123456789abcdef\",\"threads\":2,\"ranks\":2,\"by_rank\":["
        "{\"rank\":0,\"experts\":3,\"dense_bytes\":1,\"expert_bytes\":2},"
        "{\"rank\":1,\"experts\":4,\"dense_bytes\":1,\"expert_bytes\":5}]," SHAPE "}]}");
}

/* A model of one tower says what it lacks, and is asked for no scores. */
static void a_tower_alone(void **state) {
    (void)state;
    struct limoe_info alone = info;
    alone.towers = 2;
    alone.tower[LIMOE_TEXT] = (struct limoe_tower){0};
    alone.vocab = alone.text_length = alone.moe_layers = 0;
    const struct limoe_info *const infos[] = {&alone};
    const struct request_models all = {.info = infos, .n = 1};
    const struct answer_model model = {
        .info = &alone, .models = &all, .dtype = "float32", .backend = "cpu-avx2", .fingerprint = "0"};
    struct buffer out = {0};
    answer_model(&out, &model);
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, "\"capabilities\":[\"embeddings\"],"));
    assert_non_null(strstr(out.data,
                           "\"image\":{\"size\":16,\"patch\":8,\"tokens\":4,\"width\":8,\"blocks\":4,"
                           "\"heads\":2,\"mlp\":16},\"text\":null,\"moe\":null,"));
    assert_non_null(strstr(out.data, ",\"scores\":null,\"logit_scale\":null}"));
    buffer_free(&out);
    out = (struct buffer){0};
    alone = info;
    alone.towers = 2;
    alone.tower[LIMOE_IMAGE] = (struct limoe_tower){0};
    answer_model(&out, &model);
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, "\"image\":null,\"text\":{\"vocab\":100,"));
    buffer_free(&out);
}

static void inspections(void **state) {
    (void)state;
    struct buffer out = {0};
    struct limoe_block_info block[] = {
        {.attention_parameters = 1, .mlp_parameters = 2, .active_mlp_parameters = 2},
        {.moe = true,
         .attention_parameters = 1,
         .router_parameters = 3,
         .mlp_parameters = 8,
         .active_mlp_parameters = 4},
    };
    struct limoe_inspection inspection = {.info = info, .checkpoint_dtypes = "bfloat16", .block = block};
    inspection.info.blocks = inspection.info.tower[LIMOE_IMAGE].blocks = 2;
    inspection.info.moe_layers = 0;
    answer_inspection(&out, &inspection, NULL, NULL, NULL);
    assert_answer(&out,
                  "{\"id\":\"tiny\",\"object\":\"model_directory\",\"checkpoint_dtypes\":\"bfloat16\","
                  "\"architecture\":\"limoe\",\"width\":8,\"blocks\":2,\"heads\":2,\"mlp\":16,\"embed\":4,"
                  "\"image\":{\"size\":16,\"patch\":8,\"tokens\":4},\"text\":{\"vocab\":100,\"length\":16},"
                  "\"moe\":null,\"parameters\":{\"total\":5550000000,\"active\":675000000},"
                  "\"weight_bytes\":11100000000,\"scores\":\"softmax\",\"logit_scale\":4.5,\"by_block\":["
                  "{\"block\":0,\"kind\":\"dense\",\"attention_parameters\":1,\"router_parameters\":0,"
                  "\"mlp_parameters\":2,\"active_mlp_parameters\":2},"
                  "{\"block\":1,\"kind\":\"moe\",\"attention_parameters\":1,\"router_parameters\":3,"
                  "\"mlp_parameters\":8,\"active_mlp_parameters\":4}]}");
}

/* Behind what it says without ranks. */
static void inspections_with_ranks(void **state) {
    (void)state;
    struct buffer out = {0};
    struct limoe_inspection inspection = {.info = {.name = "tiny"}, .checkpoint_dtypes = "float32"};
    const uint32_t first[] = {0, 1, 3, 4, 5}, owner[] = {0, 0, 1, 1, 0};
    struct limoe_rank rank[] = {{10, 6, 3}, {10, 4, 2}};
    double imbalance[] = {1, 1.25};
    struct limoe_placement ranks = {.ranks = 2,
                                    .layers = 2,
                                    .experts = 2,
                                    .dtype = LIMOE_BFLOAT16,
                                    .expert_bytes = 2,
                                    .rank = rank,
                                    .first = first,
                                    .owner = owner};
    answer_inspection(&out, &inspection, &ranks, NULL, NULL);
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, ",\"by_block\":[],\"dtype\":\"bfloat16\",\"expert_bytes\":2,\"ranks\":["
                                     "{\"rank\":0,\"experts\":3,\"dense_bytes\":10,\"expert_bytes\":6},"
                                     "{\"rank\":1,\"experts\":2,\"dense_bytes\":10,\"expert_bytes\":4}],"
                                     "\"placement\":[[[0],[0,1]],[[1],[0]]]}"));
    buffer_free(&out);
    ranks.imbalance = imbalance;
    const struct answer_comparison comparison = {
        LIMOE_INT8, LIMOE_FLOAT32, 4, {3, 0.5, 0.75}, {5, 0.25, 0.875}};
    answer_inspection(&out, &inspection, &ranks, NULL, &comparison);
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, ",\"cosines\":{\"dtype\":\"int8\",\"beside\":\"float32\","
                                     "\"pictures\":{\"items\":3,\"least\":0.5,\"mean\":0.75},"
                                     "\"texts\":{\"items\":5,\"least\":0.25,\"mean\":0.875}}}"));
    assert_non_null(
        strstr(out.data, ",\"placement\":[[[0],[0,1]],[[1],[0]]],\"imbalance\":[1.0,1.25],\"cosines\""));
    buffer_free(&out);
}

static void cards(void **state) {
    (void)state;
    static const struct limoe_block_info none = {0};
    struct limoe_inspection inspection = {
        .info = info, .checkpoint_dtypes = "float32", .block = (void *)&none};
    struct limoe_card card[] = {{1, 2, 3, 4, 5, 6, 21}, {1, 4, 3, 4, 5, 6, 23}};
    const struct limoe_cards two = {.ranks = 2, .step_tokens = 64, .card = card};
    struct answer_cards answer = {.cards = &two};
    struct buffer out = {0};
    inspection.info.blocks = 0;
    answer_inspection(&out, &inspection, NULL, &answer, NULL);
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data,
                           ",\"by_block\":[],\"gpus\":{\"step_tokens\":64,\"by_rank\":["
                           "{\"rank\":0,\"dense_bytes\":1,\"expert_bytes\":2,\"workspace_bytes\":3,"
                           "\"exchange_bytes\":4,\"staging_bytes\":5,\"set_aside_bytes\":6,\"bytes\":21},"
                           "{\"rank\":1,"));
    assert_null(strstr(out.data, "fits"));
    buffer_free(&out);
    answer.card_bytes = 22; /* rank 1 is the fullest */
    answer_inspection(&out, &inspection, NULL, &answer, NULL);
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, ",\"card_bytes\":22,\"fits\":false,\"fewest_ranks\":null}}"));
    buffer_free(&out);
    answer.card_bytes = 23;
    answer.fewest_ranks = 2;
    answer_inspection(&out, &inspection, NULL, &answer, NULL);
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, ",\"card_bytes\":23,\"fits\":true,\"fewest_ranks\":2}}"));
    buffer_free(&out);
}

static void errors(void **state) {
    (void)state;
    struct buffer out = {0};
    struct api_error error;
    assert_false(api_fail(&error, 400, "empty_labels", "labels", "no \"labels\"\n"));
    answer_error(&out, &error);
    assert_answer(&out, "{\"error\":{\"message\":\"no \\\"labels\\\"?\",\"type\":\"invalid_request_error\","
                        "\"param\":\"labels\",\"code\":\"empty_labels\"}}");
    api_fail(&error, 429, NULL, NULL, "busy");
    answer_error(&out, &error);
    assert_answer(&out, "{\"error\":{\"message\":\"busy\",\"type\":\"rate_limit_error\",\"param\":null,"
                        "\"code\":null}}");
}

static void causes_become_http_statuses(void **state) {
    (void)state;
    static const struct {
        enum limoe_status cause;
        int status;
        const char *code, *type;
    } cases[] = {
        {LIMOE_BAD_IMAGE, 400, "bad_image", "invalid_request_error"},
        {LIMOE_UNSUPPORTED, 400, "unsupported", "invalid_request_error"},
        {LIMOE_INVALID, 400, "invalid", "invalid_request_error"},
        {LIMOE_TOO_LARGE, 413, "too_large", "invalid_request_error"},
        {LIMOE_NO_MEMORY, 503, "no_memory", "service_unavailable_error"},
        {LIMOE_CORRUPT, 500, "corrupt", "server_error"},
        {LIMOE_INTERNAL, 500, "internal", "server_error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct api_error error;
        const struct limoe_error cause = {.status = cases[i].cause, .message = "why"};
        assert_false(api_fail_from(&error, "images[1]", &cause));
        assert_int_equal(error.status, cases[i].status);
        assert_string_equal(error.code, cases[i].code);
        assert_string_equal(api_error_type(error.status), cases[i].type);
        assert_string_equal(error.param, "images[1]");
        assert_string_equal(error.message, "images[1]: why");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classifications),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(routing),
        cmocka_unit_test(models),
        cmocka_unit_test(a_tower_alone),
        cmocka_unit_test(inspections),
        cmocka_unit_test(inspections_with_ranks),
        cmocka_unit_test(cards),
        cmocka_unit_test(errors),
        cmocka_unit_test(causes_become_http_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
