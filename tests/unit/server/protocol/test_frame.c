/* test_frame.c - protects the bytes between front and engine: what goes in comes out, and what cannot be is
 * refused with a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/protocol/frame.h"

static const uint32_t blocks[5] = {1, 3}; /* of which the model has 2 */
static const struct limoe_info model = {.name = "m",
                                        .architecture = "limoe",
                                        .towers = 1,
                                        .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}},
                                        .blocks = 4,
                                        .embed = 3,
                                        .image_size = 5,
                                        .patch = 2,
                                        .image_tokens = 4,
                                        .shares = LIMOE_SHARES_MEAN,
                                        .vocab = 100,
                                        .text_length = 6,
                                        .moe_layers = 2,
                                        .experts = 4,
                                        .top_k = 2,
                                        .moe_blocks = blocks,
                                        .total_parameters = UINT64_C(5000000000),
                                        .active_parameters = 2,
                                        .weight_bytes = 3,
                                        .decoder = {8, 2, 2, 16},
                                        .caption_length = 12,
                                        .scoring = {.scale = 2.5F}};

static void test_header(void **state) {
    (void)state;
    const struct frame_header header = {
        .type = FRAME_STEP, .flags = FRAME_ROUTED, .length = UINT64_C(1) << 40, .id = 77};
    uint8_t bytes[FRAME_HEADER_BYTES];
    struct frame_header out;
    frame_put_header(&header, bytes);
    static const uint8_t expected[FRAME_HEADER_BYTES] = {'l', 'm', 'o', 'e', 9, 0, 2, 0, 1, 0, 0, 0, 0,
                                                         0,   0,   0,   0,   0, 0, 0, 0, 1, 0, 0, 77};
    assert_memory_equal(bytes, expected, sizeof bytes);
    assert_int_equal(frame_get_header(bytes, FRAME_IN(FRAME_STEP), header.length, &out, NULL), LIMOE_OK);
    assert_int_equal(out.type, FRAME_STEP);
    assert_int_equal(out.flags, FRAME_ROUTED);
    assert_int_equal(out.length, header.length);
    assert_int_equal(out.id, 77);
    frame_put_header(&(struct frame_header){.type = FRAME_CONNECTED}, bytes);
    assert_int_equal(frame_get_header(bytes, FRAME_IN(FRAME_CONNECTED), 0, &out, NULL), LIMOE_OK);
    assert_int_equal(out.type, FRAME_CONNECTED);
}

static void test_headers_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        const char *message;
    } changes[] = {
        {0, 'x', "begins with"},
        {4, 2, "version 2; this limoe speaks 9"},
        {6, 1, "HELLO) where a STEP was due"},
        {6, 5, "CONNECTED) where a STEP was due"},
        {6, 99, "type 99 (unknown)"},
        {8, 4, "unknown flags"},
        {13, 1, "unknown flags"},
        {16, 11, "11 bytes; at most 10"},
        {23, 0x80, "at most 10"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        uint8_t bytes[FRAME_HEADER_BYTES];
        struct frame_header out;
        struct limoe_error err;
        frame_put_header(&(struct frame_header){.type = FRAME_STEP, .length = 10}, bytes);
        assert_int_equal(frame_get_header(bytes, FRAME_IN(FRAME_STEP), 10, &out, &err), LIMOE_OK);
        bytes[changes[i].at] = changes[i].value;
        assert_int_not_equal(frame_get_header(bytes, FRAME_IN(FRAME_STEP), 10, &out, &err), LIMOE_OK);
        if (!strstr(err.message, changes[i].message))
            fail_msg("\"%s\" is not in \"%s\"", changes[i].message, err.message);
    }
}

/* ---- HELLO */

static struct frame_hello hello(void) {
    return (struct frame_hello){.model = model,
                                .dtype = LIMOE_BFLOAT16,
                                .threads = 5,
                                .step_tokens = 2048,
                                .ranks = 1,
                                .backend = "cpu-amx",
                                .fingerprint = "0123",
                                .base = "4567",
                                .note = "it is the CPU"};
}

