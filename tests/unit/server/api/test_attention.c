/* test_attention.c - protects /v1/attention: what is read, what a model can be asked, its numbers and its picture. */
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/attention.h"

#define PICTURE "\"image\":\"aGVsbG8=\""

static const struct limoe_info info = {.name = "tiny",
                                       .tower = {{8, 2, 2, 16}, {8, 2, 2, 16}},
                                       .embed = 2,
                                       .image_size = 6,
                                       .patch = 3,
                                       .image_tokens = 5,
                                       .text_length = 4,
                                       .shares = LIMOE_SHARES_CLASS_TOKEN};
static const struct limoe_info *const infos[] = {&info};
static const struct request_models models = {.info = infos, .n = 1};

/* ---- reading */

static void test_a_request(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    struct attention_request request;
    struct api_error error;
    static const char body[] =
        "{" PICTURE ",\"texts\":[\"a cat\",\"red\"],\"kind\":\"contribution\",\"format\":null}";
    assert_true(attention_read(&models, body, strlen(body), arena, &request, &error));
    assert_int_equal(request.n, 2);
    assert_false(request.png);
    assert_int_equal(request.items[0].modality, LIMOE_IMAGE);
    assert_memory_equal(request.items[0].bytes, "hello", 5);
    assert_int_equal(request.items[2].modality, LIMOE_TEXT);
    assert_memory_equal(request.items[2].bytes, "red", 3);
    assert_string_equal(request.items[2].param, "texts[1]");
    static const char map[] = "{" PICTURE ",\"texts\":[\"a cat\"],\"format\":\"png\"}";
    assert_true(attention_read(&models, map, strlen(map), arena, &request, &error));
    assert_true(request.png);
    arena_free(arena);
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *message;
    } cases[] = {
        {"{\"texts\":[\"a\"]}", "missing_image", "there is no image"},
        {"{" PICTURE "}", "missing_input", "a list of 1 to 1000 strings"},
        {"{" PICTURE ",\"texts\":{}}", "invalid_type", "texts is an object"},
        {"{" PICTURE ",\"texts\":[null]}", "invalid_type", "texts[0] is null"},
        {"{" PICTURE ",\"texts\":[\"\"]}", "empty_input", "texts[0] is empty"},
        {"{" PICTURE ",\"texts\":[\"a\"],\"kind\":\"cross\"}", "unsupported_kind",
         "accepted: \"contribution\""},
        {"{" PICTURE ",\"texts\":[\"a\"],\"format\":\"jpeg\"}", "invalid_format", "\"json\" or \"png\""},
        {"{" PICTURE ",\"texts\":[\"a\",\"b\"],\"format\":\"png\"}", "conflicting_fields",
         "there are 2 texts"},
        {"{" PICTURE ",\"texts\":[\"a\"],\"top_k\":1}", "unknown_field", "image, texts, kind, format, model"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_new();
        struct attention_request request;
        struct api_error error;
        assert_false(attention_read(&models, cases[i].body, strlen(cases[i].body), arena, &request, &error));
        assert_int_equal(error.status, 400);
        assert_string_equal(error.code, cases[i].code);
        if (!strstr(error.message, cases[i].message))
            fail_msg("\"%s\" is not in \"%s\"", cases[i].message, error.message);
        arena_free(arena);
    }
}

static void test_what_a_model_can(void **state) {
    (void)state;
    struct api_error error;
    assert_true(attention_check(&info, ATTENTION_MOST_TEXTS, &error));
    struct limoe_info other = info;
    other.tower[LIMOE_TEXT] = (struct limoe_tower){0};
    assert_false(attention_check(&other, 1, &error));
    assert_string_equal(error.code, "unsupported_modality");
    other = info;
    other.shares = LIMOE_SHARES_NONE;
    assert_false(attention_check(&other, 1, &error));
    assert_string_equal(error.code, "unsupported_kind");
    other = info;
    other.image_size = 2048;
    other.patch = 8; /* 65,536 patches of 256 numbers: 64 MiB, and the rest's */
    other.embed = 255;
    assert_true(attention_check(&other, 16, &error));
    assert_false(attention_check(&other, 17, &error));
    assert_string_equal(error.code, "too_many_items");
    other.embed = 256;
    assert_false(attention_check(&other, 1, &error));
    assert_string_equal(error.code, "unsupported_kind");
}

