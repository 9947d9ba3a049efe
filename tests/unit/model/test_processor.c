/* Protects: text becomes the reference's token ids, text that is none is refused with its place, and pixels
 * arrive in the model's size. Golden vectors: tests/golden/tokenizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/utf8.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/fingerprint.h"
#include "model/text/tokenizer.h"
#include "tests/unit/model/support.h"
#include "tests/unit/model/text/piece_model.h"

/* A processor over tiny_config, the first `find` in it replaced, and tiny_model. */
static struct limoe_processor *open_tiny(const char *dir, const char *find, const char *replace) {
    struct limoe_processor *p = NULL;
    struct limoe_error err;
    char *config = edit(tiny_config, find, replace);
    struct bytes model = tiny_model();
    directory_write(dir, "config.json", config, strlen(config));
    directory_write(dir, "tokenizer.model", model.at, model.size);
    if (limoe_processor_open(dir, NULL, &p, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    free(config);
    free(model.at);
    return p;
}

static void expect_tokens(const struct limoe_processor *p, const char *text, const int32_t *ids,
                          uint32_t count) {
    int32_t tokens[64];
    uint32_t length = 99;
    struct limoe_error err;
    memset(tokens, 0x7F, sizeof tokens);
    if (limoe_process_text(p, text, strlen(text), tokens, &length, &err) != LIMOE_OK)
        fail_msg("\"%s\": %s", text, err.message);
    if (length != count || memcmp(tokens, ids, count * sizeof *ids) != 0) {
        fail_msg("\"%s\" gave %u tokens, %u are expected; the first %d, %d is expected", text, length, count,
                 tokens[0], ids[0]);
    }
    assert_int_equal(tokens[count], 0x7F7F7F7F); /* nothing beyond */
}

/* A processor and a model of the same directory must agree, and a model opens no tokenizer: the digits are of
 * the files' bytes alone, and follow every change of them. */
static void test_fingerprint(void **state) {
    const char *dir = *state;
    char first[FINGERPRINT_DIGITS + 1], digits[FINGERPRINT_DIGITS + 1];
    struct config config;
    for (int pass = 0; pass < 3; pass++) {
        struct limoe_processor *p = open_tiny(dir, "tiny", pass == 1 ? "other" : "tiny");
        struct fingerprint *f;
        assert_int_equal(fingerprint_create(&f, NULL), LIMOE_OK);
        assert_int_equal(config_load(dir, &config, f, NULL), LIMOE_OK);
        assert_int_equal(tokenizer_fingerprint(dir, f, NULL), LIMOE_OK);
        fingerprint_digits(f, digits);
        assert_string_equal(limoe_processor_fingerprint(p), digits);
        if (pass == 0)
            memcpy(first, digits, sizeof first);
        assert_int_equal(strcmp(first, digits) == 0, pass != 1);
        fingerprint_free(f);
        limoe_processor_close(p);
    }
}

/* ---- the reference's ids */

static void test_golden(void **state) {
    const char *dir = *state;
    uint8_t *json = NULL, *model = NULL;
    size_t json_size = 0, model_size = 0;
    struct limoe_error err;
    if (file_read(GOLDEN "/tokenizer", "strings.json", 1 << 20, &json, &json_size, &err) != LIMOE_OK ||
        file_read(GOLDEN "/tokenizer", "tokenizer.model", 1 << 24, &model, &model_size, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    cJSON *golden = cJSON_ParseWithLength((const char *)json, json_size);
    assert_non_null(golden);
    char config[600];
    snprintf(config, sizeof config,
             "{\"format\":\"limoe-1\",\"name\":\"golden\",\"width\":8,\"blocks\":1,\"heads\":1,\"mlp\":8,"
             "\"embed\":8,"
             "\"image\":{\"size\":8,\"patch\":8,\"mean\":[0,0,0],\"std\":[1,1,1]},"
             "\"text\":{\"vocab\":%u,\"length\":%d,\"eos_id\":%d}}",
             count_pieces(model, model_size), cJSON_GetObjectItemCaseSensitive(golden, "length")->valueint,
             cJSON_GetObjectItemCaseSensitive(golden, "eos_id")->valueint);
    directory_write(dir, "config.json", config, strlen(config));
    directory_write(dir, "tokenizer.model", model, model_size);
    struct limoe_processor *p = NULL;
    if (limoe_processor_open(dir, NULL, &p, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    int cases = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(golden, "cases")) {
        const cJSON *ids = cJSON_GetObjectItemCaseSensitive(item, "ids"), *id;
        int32_t expected[64];
        uint32_t count = 0;
        assert_in_range(cJSON_GetArraySize(ids), 1, 64);
        cJSON_ArrayForEach(id, ids) {
            expected[count++] = id->valueint;
        }
        expect_tokens(p, cJSON_GetObjectItemCaseSensitive(item, "text")->valuestring, expected, count);
        cases++;
    }
    assert_true(cases >= 20);
    limoe_processor_close(p);
    cJSON_Delete(golden);
    free(json);
    free(model);
}

/* ---- EOS, truncation, padding */

static void test_ignore(void **state) {
    struct limoe_processor *p = open_tiny(*state, "tiny", "tiny");
    expect_tokens(p, "", (int32_t[]){TINY_EOS}, 1);
    expect_tokens(p, "   ", (int32_t[]){TINY_EOS}, 1);
    expect_tokens(p, "cat dog", (int32_t[]){TINY_CAT, TINY_DOG, TINY_EOS}, 3);
    expect_tokens(p, "cat dog cat dog cat",
                  (int32_t[]){TINY_CAT, TINY_DOG, TINY_CAT, TINY_DOG, TINY_CAT, TINY_EOS}, 6);
    expect_tokens(p, "cat dog cat dog cat dog dog",
                  (int32_t[]){TINY_CAT, TINY_DOG, TINY_CAT, TINY_DOG, TINY_CAT, TINY_EOS}, 6);
    limoe_processor_close(p);
}

static void test_attend(void **state) {
    struct limoe_processor *p =
        open_tiny(*state, "\"pad_id\":0,\"pad\":\"ignore\"", "\"pad_id\":1,\"pad\":\"attend\"");
    expect_tokens(p, "", (int32_t[]){TINY_EOS, 1, 1, 1, 1, 1}, 6);
    expect_tokens(p, "cat dog", (int32_t[]){TINY_CAT, TINY_DOG, TINY_EOS, 1, 1, 1}, 6);
    expect_tokens(p, "cat dog cat dog cat dog",
                  (int32_t[]){TINY_CAT, TINY_DOG, TINY_CAT, TINY_DOG, TINY_CAT, TINY_EOS}, 6);
    limoe_processor_close(p);
}

static void test_length_one(void **state) {
    struct limoe_processor *p = open_tiny(*state, "\"length\":6", "\"length\":1");
    expect_tokens(p, "cat dog", (int32_t[]){TINY_EOS}, 1);
    limoe_processor_close(p);
}

/* ---- text that is none */

static void test_refused_text(void **state) {
    struct limoe_processor *p = open_tiny(*state, "tiny", "tiny");
    static const struct {
        const char *text;
        size_t size;
        const char *message;
    } cases[] = {
        {"\x80", 1, "the text is not UTF-8 at byte 0"},         /* a continuation alone */
        {"a\xC3", 2, "the text is not UTF-8 at byte 1"},        /* cut short */
        {"ab\xE2\x82", 4, "the text is not UTF-8 at byte 2"},   /* cut short */
        {"\xC0\xAF", 2, "the text is not UTF-8 at byte 0"},     /* overlong */
        {"\xE0\x80\xAF", 3, "the text is not UTF-8 at byte 0"}, /* overlong */
        {"\xF0\x80\x80\xAF", 4, "the text is not UTF-8 at byte 0"},
        {"x\xED\xA0\x80", 4, "the text is not UTF-8 at byte 1"}, /* a surrogate */
        {"\xF4\x90\x80\x80", 4, "the text is not UTF-8 at byte 0"},
        {"\xFF\xFE", 2, "the text is not UTF-8 at byte 0"},
        {"cat\0dog", 7, "the text has a NUL at byte 3"},
        {"\0", 1, "the text has a NUL at byte 0"},
    };
    int32_t tokens[6];
    uint32_t length = 0;
    struct limoe_error err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *exact = malloc(cases[i].size); /* so that ASan sees a read past the end */
        memcpy(exact, cases[i].text, cases[i].size);
        expect_failure("text", limoe_process_text(p, exact, cases[i].size, tokens, &length, &err), &err,
                       LIMOE_INVALID, cases[i].message);
        free(exact);
    }
    char *large = malloc(65537);
    memset(large, 'a', 65537);
    expect_failure("large", limoe_process_text(p, large, 65537, tokens, &length, &err), &err, LIMOE_TOO_LARGE,
                   "the text is 65537 bytes; at most 65536 are accepted");
    assert_int_equal(limoe_process_text(p, large, 65536, tokens, &length, &err), LIMOE_OK);
    assert_int_equal(length, 6);
    free(large);
    limoe_processor_close(p);
}

/* utf8_check against a count of all there are: of every sequence of three bytes, and of four with the last
 * two taken from the edges of their ranges. */
static void test_utf8(void **state) {
    (void)state;
    static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};
    size_t three = 0, four = 0;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        uint8_t s[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        three += utf8_check(s, 3) == 3;
    }
    size_t one_byte = 128, two_bytes = 1920,
           three_bytes = 65536 - 2048 - 2048; /* less shorter forms, surrogates */
    assert_int_equal(three, one_byte * one_byte * one_byte + 2 * one_byte * two_bytes + three_bytes);
    for (uint32_t v = 0xF000; v < 0x10000; v++) {
        for (size_t i = 0; i < 36; i++) {
            uint8_t s[4] = {(uint8_t)(v >> 8), (uint8_t)v, edges[i / 6], edges[i % 6]};
            four += utf8_check(s, 4) == 4;
        }
    }
    assert_int_equal(four, (48 + 64 + 64 + 64 + 16) * 2 *
                               2); /* second bytes after F0, F1 to F3, F4; 80 and BF twice */
    assert_int_equal(utf8_check("", 0), 0);
}

/* ---- pictures */

static void test_image(void **state) {
    struct limoe_processor *p = open_tiny(*state, "tiny", "tiny");
    struct limoe_error err = {0};
    struct bytes ppm = {0};
    uint8_t pixels[8 * 8 * 3 + 1];
    bytes_add(&ppm, "P6\n8 8\n255\n", 11);
    for (uint8_t i = 0; i < 8 * 8 * 3; i++)
        bytes_add(&ppm, &i, 1);
    pixels[sizeof pixels - 1] = 77;
    if (limoe_process_image(p, ppm.at, ppm.size, pixels, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    assert_memory_equal(pixels, ppm.at + 11, 8 * 8 * 3); /* already the model's size: as it was */
    assert_int_equal(pixels[sizeof pixels - 1], 77);
    assert_int_equal(limoe_process_image(p, (const uint8_t *)"no picture", 10, pixels, &err),
                     LIMOE_BAD_IMAGE);
    limoe_processor_close(p);

    struct limoe_image_limits limits = {.max_pixels = 63};
    assert_int_equal(limoe_processor_open(*state, &limits, &p, &err), LIMOE_OK);
    assert_int_equal(limoe_process_image(p, ppm.at, ppm.size, pixels, &err), LIMOE_TOO_LARGE);
    limoe_processor_close(p);
    limits = (struct limoe_image_limits){.max_bytes = ppm.size - 1};
    assert_int_equal(limoe_processor_open(*state, &limits, &p, &err), LIMOE_OK);
    assert_int_equal(limoe_process_image(p, ppm.at, ppm.size, pixels, &err), LIMOE_TOO_LARGE);
    limoe_processor_close(p);
    free(ppm.at);
}

static void test_open(void **state) {
    const char *dir = *state;
    struct limoe_error err = {0};
    struct limoe_processor *p = open_tiny(dir, "tiny", "tiny");
    const struct limoe_info *info = limoe_processor_info(p);
    assert_string_equal(info->name, "tiny");
    assert_int_equal(info->tower[LIMOE_TEXT].width, 12);
    assert_int_equal(info->image_tokens, 4);
    assert_int_equal(info->vocab, 40);
    assert_int_equal(info->text_length, 6);
    assert_int_equal(info->moe_layers, 1);
    assert_int_equal(info->moe_blocks[0], 1);
    assert_int_equal(info->total_parameters, 0); /* needs the weights */
    limoe_processor_close(p);
    limoe_processor_close(NULL);

    p = (struct limoe_processor *)(uintptr_t)1;
    expect_failure("none", limoe_processor_open("/nowhere", NULL, &p, &err), &err, LIMOE_NOT_FOUND,
                   "/nowhere/config.json");
    assert_null(p);
    directory_write(dir, "tokenizer.model", "x", 1);
    expect_failure("tokenizer", limoe_processor_open(dir, NULL, &p, &err), &err, LIMOE_CORRUPT,
                   "tokenizer.model: ");
    directory_write(dir, "config.json", "{", 1);
    expect_failure("config", limoe_processor_open(dir, NULL, &p, &err), &err, LIMOE_CORRUPT, "config.json: ");
    assert_null(p);
}

/* A model of one tower needs no files of the other's, and refuses its inputs. */
static void test_tower_alone(void **state) {
    const char *dir = *state;
    struct limoe_error err;
    struct limoe_processor *p;
    int32_t tokens[12];
    uint32_t length;
    uint8_t pixels[16 * 16 * 3];
    if (limoe_processor_open(GOLDEN "/clip-vision", NULL, &p, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    const struct limoe_info *info = limoe_processor_info(p);
    assert_true(limoe_has(info, LIMOE_IMAGE) && !limoe_has(info, LIMOE_TEXT));
    assert_int_equal(limoe_accepts(info, LIMOE_IMAGE, &err), LIMOE_OK);
    assert_int_equal(info->text_length, 0);
    expect_failure("text", limoe_process_text(p, "x", 1, tokens, &length, &err), &err, LIMOE_UNSUPPORTED,
                   "\"clip-vision\" has no text tower; pictures alone are accepted");
    limoe_processor_close(p);

    /* Texts alone: a tokenizer, and nothing about pictures. */
    static const char config[] =
        "{\"model_type\":\"siglip_text_model\",\"hidden_size\":8,\"num_attention_heads\":2,"
        "\"vocab_size\":40,\"max_position_embeddings\":12}";
    struct bytes model = tiny_model();
    directory_write(dir, "config.json", config, strlen(config));
    directory_write(dir, "spiece.model", model.at, model.size);
    free(model.at);
    if (limoe_processor_open(dir, NULL, &p, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    info = limoe_processor_info(p);
    assert_true(limoe_has(info, LIMOE_TEXT) && !limoe_has(info, LIMOE_IMAGE));
    assert_int_equal(info->image_size, 0);
    expect_failure("picture", limoe_process_image(p, pixels, sizeof pixels, pixels, &err), &err,
                   LIMOE_UNSUPPORTED, "has no image tower; texts alone are accepted");
    assert_int_equal(limoe_process_text(p, "x", 1, tokens, &length, &err), LIMOE_OK);
    assert_int_equal(length, 12);
    limoe_processor_close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fingerprint, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_golden, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_ignore, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_attend, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_length_one, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_refused_text, directory_setup, directory_teardown),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test_setup_teardown(test_image, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_tower_alone, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_open, directory_setup, directory_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