static void test_hello(void **state) {
    (void)state;
    const struct frame_hello in = hello();
    uint8_t bytes[FRAME_HELLO_BYTES];
    memset(bytes, 0xff, sizeof bytes);
    frame_put_hello(&in, bytes);
    struct frame_hello out;
    memset(&out, 0xff, sizeof out);
    assert_int_equal(frame_get_hello(bytes, sizeof bytes, &out, NULL), LIMOE_OK);
    assert_int_equal(out.status, LIMOE_OK);
    assert_string_equal(out.model.name, "m");
    assert_ptr_equal(out.model.name, out.name);
    assert_memory_equal(out.model.moe_blocks, blocks, 2 * sizeof *blocks);
    assert_string_equal(out.backend, "cpu-amx");
    assert_string_equal(out.fingerprint, "0123");
    assert_string_equal(out.base, "4567");
    assert_string_equal(out.note, "it is the CPU");
    assert_int_equal(out.dtype, LIMOE_BFLOAT16);
    assert_int_equal(out.threads, 5);
    assert_int_equal(out.step_tokens, 2048);
    assert_true(out.model.scoring.scale == 2.5F);
    out.model.name = model.name; /* all else is as it was */
    out.model.moe_blocks = model.moe_blocks;
    assert_int_equal(out.model.total_parameters, model.total_parameters);
    assert_int_equal(out.model.weight_bytes, model.weight_bytes);
    assert_int_equal(out.model.top_k, model.top_k);
    assert_int_equal(out.model.vocab, model.vocab);
    assert_memory_equal(out.model.tower, model.tower, sizeof model.tower);
    assert_int_equal(out.model.towers, 1);
    assert_memory_equal(&out.model.decoder, &model.decoder, sizeof model.decoder);
    assert_int_equal(out.model.caption_length, 12);
    assert_string_equal(out.model.architecture, "limoe");
    assert_int_equal(frame_get_hello(bytes, sizeof bytes - 1, &out, NULL), LIMOE_CORRUPT);
}

static void test_a_hello_of_failure_has_its_message(void **state) {
    (void)state;
    struct frame_hello in = {.status = LIMOE_NOT_FOUND, .message = "there is no model"}, out;
    struct limoe_error err;
    uint8_t bytes[FRAME_HELLO_BYTES];
    frame_put_hello(&in, bytes);
    assert_int_equal(frame_get_hello(bytes, sizeof bytes, &out, &err), LIMOE_OK);
    assert_int_equal(out.status, LIMOE_NOT_FOUND);
    assert_string_equal(out.message, in.message);
    in.message[0] = '\0';
    frame_put_hello(&in, bytes);
    assert_int_equal(frame_get_hello(bytes, sizeof bytes, &out, &err), LIMOE_CORRUPT);
}

static void expect_wrong(const struct frame_hello *in, const char *word) {
    uint8_t bytes[FRAME_HELLO_BYTES];
    struct frame_hello out;
    struct limoe_error err;
    frame_put_hello(in, bytes);
    assert_int_equal(frame_get_hello(bytes, sizeof bytes, &out, &err), LIMOE_CORRUPT);
    if (!strstr(err.message, word))
        fail_msg("\"%s\" is not in \"%s\"", word, err.message);
}

static void test_hellos_that_cannot_be(void **state) {
    (void)state;
    static const uint32_t unsorted[] = {3, 1}, outside[] = {1, 4};
    struct frame_hello in;
#define EXPECT_WRONG(field, value, word) (in = hello(), in.field = (value), expect_wrong(&in, word))
    EXPECT_WRONG(dtype, LIMOE_DTYPE_AUTO, "dtype");
    EXPECT_WRONG(model.embed, 0, "embed");
    EXPECT_WRONG(model.embed, UINT32_MAX, "embed");
    EXPECT_WRONG(model.image_size, 0, "image_size");
    EXPECT_WRONG(model.image_tokens, 0, "image_tokens");
    EXPECT_WRONG(model.image_tokens, 3, "image_tokens");
    EXPECT_WRONG(model.image_tokens, 6, "image_tokens"); /* 2 x 2 patches, and a class token at most */
    EXPECT_WRONG(model.shares, 4, "shares");
    EXPECT_WRONG(model.towers, 0, "towers");
    EXPECT_WRONG(model.towers, 3, "towers");
    EXPECT_WRONG(model.patch, 0, "patch");
    EXPECT_WRONG(model.patch, 6, "patch");
    EXPECT_WRONG(model.scoring.kind, (enum limoe_scoring_kind)2, "scoring");
    EXPECT_WRONG(model.text_length, 0, "text_length");
    EXPECT_WRONG(model.blocks, FRAME_MOST_BLOCKS + 1, "blocks");
    EXPECT_WRONG(model.moe_layers, 5, "moe_layers");
    EXPECT_WRONG(model.experts, 0, "experts");
    EXPECT_WRONG(model.top_k, 0, "top_k");
    EXPECT_WRONG(model.top_k, 5, "top_k");
    EXPECT_WRONG(model.moe_blocks, unsorted, "moe_blocks");
    EXPECT_WRONG(model.moe_blocks, outside, "moe_blocks");
    EXPECT_WRONG(rank, 1, "rank");
    EXPECT_WRONG(ranks, 0, "rank");
    EXPECT_WRONG(status, 99, "status 99");
    EXPECT_WRONG(model.tower[LIMOE_TEXT].blocks, 0, "text_length"); /* sizes of a tower that is not there */
    EXPECT_WRONG(model.tower[LIMOE_IMAGE].blocks, 0, "image_size");
    in = hello();
    in.model.tower[LIMOE_IMAGE].blocks = in.model.tower[LIMOE_TEXT].blocks = 0;
    expect_wrong(&in, "towers");
}

