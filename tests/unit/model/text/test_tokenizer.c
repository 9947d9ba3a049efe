/* Protects: no tokenizer.model, however damaged, ends the process or hands out ids beyond the vocabulary; a
 * sound one gives SentencePiece's own ids, from any number of threads. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/checkpoint/file.h"
#include "model/text/sentencepiece.h"
#include "model/text/tokenizer.h"
#include "tests/unit/model/support.h"
#include "tests/unit/model/text/piece_model.h"

#define NAME "tokenizer.model"

static enum limoe_status open_bytes(const char *dir, const struct bytes *model, uint32_t vocab,
                                    struct tokenizer **tokenizer, struct limoe_error *err) {
    directory_write(dir, NAME, model->at, model->size);
    return tokenizer_open(dir, vocab, NULL, tokenizer, err);
}

static void test_encode(void **state) {
    struct tokenizer *tokenizer = NULL;
    struct limoe_error err;
    struct bytes model = tiny_model();
    if (open_bytes(*state, &model, 40, &tokenizer, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    static const struct {
        const char *text;
        uint32_t count;
        int32_t ids[5];
    } cases[] = {
        {"cat", 1, {TINY_CAT}},
        {"cat dog", 2, {TINY_CAT, TINY_DOG}},
        {"  cat   dog  ", 2, {TINY_CAT, TINY_DOG}},
        {"cAt", 1, {TINY_CAT}}, /* the model's own normalisation */
        {"bee", 4, {TINY_SPACE, TINY_A + 1, TINY_A + 4, TINY_A + 4}},
        {"\xE7\x8A\xAC", 2, {TINY_SPACE, 32}},
        {"\xE2\x9C\x93", 2, {TINY_SPACE, TINY_UNK}},
        {"<s>", 4, {TINY_SPACE, TINY_UNK, TINY_A + 18, TINY_UNK}}, /* a control piece is no text */
        {"", 0, {0}},
        {" ", 0, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t ids[8];
        uint32_t count = 99;
        assert_int_equal(
            tokenizer_encode(tokenizer, cases[i].text, strlen(cases[i].text), ids, 8, &count, &err),
            LIMOE_OK);
        if (count != cases[i].count || memcmp(ids, cases[i].ids, count * sizeof *ids) != 0)
            fail_msg("\"%s\": %u ids, the first %d", cases[i].text, count, ids[0]);
    }
    int32_t ids[3] = {-1, -1, -1};
    uint32_t count = 0;
    assert_int_equal(tokenizer_encode(tokenizer, "cat dog cat", 11, ids, 2, &count, &err), LIMOE_OK);
    assert_int_equal(count, 2);
    assert_int_equal(ids[2], -1); /* nothing past the capacity */
    assert_int_equal(tokenizer_encode(tokenizer, "cat", 3, NULL, 0, &count, &err), LIMOE_OK);
    assert_int_equal(count, 0);
    tokenizer_close(tokenizer);
    tokenizer_close(NULL);
    free(model.at);
}

static void test_files(void **state) {
    struct tokenizer *tokenizer = NULL;
    struct limoe_error err = {0};
    expect_failure("none", tokenizer_open(*state, 40, NULL, &tokenizer, &err), &err, LIMOE_NOT_FOUND,
                   "/" NAME ": No such");
    struct bytes model = tiny_model(), empty = {.at = (uint8_t[]){0}};
    expect_failure("vocabulary", open_bytes(*state, &model, 41, &tokenizer, &err), &err, LIMOE_CORRUPT,
                   NAME ": has 40 pieces, but \"text.vocab\" in config.json is 41");
    expect_failure("empty", open_bytes(*state, &empty, 40, &tokenizer, &err), &err, LIMOE_CORRUPT,
                   NAME ": is empty");
    assert_null(tokenizer);
    free(model.at);
}

/* ---- one fault each */

static void expect_refusal(const char *label, struct bytes model, enum limoe_status status,
                           const char *message) {
    struct limoe_error err = {0};
    expect_failure(label, sentencepiece_check(model.at, model.size, NAME, &err), &err, status, message);
    assert_int_equal(strncmp(err.message, NAME ": ", sizeof NAME + 1), 0);
    free(model.at);
}

static struct bytes one_piece(const char *piece, size_t size, float score, unsigned kind) {
    struct bytes model = {0}, b = {0};
    wire_bytes(&b, 1, piece, size);
    wire_float(&b, 2, score);
    wire_number(&b, 3, kind);
    wire_bytes(&model, 1, b.at, b.size);
    free(b.at);
    return model;
}