/* ---- answers */

static uint8_t pixels[6 * 6 * 3];
static const float embeddings[] = {0.5F, 0.875F, 1, 0, 0, 1};
/* Four patches and the rest, which sum to the picture's embedding. */
static const float shares[] = {0.5F, 0, 0, 0.25F, 0, 0, -0.25F, 0.125F, 0.25F, 0.5F};
static const struct attention attention = {
    .model = &info, .pixels = pixels, .embeddings = embeddings, .shares = shares, .n = 2};

static void test_an_answer(void **state) {
    (void)state;
    struct buffer out = {0};
    const struct usage usage = {.prompt_tokens = 5, .image_tokens = 5};
    attention_answer(&out, &attention, &usage);
    buffer_bytes(&out, "", 1);
    assert_string_equal(
        out.data, "{\"object\":\"attention\",\"model\":\"tiny\",\"kind\":\"contribution\",\"method\":"
                  "\"class_token\",\"rows\":2,\"columns\":2,\"data\":[{\"object\":\"contribution\","
                  "\"index\":0,\"cosine\":0.5,\"rest\":0.25,\"grid\":[[0.5625,0.0625],[0.0625,-0.1875]]},"
                  "{\"object\":\"contribution\",\"index\":1,\"cosine\":0.875,\"rest\":0.5,"
                  "\"grid\":[[0.125,0.375],[0.125,0.25]]}],\"usage\":{\"prompt_tokens\":5,\"image_tokens\":5,"
                  "\"total_tokens\":10}}");
    const struct attention_request request = {.n = 2};
    assert_true(out.size < attention_size(&info, &request));
    buffer_free(&out);
}

/* A map's pixel, by its place in 384 x 384. */
static const uint8_t *at(const uint8_t *map, size_t x, size_t y) {
    return map + (y * 384 + x) * 3;
}

static void test_a_map(void **state) {
    (void)state;
    memset(pixels, 200, sizeof pixels);
    struct buffer out = {0};
    assert_true(attention_draw(&out, &attention));
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, out.data, out.size));
    assert_int_equal(image.width, 384);
    assert_int_equal(image.height, 384);
    image.format = PNG_FORMAT_RGB;
    uint8_t *map = malloc(PNG_IMAGE_SIZE(image));
    assert_true(png_image_finish_read(&image, NULL, map, 0, NULL));
    /* Shares 0.5625, 0.0625, 0.0625, -0.1875: the first is the largest, the last the least. */
    const uint8_t *most = at(map, 10, 10), *least = at(map, 370, 370), *mean = at(map, 370, 10);
    assert_true(most[0] > most[2] + 100);
    assert_true(least[2] > least[0] + 50);
    assert_true(abs(mean[0] - mean[2]) < 40);
    free(map);
    buffer_free(&out);
}

/* Where all patches have the same share there is nothing to show, and nothing to divide by. */
static void test_a_map_of_nothing(void **state) {
    (void)state;
    static const float zeros[10];
    struct attention none = attention;
    none.shares = zeros;
    struct buffer out = {0};
    memset(pixels, 255, sizeof pixels);
    assert_true(attention_draw(&out, &none));
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, out.data, out.size));
    image.format = PNG_FORMAT_RGB;
    uint8_t *map = malloc(PNG_IMAGE_SIZE(image));
    assert_true(png_image_finish_read(&image, NULL, map, 0, NULL));
    for (size_t i = 0; i < PNG_IMAGE_SIZE(image); i++)
        assert_int_equal(map[i], 255);
    free(map);
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_what_a_model_can),
        cmocka_unit_test(test_an_answer),
        cmocka_unit_test(test_a_map),
        cmocka_unit_test(test_a_map_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