static void test_equal_hellos_are_equal_models(void **state) {
    (void)state;
    struct frame_hello a = hello(), b = hello();
    b.threads = 1;
    b.experts = 9; /* of ranks, each has its own */
    b.dense_bytes = b.expert_bytes = 7;
    b.note[0] = '\0';
    assert_true(frame_hello_equal(&a, &b));
    strcpy(b.fingerprint, "0124");
    assert_false(frame_hello_equal(&a, &b));
    b = hello();
    b.model.scoring.scale = 2;
    assert_false(frame_hello_equal(&a, &b));
    b = hello();
    strcpy(b.backend, "cpu-avx2");
    assert_false(frame_hello_equal(&a, &b));
    b = hello();
    b.ranks = 2;
    assert_false(frame_hello_equal(&a, &b));
    a.ranks = 2;
    b.rank = 1;
    assert_true(frame_hello_equal(&a, &b));
}

/* ---- ASK, APART, UNIQUE_ID, GROUP */

static void test_a_frame_of_several_types(void **state) {
    (void)state;
    const struct frame_header header = {.type = FRAME_UNIQUE_ID, .length = FRAME_UNIQUE_ID_BYTES, .id = 3};
    uint8_t bytes[FRAME_HEADER_BYTES];
    struct frame_header out;
    struct limoe_error err;
    frame_put_header(&header, bytes);
    assert_int_equal(frame_get_header(bytes, FRAME_IN(FRAME_HELLO) | FRAME_IN(FRAME_UNIQUE_ID),
                                      FRAME_UNIQUE_ID_BYTES, &out, NULL),
                     LIMOE_OK);
    assert_int_equal(out.type, FRAME_UNIQUE_ID);
    assert_int_equal(out.id, 3);
    assert_int_equal(
        frame_get_header(bytes, FRAME_IN(FRAME_HELLO) | FRAME_IN(FRAME_RESULT), 1000, &out, &err),
        LIMOE_CORRUPT);
    assert_string_equal(err.message, "a frame of type 7 (UNIQUE_ID) where a frame of another type was due");
    assert_int_equal(frame_get_header(bytes, FRAME_IN(FRAME_GROUP), 1000, &out, &err), LIMOE_CORRUPT);
    assert_string_equal(err.message, "a frame of type 7 (UNIQUE_ID) where a GROUP was due");
    bytes[6] = 40; /* no bit of the types */
    assert_int_equal(frame_get_header(bytes, ~0u, 1000, &out, NULL), LIMOE_CORRUPT);
}

static void test_keys(void **state) {
    (void)state;
    uint8_t payload[FRAME_UNIQUE_ID_BYTES], key[FRAME_UNIQUE_ID_BYTES];
    struct limoe_error err;
    struct frame_header header = {.type = FRAME_GROUP, .length = FRAME_UNIQUE_ID_BYTES, .id = 1};
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7 + 1);
    assert_int_equal(frame_get_unique_id(&header, payload, key, NULL), LIMOE_OK);
    assert_memory_equal(key, payload, sizeof key);
    header.length--;
    assert_int_equal(frame_get_unique_id(&header, payload, key, &err), LIMOE_CORRUPT);
    assert_string_equal(err.message, "GROUP of generation 1 and 127 bytes, not 128");
    header.length++;
    header.id = 0; /* generations begin with 1 */
    assert_int_equal(frame_get_unique_id(&header, payload, key, NULL), LIMOE_CORRUPT);
    header = (struct frame_header){.type = FRAME_ASK, .id = 1};
    assert_int_equal(frame_get_unique_id(&header, NULL, NULL, NULL), LIMOE_OK);
    header.length = 1;
    assert_int_equal(frame_get_unique_id(&header, payload, NULL, &err), LIMOE_CORRUPT);
    assert_string_equal(err.message, "ASK of generation 1 and 1 bytes, not 0");
    header = (struct frame_header){.type = FRAME_APART, .id = 0};
    assert_int_equal(frame_get_unique_id(&header, NULL, NULL, &err), LIMOE_CORRUPT);
    assert_string_equal(err.message, "APART of generation 0 and 0 bytes, not 0");
}