static void test_pieces(void **state) {
    (void)state;
    char longest[600];
    static const char bad[] = "a piece that is not 1 to 512 bytes of UTF-8 without NUL at byte 2 of ";
    memset(longest, 'a', sizeof longest);
    expect_refusal("empty", one_piece("", 0, 0, 1), LIMOE_CORRUPT, bad);
    expect_refusal("NUL", one_piece("a\0b", 3, 0, 1), LIMOE_CORRUPT, bad);
    expect_refusal("not UTF-8", one_piece("a\xFF", 2, 0, 1), LIMOE_CORRUPT, bad);
    expect_refusal("a surrogate", one_piece("\xED\xA0\x80", 3, 0, 1), LIMOE_CORRUPT, bad);
    expect_refusal("long", one_piece(longest, 513, 0, 1), LIMOE_CORRUPT,
                   "a piece that is not 1 to 512 bytes of UTF-8 without NUL");
    expect_refusal("long symbol", one_piece(longest, 65, 0, 4), LIMOE_CORRUPT,
                   "a user-defined symbol of more than 64 bytes");
    expect_refusal("NaN", one_piece("a", 1, NAN, 1), LIMOE_CORRUPT, "a piece whose score is not finite");
    expect_refusal("infinity", one_piece("a", 1, -INFINITY, 1), LIMOE_CORRUPT,
                   "a piece whose score is not finite");

    struct bytes fine = one_piece(longest, 512, -1, 1);
    assert_int_equal(sentencepiece_check(fine.at, fine.size, NAME, NULL), LIMOE_OK);
    free(fine.at);
    struct bytes model = {0};
    wire_bytes(&model, 1, "\x08\x01", 2); /* field 1 as a number */
    expect_refusal("wrong type", model, LIMOE_CORRUPT, "a piece with a field of the wrong type at byte 2");
}