/* ---- a model of one tower */

#define BUDGET 20

/* A model of one tower: its hello passes, and its steps have no items of the other modality. */
static void test_a_tower_alone(void **state) {
    (void)state;
    static const uint8_t pixel[75] = {0};
    static const int32_t token = 1;
    const struct limoe_item image = {.modality = LIMOE_IMAGE, .length = 4, .pixels = pixel},
                            nothing = {.modality = LIMOE_IMAGE, .pixels = pixel},
                            text = {.modality = LIMOE_TEXT, .length = 1, .tokens = &token};
    for (int m = 0; m < LIMOE_MODALITIES; m++) {
        struct frame_hello in = hello(), out;
        struct limoe_info *alone = &in.model;
        uint8_t bytes[FRAME_HELLO_BYTES], payload[512] = {0};
        struct limoe_item got[BUDGET + 1];
        struct frame_want wants[BUDGET + 1], put_wants[1];
        struct tail_key tails[BUDGET + 1], put_tails[1];
        const struct frame_room room = {got, wants, tails}, put_room = {NULL, put_wants, put_tails};
        struct limoe_error err;
        struct frame_step step;
        alone->tower[1 - m] = (struct limoe_tower){0};
        if (m == LIMOE_IMAGE)
            alone->vocab = alone->text_length = 0;
        else
            alone->image_size = alone->patch = alone->image_tokens = 0;
        frame_put_hello(&in, bytes);
        if (frame_get_hello(bytes, sizeof bytes, &out, &err) != LIMOE_OK)
            fail_msg("%s", err.message);
        const struct frame_shape shape = frame_shape(alone, BUDGET);
        const struct limoe_item *own = m == LIMOE_IMAGE ? &image : &text,
                                *other = m == LIMOE_IMAGE ? &text : &image;
        const struct {
            const struct limoe_item *item;
            enum limoe_status status;
        } cases[] = {{own, LIMOE_OK}, {other, LIMOE_CORRUPT}, {&nothing, LIMOE_CORRUPT}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const struct frame_step one = frame_plan_step(cases[i].item, NULL, 1, &put_room);
            frame_put_step(&one, payload);
            assert_true(i > 0 || frame_step_bytes(&shape, &one) <= frame_longest_step(&shape));
            assert_int_equal(
                frame_get_step(&shape, payload, frame_step_bytes(&shape, &one), &room, &step, &err),
                cases[i].status);
        }
    }
}

/* ---- RESULT */

#define ROWS 5

static const uint64_t load[2 * LIMOE_MODALITIES * 4] = {1, 2, UINT64_C(1) << 40};
static const uint64_t rows_sent[2] = {7, 8}, bytes_sent[2] = {9, 10}, exchange_ns[2] = {11, 12};
static const double entropy[2 * LIMOE_MODALITIES] = {0.5, 1.25};
static const float embeddings[2 * 3] = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F};
static const float shares[5 * 3] = {0.1F, 0.2F};
static const int32_t expert[2 * ROWS * 2] = {3, 1, 2};
static const float gate[2 * ROWS * 2] = {0.75F, 0.25F};

static uint8_t *make_result(const struct frame_shape *shape, const struct frame_result *result,
                            struct frame_header *header) {
    uint8_t head[FRAME_RESULT_HEAD_BYTES];
    struct iovec parts[FRAME_RESULT_PARTS];
    *header = (struct frame_header){.type = FRAME_RESULT,
                                    .flags = result->expert ? FRAME_ROUTED : 0,
                                    .length = frame_put_result(shape, result, head, parts)};
    uint8_t *payload = malloc(header->length), *at = payload;
    assert_non_null(payload);
    for (size_t i = 0; i < FRAME_RESULT_PARTS; i++) {
        if (parts[i].iov_len)
            memcpy(at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    assert_int_equal(at - payload, header->length);
    return payload;
}

static const struct frame_result good = {.items = 2,
                                         .rows = ROWS,
                                         .split = 1,
                                         .compute_ns = 123,
                                         .gpu_used = 5,
                                         .gpu_total = 7,
                                         .tails = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
                                         .load = load,
                                         .rows_sent = rows_sent,
                                         .bytes_sent = bytes_sent,
                                         .exchange_ns = exchange_ns,
                                         .entropy = entropy,
                                         .embeddings = embeddings,
                                         .shares = shares,
                                         .expert = expert,
                                         .gate = gate};

static void test_result(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    for (int routed = 0; routed < 2; routed++) {
        struct frame_result in = good, out;
        struct frame_header header;
        if (!routed)
            in.expert = NULL;
        uint8_t *payload = make_result(&shape, &in, &header);
        assert_true(header.length <= frame_longest_result(&shape));
        assert_int_equal(frame_get_result(&shape, &header, payload, &out, NULL), LIMOE_OK);
        assert_int_equal(out.status, LIMOE_OK);
        assert_int_equal(out.items, 2);
        assert_int_equal(out.rows, ROWS);
        assert_int_equal(out.compute_ns, 123);
        assert_int_equal(out.gpu_used, 5);
        assert_int_equal(out.gpu_total, 7);
        assert_memory_equal(&out.tails, &good.tails, sizeof out.tails);
        assert_memory_equal(out.load, load, sizeof load);
        assert_memory_equal(out.rows_sent, rows_sent, sizeof rows_sent);
        assert_memory_equal(out.bytes_sent, bytes_sent, sizeof bytes_sent);
        assert_memory_equal(out.exchange_ns, exchange_ns, sizeof exchange_ns);
        assert_memory_equal(out.entropy, entropy, sizeof entropy);
        assert_memory_equal(out.embeddings, embeddings, sizeof embeddings);
        assert_int_equal(out.split, 1);
        assert_memory_equal(out.shares, shares, sizeof shares);
        if (routed) {
            assert_memory_equal(out.expert, expert, sizeof expert);
            assert_memory_equal(out.gate, gate, sizeof gate);
        } else {
            assert_null(out.expert);
            assert_null(out.gate);
        }
        free(payload);
    }
}

static void test_a_refusal_has_its_message(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    struct frame_result in = {.status = LIMOE_INVALID, .message = "item 3 is bad"}, out;
    struct frame_header header;
    uint8_t *payload = make_result(&shape, &in, &header);
    assert_int_equal(header.length, FRAME_RESULT_HEAD_BYTES);
    assert_int_equal(frame_get_result(&shape, &header, payload, &out, NULL), LIMOE_OK);
    assert_int_equal(out.status, LIMOE_INVALID);
    assert_string_equal(out.message, "item 3 is bad");
    assert_int_equal(out.items, 0);
    free(payload);
}

static void test_results_that_cannot_be(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    static const struct {
        size_t at;
        uint8_t value;
        const char *message;
    } changes[] = {
        {0, 99, "status 99"},
        {0, LIMOE_INVALID, "status 1 and a message"},
        {4, 3, "3 items, 5 tokens and 1 shares have"},
        {4, 22, "at most 21"},
        {8, 6, "2 items, 6 tokens and 1 shares have"},
        {15, 0xff, "at most 21, "},
        {16, 0, "2 items, 5 tokens and 0 shares have"},
        {16, 8, "at most 21, 30 and 7 can be"},
        {32, 8, "a GPU with 8 of its 7 bytes in use"},
        {128, 'x', "a message that does not fit"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct frame_result out;
        struct frame_header header;
        struct limoe_error err;
        uint8_t *payload = make_result(&shape, &good, &header);
        payload[changes[i].at] = changes[i].value;
        assert_int_equal(frame_get_result(&shape, &header, payload, &out, &err), LIMOE_CORRUPT);
        if (!strstr(err.message, changes[i].message))
            fail_msg("\"%s\" is not in \"%s\"", changes[i].message, err.message);
        free(payload);
    }
    struct frame_result out;
    struct frame_header header;
    uint8_t *payload = make_result(&shape, &good, &header);
    header.flags = 0; /* the routing is there, and not announced */
    assert_int_equal(frame_get_result(&shape, &header, payload, &out, NULL), LIMOE_CORRUPT);
    for (header.flags = FRAME_ROUTED; header.length-- > 0;)
        assert_int_equal(frame_get_result(&shape, &header, payload, &out, NULL), LIMOE_CORRUPT);
    free(payload);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_headers_that_cannot_be),
        cmocka_unit_test(test_a_frame_of_several_types),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_a_hello_of_failure_has_its_message),
        cmocka_unit_test(test_hellos_that_cannot_be),
        cmocka_unit_test(test_a_tower_alone),
        cmocka_unit_test(test_equal_hellos_are_equal_models),
        cmocka_unit_test(test_result),
        cmocka_unit_test(test_a_refusal_has_its_message),
        cmocka_unit_test(test_results_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