static void test_wire(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } cases[] = {
        {"\x0A", 1, "a field that does not parse at byte 0 of 1"}, /* no length */
        {"\x0A\x05", 2, "a field that does not parse"},            /* a length beyond the end */
        {"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11, "a field that does not parse"}, /* 2^64 - 1 */
        {"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 12, "a field that does not parse"},
        {"\x0B\x0C", 2, "a field that does not parse"}, /* a group */
        {"\x00\x00", 2, "a field that does not parse"}, /* field 0 */
        {"\x08\x01", 2, "a field of the wrong type"},
        {"\x12\x01\xFF", 3, "a trainer_spec that does not parse at byte 2"},
        {"\x1A\x02\x10\x01", 4, "a normalizer_spec that does not parse"}, /* the charsmap as a number */
        {"\x22\x02\x08\x01", 4, "self_test_data that does not parse"},
        {"\x22\x05\x0A\x03\x0A\x01\xFF", 7, "a self-test sample that is not UTF-8"},
        {"\x2A\x02\x12\x05", 4, "a normalizer_spec that does not parse"}, /* the denormaliser's */
        {"hello, world", 12, "not a SentencePiece model"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes model = {0};
        bytes_add(&model, cases[i].bytes, cases[i].size);
        expect_refusal(cases[i].message, model, LIMOE_CORRUPT, cases[i].message);
    }
    for (unsigned type = 0; type < 8; type++) {
        struct bytes model = {0};
        add_trainer_spec(&model, type);
        if (type == 1 || type == 2) {
            assert_int_equal(sentencepiece_check(model.at, model.size, NAME, NULL), LIMOE_OK);
            free(model.at);
        } else {
            expect_refusal("type", model, LIMOE_UNSUPPORTED, "1 (unigram) or 2 (BPE) is accepted");
        }
    }
}

static enum limoe_status check_map(struct bytes map, struct limoe_error *err) {
    struct bytes model = {0};
    add_normalizer_spec(&model, &map);
    enum limoe_status status = sentencepiece_check(model.at, model.size, NAME, err);
    free(map.at);
    free(model.at);
    return status;
}

static void patch_unit(struct bytes *map, size_t i, uint32_t unit) {
    for (size_t b = 0; b < 4; b++)
        map->at[4 + 4 * i + b] = (uint8_t)(unit >> (8 * b));
}

static void test_charsmap(void **state) {
    (void)state;
    struct limoe_error err = {0};
    char longest[300];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(check_map(chain_charsmap(1, "a", 1, false), &err), LIMOE_OK);
    assert_int_equal(check_map(chain_charsmap(32, "a", 1, false), &err), LIMOE_OK);
    assert_int_equal(check_map(chain_charsmap(1, "", 0, false), &err), LIMOE_OK); /* a rule may delete */
    assert_int_equal(check_map(chain_charsmap(1, longest, 256, false), &err), LIMOE_OK);
    expect_failure("33 matches", check_map(chain_charsmap(33, "a", 1, false), &err), &err, LIMOE_CORRUPT,
                   "more than 32 normalisation rules inside one another");
    expect_failure("a loop", check_map(chain_charsmap(2, "a", 1, true), &err), &err, LIMOE_CORRUPT,
                   "more than 32 normalisation rules inside one another");
    expect_failure("long", check_map(chain_charsmap(1, longest, 257, false), &err), &err, LIMOE_CORRUPT,
                   "a replacement that is not at most 256 bytes");
    expect_failure("not UTF-8", check_map(chain_charsmap(1, "\xFF", 1, false), &err), &err, LIMOE_CORRUPT,
                   "a replacement that is not at most 256 bytes of UTF-8");

    struct bytes map = chain_charsmap(1, "a", 1, false);
    map.size--;
    expect_failure("no NUL", check_map(map, &err), &err, LIMOE_CORRUPT, "that is not a table and its text");
    map = chain_charsmap(1, "", 0, false);
    map.size--;
    expect_failure("no text", check_map(map, &err), &err, LIMOE_CORRUPT, "that is not a table and its text");
    map = chain_charsmap(1, "a", 1, false);
    map.at[0]++;
    expect_failure("half a unit", check_map(map, &err), &err, LIMOE_CORRUPT,
                   "that is not a table and its text");
    map = chain_charsmap(1, "a", 1, false);
    map.at[3] = 0x7F;
    expect_failure("a long table", check_map(map, &err), &err, LIMOE_CORRUPT,
                   "that is not a table and its text");

    map = chain_charsmap(1, "a", 1, false);
    patch_unit(&map, 0, 0x7FFFu << 10);
    expect_failure("a root outside", check_map(map, &err), &err, LIMOE_CORRUPT,
                   "that leads outside its table");
    map = chain_charsmap(1, "a", 1, false);
    patch_unit(&map, 256 ^ 'A', 'A' | 0x7FFFu << 10);
    expect_failure("a child outside", check_map(map, &err), &err, LIMOE_CORRUPT,
                   "that leads outside its table");
    map = chain_charsmap(1, "a", 1, false);
    patch_unit(&map, 256 ^ 'A', 'A' | 1u << 8 | 1u << 9 | 0x7FFFu << 10);
    expect_failure("a leaf outside", check_map(map, &err), &err, LIMOE_CORRUPT,
                   "that leads outside its table");
    map = chain_charsmap(1, "a", 1, false); /* back to the root, by a label that it bears: a harmless cycle */
    patch_unit(&map, 0, 'B' | 256u << 10);
    patch_unit(&map, 256 ^ 'A', 'A' | (uint32_t)(256 ^ 'A' ^ 'B') << 10);
    assert_int_equal(check_map(map, &err), LIMOE_OK);
    map = chain_charsmap(1, "a", 1, false); /* the same with a rule in it: matches without end */
    patch_unit(&map, 0, 'B' | 1u << 8 | 256u << 10);
    patch_unit(&map, 256 ^ 'A', 'A' | (uint32_t)(256 ^ 'A' ^ 'B') << 10);
    patch_unit(&map, 256, 1u << 31);
    expect_failure("a loop through the root", check_map(map, &err), &err, LIMOE_CORRUPT,
                   "more than 32 normalisation rules inside one another");
    for (uint32_t value = 1; value < 4; value++) { /* inside the replacement, at its NUL, beyond the text */
        map = chain_charsmap(1, "ab", 2, false);
        patch_unit(&map, 512, 1u << 31 | value);
        expect_failure("a value outside", check_map(map, &err), &err, LIMOE_CORRUPT,
                       "whose replacement is outside the text");
    }
}

/* What the checks let through, the library must refuse by itself, and say so. */
static void test_library_refuses(void **state) {
    struct tokenizer *tokenizer = NULL;
    struct limoe_error err = {0};
    struct bytes map = {0};
    for (int fault = 0; fault < 4; fault++) {
        struct bytes model = {0};
        if (fault != 0)
            add_piece(&model, "<unk>", 0, PIECE_UNKNOWN);
        add_piece(&model, "a", 0, PIECE_NORMAL);
        add_piece(&model, fault == 1 ? "a" : "b", 0, fault == 2 ? PIECE_UNKNOWN : PIECE_NORMAL);
        if (fault == 3)
            add_piece(&model, "<0x41>", 0, PIECE_BYTE);
        add_trainer_spec(&model, 1);
        add_normalizer_spec(&model, &map);
        expect_failure("the library", open_bytes(*state, &model, 3, &tokenizer, &err), &err, LIMOE_CORRUPT,
                       NAME ": SentencePiece refuses it: ");
        free(model.at);
    }
}

/* ---- damage at random */

/* What comes of a damaged file must be a message, or a tokenizer whose ids are in the vocabulary. */
static size_t damage(const char *dir, const struct bytes *sound, uint32_t vocab, int rounds,
                     uint64_t random) {
    static const char *const texts[] = {
        "cat", "A big CAT and a small dog", "\xE7\x8A\xAC \xE7\x8C\xAB \xEF\xBC\xA1",
        "na\xC3\xAFve \xF0\x9F\x90\xB6\xE2\x80\x8D\xE2\x99\x82", "\xE2\x96\x81 <s></s><unk>"};
    size_t opened = 0;
    for (int round = 0; round < rounds; round++) {
        struct bytes model = {0};
        struct tokenizer *tokenizer = NULL;
        struct limoe_error err = {0};
        bytes_add(&model, sound->at, round % 8 ? sound->size : random_below(&random, (uint32_t)sound->size));
        for (uint32_t flips = 1 + random_below(&random, 4); flips > 0 && model.size > 0; flips--)
            model.at[random_below(&random, (uint32_t)model.size)] ^= (uint8_t)(1 << random_below(&random, 8));
        if (open_bytes(dir, &model, vocab, &tokenizer, &err) == LIMOE_OK) {
            opened++;
            for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                int32_t ids[256];
                uint32_t count = 0;
                assert_int_equal(
                    tokenizer_encode(tokenizer, texts[i], strlen(texts[i]), ids, 256, &count, &err),
                    LIMOE_OK);
                for (uint32_t t = 0; t < count; t++)
                    assert_in_range(ids[t], 0, vocab - 1);
            }
            tokenizer_close(tokenizer);
        } else {
            assert_true(strncmp(err.message, NAME ": ", sizeof NAME + 1) == 0 && strlen(err.message) > 30);
        }
        free(model.at);
    }
    return opened;
}

static void test_random_damage(void **state) {
    struct bytes model = tiny_model();
    size_t opened = damage(*state, &model, 40, 1500, 7);
    assert_in_range(opened, 1, 1499); /* some flips only change a score, or a unit that no rule reaches */
    free(model.at);
}

/* The same of a whole model, with the rules of nmt_nfkc_cf and byte pieces. */
static void test_golden_damage(void **state) {
    struct bytes model = {0};
    struct limoe_error err;
    struct tokenizer *tokenizer = NULL;
    if (file_read(GOLDEN "/tokenizer", NAME, 1 << 24, &model.at, &model.size, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sentencepiece_check(model.at, model.size, NAME, &err), LIMOE_OK);
    assert_int_equal(open_bytes(*state, &model, 1, &tokenizer, &err), LIMOE_CORRUPT);
    int vocab = 0;
    assert_int_equal(sscanf(err.message, NAME ": has %d pieces", &vocab), 1);
    size_t opened = damage(*state, &model, (uint32_t)vocab, 60, 11);
    assert_in_range(opened, 1, 59);
    free(model.at);
}

/* ---- threads */

struct job {
    const struct tokenizer *tokenizer;
    int wrong;
};

static void *encode_often(void *argument) {
    struct job *job = argument;
    for (int i = 0; i < 500; i++) {
        int32_t ids[4];
        uint32_t count = 0;
        if (tokenizer_encode(job->tokenizer, "cAt dog", 7, ids, 4, &count, NULL) != LIMOE_OK || count != 2 ||
            ids[0] != TINY_CAT || ids[1] != TINY_DOG)
            job->wrong++;
    }
    return NULL;
}

static void test_threads(void **state) {
    struct tokenizer *tokenizer = NULL;
    struct limoe_error err;
    struct bytes model = tiny_model();
    pthread_t thread[4];
    assert_int_equal(open_bytes(*state, &model, 40, &tokenizer, &err), LIMOE_OK);
    struct job job[4];
    for (int i = 0; i < 4; i++) {
        job[i] = (struct job){tokenizer, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, encode_often, &job[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(job[i].wrong, 0);
    }
    tokenizer_close(tokenizer);
    free(model.at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_encode, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_files, directory_setup, directory_teardown),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_charsmap),
        cmocka_unit_test_setup_teardown(test_library_refuses, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_random_damage, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_golden_damage, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_threads, directory_setup, directory_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
