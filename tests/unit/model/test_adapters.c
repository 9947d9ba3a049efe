/* Protects: an adapter's file is not trusted: whatever is wrong in it is named, and nothing crashes, hangs or leaks; what
 * it says of itself is what was written; a probe scores as its weights say; an adapter of another model, or one whose
 * tensors do not fit, changes nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "limoe.h"
#include "model/checkpoint/adapter.h"
#include "tests/unit/files.h"
#include "tests/unit/model/adapter_file.h"
#include "tests/unit/model/fixture.h"

#define BASE "0123456789abcdef0123456789abcdef"

static char folder[FOLDER_SIZE];

static const char sparse[] =
    "{\"format\":\"limoe-1\",\"name\":\"tiny\",\"width\":12,\"blocks\":3,\"heads\":3,\"mlp\":20,\"embed\":8,"
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":40,\"length\":6,\"eos_id\":1},\"moe\":{\"blocks\":[1],\"experts\":5,\"top_k\":2}}";

static int make_folder(void **state) {
    (void)state;
    folder_make(folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    return folder_remove(folder);
}

static const char *in_folder(const char *name) {
    static char path[FOLDER_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- what a file says of itself */

static const float numbers[] = {1, 2, 3, 4, 5, 6, 7, 8};

/* A probe of two classes on embeddings of 3 numbers, and what its file says. */
static void write_probe(const char *path, const char *about) {
    struct adapter_file f = {0};
    adapter_file_add(&f, "probe.weight", 2, (uint64_t[]){2, 3}, numbers, false);
    adapter_file_add(&f, "probe.bias", 1, (uint64_t[]){2}, numbers + 6, false);
    adapter_file_write(&f, path, about);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    struct limoe_adapter *a;
    struct limoe_error err;
    write_probe(in_folder("probe"),
                "{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE
                "\",\"labels\":[\"cat\",\"猫\"],\"templates\":[\"a {}\"],\"strength\":0.25,"
                "\"training\":{\"seed\":7,\"of\":[1,2]}}");
    expect_outcome(limoe_adapter_open(in_folder("probe"), &a, &err), &err, LIMOE_OK, "");
    const struct limoe_adapter_info *info = limoe_adapter_about(a);
    assert_int_equal(info->kind, LIMOE_ADAPTER_PROBE);
    assert_string_equal(info->base, BASE);
    assert_int_equal(info->n_labels, 2);
    assert_string_equal(info->labels[1], "猫");
    assert_int_equal(info->n_templates, 1);
    assert_string_equal(info->templates[0], "a {}");
    assert_true(info->strength == 0.25f);
    assert_string_equal(info->training, "{\"seed\":7,\"of\":[1,2]}");
    assert_int_equal(info->embed, 3);
    assert_int_equal(info->parameters, 8);
    assert_int_equal(info->bytes, 32);
    limoe_adapter_close(a);
}

static void a_probe_scores_by_its_weights(void **state) {
    (void)state;
    struct limoe_adapter *a;
    struct limoe_error err;
    const float x[3] = {1, 0, -1};
    float logit[2], score[2];
    write_probe(in_folder("probe"), "{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE
                                    "\",\"labels\":[\"a\",\"b\"]}");
    expect_outcome(limoe_adapter_open(in_folder("probe"), &a, &err), &err, LIMOE_OK, "");
    assert_true(limoe_adapter_about(a)->strength == 1);
    expect_outcome(limoe_probe_scores(a, x, 3, logit, score, &err), &err, LIMOE_OK, "");
    assert_true(logit[0] == 1 - 3 + 7 && logit[1] == 4 - 6 + 8);
    assert_true(fabs(score[1] - 1 / (1 + exp(-1.0))) < 1e-6 && fabs(score[0] + score[1] - 1) < 1e-6);
    expect_outcome(limoe_probe_scores(a, x, 2, logit, score, &err), &err, LIMOE_INVALID,
                   "an embedding of 2 numbers; the probe takes 3");
    limoe_adapter_close(a);
}

/* ---- files that are not sound */

static void what_a_file_says_is_not_trusted(void **state) {
    (void)state;
    static const struct {
        const char *about;
        enum limoe_status status;
        const char *says;
    } cases[] = {
        {NULL, LIMOE_CORRUPT, "no \"limoe-adapter\" in its metadata"},
        {"", LIMOE_CORRUPT, "\"limoe-adapter\": "},
        {"cat", LIMOE_CORRUPT, "\"limoe-adapter\": "},
        {"[1]", LIMOE_CORRUPT, "\"limoe-adapter\": "},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"pro", LIMOE_CORRUPT, "\"limoe-adapter\": "},
        {"{}", LIMOE_CORRUPT, "\"format\" is missing"},
        {"{\"format\":\"limoe-adapter-9\"}", LIMOE_UNSUPPORTED,
         "\"format\" is \"limoe-adapter-9\"; \"limoe-adapter-1\" is accepted"},
        {"{\"format\":\"limoe-adapter-1\",\"format\":\"limoe-adapter-1\"}", LIMOE_CORRUPT, "format"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"soup\",\"base\":\"" BASE "\"}", LIMOE_UNSUPPORTED,
         "\"kind\" is \"soup\"; \"probe\", \"tail\" or \"lora\" is accepted"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"0123\",\"labels\":[\"a\",\"b\"]}",
         LIMOE_CORRUPT, "\"base\" is \"0123\"; a string of 32 hexadecimal digits is accepted"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE
         "\",\"labels\":[\"a\",\"b\"],\"labl\":1}",
         LIMOE_CORRUPT, "unknown key \"labl\""},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE
         "\",\"labels\":[\"a\",\"b\"],\"strength\":1.5}",
         LIMOE_CORRUPT, "\"strength\" is 1.5; a number from 0 to 1 is accepted"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE "\",\"labels\":\"a\"}",
         LIMOE_CORRUPT, "\"labels\" is \"a\"; an array is accepted"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE "\",\"labels\":[\"a\",2]}",
         LIMOE_CORRUPT, "\"labels\"[1] is 2; a string of 1 to 1024 bytes is accepted"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE "\",\"labels\":[\"a\",\"\"]}",
         LIMOE_CORRUPT, "\"labels\"[1] is \"\""},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE "\",\"labels\":[\"b\",\"b\"]}",
         LIMOE_CORRUPT, "\"labels\" has \"b\" twice"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE "\"}", LIMOE_CORRUPT,
         "\"labels\" is empty"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE "\",\"labels\":[\"a\"]}",
         LIMOE_CORRUPT, "tensor \"probe.weight\" has the shape [2, 3]; [1, 3] is expected"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE
         "\",\"labels\":[\"a\",\"b\"],\"training\":[]}",
         LIMOE_CORRUPT, "\"training\" is an array; an object is accepted"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"tail\",\"base\":\"" BASE "\"}", LIMOE_CORRUPT,
         "\"start_block\" is missing"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"tail\",\"base\":\"" BASE "\",\"start_block\":-1}",
         LIMOE_CORRUPT, "\"start_block\" is -1; an integer from 0 to 256 is accepted"},
        {"{\"format\":\"limoe-adapter-1\",\"kind\":\"lora\",\"base\":\"" BASE "\",\"rank\":0}", LIMOE_CORRUPT,
         "\"rank\" is 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct limoe_adapter *a = NULL;
        struct limoe_error err = {0};
        write_probe(in_folder("bad"), cases[i].about);
        expect_outcome(limoe_adapter_open(in_folder("bad"), &a, &err), &err, cases[i].status, cases[i].says);
        assert_null(a);
        assert_int_equal(strncmp(err.message, "bad: ", 5), 0);
    }
}

static char *many_labels(unsigned n) {
    char *about = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&about, &size);
    assert_non_null(out);
    fprintf(out, "{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE "\",\"labels\":[");
    for (unsigned i = 0; i < n; i++)
        fprintf(out, "%s\"%u\"", i ? "," : "", i);
    fprintf(out, "]}");
    assert_int_equal(fclose(out), 0);
    return about;
}

static void ten_thousand_labels_and_no_more(void **state) {
    (void)state;
    for (unsigned n = 10000; n <= 10001; n++) {
        struct limoe_adapter *a = NULL;
        struct limoe_error err = {0};
        struct adapter_file f = {0};
        float *zeros = calloc(n, sizeof *zeros), logit[10001], score[10001];
        adapter_file_add(&f, "probe.weight", 2, (uint64_t[]){n, 1}, zeros, false);
        adapter_file_add(&f, "probe.bias", 1, (uint64_t[]){n}, zeros, true);
        char *about = many_labels(n);
        adapter_file_write(&f, in_folder("many"), about);
        expect_outcome(limoe_adapter_open(in_folder("many"), &a, &err), &err,
                       n == 10000 ? LIMOE_OK : LIMOE_TOO_LARGE,
                       "\"labels\" has 10001 elements; at most 10000 are accepted");
        if (a) {
            expect_outcome(limoe_probe_scores(a, &(float){1}, 1, logit, score, &err), &err, LIMOE_OK, "");
            assert_true(fabsf(score[9999] - 1e-4f) < 1e-8f);
        }
        limoe_adapter_close(a);
        free(about);
        free(zeros);
    }
}

/* However a file is cut or its bits are flipped: an adapter within its bounds, or a message. */
static void damage_is_refused(void **state) {
    (void)state;
    size_t size;
    uint64_t random = 3;
    write_probe(in_folder("whole"), "{\"format\":\"limoe-adapter-1\",\"kind\":\"probe\",\"base\":\"" BASE
                                    "\",\"labels\":[\"a\",\"b\"]}");
    uint8_t *bytes = file_read(in_folder("whole"), &size);
    for (size_t cut = 0; cut < size; cut++) {
        struct limoe_adapter *a = NULL;
        struct limoe_error err = {0};
        uint8_t *part = malloc(cut + 1); /* of its own size, so that a sanitizer sees its end */
        memcpy(part, bytes, cut);
        assert_int_not_equal(adapter_open_memory(part, cut, "cut", &a, &err), LIMOE_OK);
        assert_null(a);
        free(part);
    }
    for (int i = 0; i < 3000; i++) {
        struct limoe_adapter *a = NULL;
        struct limoe_error err = {0};
        const size_t at = fixture_random(&random, (uint32_t)size);
        const uint8_t was = bytes[at];
        bytes[at] ^= (uint8_t)(1u << fixture_random(&random, 8));
        if (adapter_open_memory(bytes, size, "flipped", &a, &err) == LIMOE_OK)
            assert_int_equal(limoe_adapter_about(a)->n_labels, 2);
        else
            assert_int_equal(strncmp(err.message, "flipped: ", 9), 0);
        limoe_adapter_close(a);
        bytes[at] = was;
    }
    free(bytes);
}

/* ---- adapters that do not fit a model */

struct misfit {
    const char *name;
    uint32_t rank;
    uint64_t shape[3];
    float value; /* of its first element */
    float strength;
    enum limoe_status status;
    const char *says;
};

static void expect_misfit(struct limoe_model *m, const char *dir, const char *base, const struct misfit *c) {
    static float values[4096];
    struct adapter_file f = {0};
    struct limoe_adapter *a;
    struct limoe_tail *tail = NULL;
    struct limoe_error err;
    char *about = adapter_file_about(base, 1);
    values[0] = c->value;
    adapter_file_add(&f, c->name, c->rank, c->shape, values, false);
    adapter_file_write(&f, in_folder("misfit"), about);
    free(about);
    expect_outcome(limoe_adapter_open(in_folder("misfit"), &a, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_model_adapt(m, a, c->strength, &tail, &err), &err, c->status, c->says);
    assert_null(tail);
    expect_outcome(limoe_merge(dir, a, c->strength, in_folder("never"), NULL, NULL, &err), &err, c->status,
                   c->says);
    assert_int_equal(access(in_folder("never"), F_OK), -1);
    limoe_adapter_close(a);
}

static void what_does_not_fit_changes_nothing(void **state) {
    (void)state;
    static const struct misfit cases[] = {
        {"blocks.2.ln1.weight",
         1,
         {13},
         0,
         1,
         LIMOE_CORRUPT,
         "tensor \"blocks.2.ln1.weight\" has the shape [13]; [12] is expected"},
        {"blocks.1.moe.fc1.weight",
         2,
         {20, 12},
         0,
         1,
         LIMOE_CORRUPT,
         "has the shape [20, 12]; [5, 20, 12] is expected"},
        {"blocks.0.ln1.weight",
         1,
         {12},
         0,
         1,
         LIMOE_INVALID,
         "tensor \"blocks.0.ln1.weight\" is of block 0; blocks from 1, the start block, on are accepted"},
        {"blocks.3.ln1.weight",
         1,
         {12},
         0,
         1,
         LIMOE_INVALID,
         "tensor \"blocks.3.ln1.weight\" is not one of the model \"tiny\""},
        {"text.pos",
         2,
         {6, 12},
         0,
         1,
         LIMOE_INVALID,
         "tensor \"text.pos\" lies before the blocks, or makes scores"},
        {"logit_scale",
         0,
         {0},
         2,
         1,
         LIMOE_INVALID,
         "tensor \"logit_scale\" lies before the blocks, or makes scores"},
        {"ln.bias",
         1,
         {12},
         NAN,
         1,
         LIMOE_CORRUPT,
         "tensor \"ln.bias\": element 0 is nan; finite numbers are accepted"},
        {"blocks.1.moe.fc2.weight",
         3,
         {5, 12, 20},
         INFINITY,
         0.5f,
         LIMOE_CORRUPT,
         "tensor \"blocks.1.moe.fc2.weight\": element 0 is inf"},
        {"ln.bias", 1, {12}, 0, 1.5f, LIMOE_INVALID, "a strength of 1.5; 0 to 1 is accepted"},
        {"ln.bias", 1, {12}, 0, NAN, LIMOE_INVALID, "a strength of nan"},
    };
    struct fixture f;
    fixture_create(&f, sparse, 1, NULL, 0);
    struct limoe_model *m = fixture_open(&f, LIMOE_FLOAT32);
    const char *base = limoe_model_base(m);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_misfit(m, f.dir, base, &cases[i]);
    expect_misfit(
        m, f.dir, BASE,
        &(struct misfit){"ln.bias", 1, {12}, 0, 1, LIMOE_INVALID, "\"base\" is " BASE ", another model's"});
    limoe_model_close(m);
    fixture_remove(&f);
}

static struct limoe_tail *adapt(struct limoe_model *m, const char *dir, uint64_t seed) {
    struct limoe_adapter *a;
    struct limoe_tail *tail;
    struct limoe_error err;
    adapter_file_tail(dir, 1, false, seed, in_folder("tail"));
    expect_outcome(limoe_adapter_open(in_folder("tail"), &a, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_model_adapt(m, a, 1, &tail, &err), &err, LIMOE_OK, "");
    limoe_adapter_close(a);
    return tail;
}

static void items_name_tails_of_their_model(void **state) {
    (void)state;
    struct fixture f;
    struct limoe_error err;
    float z[8 * 8];
    fixture_create(&f, sparse, 1, NULL, 0);
    struct limoe_model *m = fixture_open(&f, LIMOE_FLOAT32), *other = fixture_open(&f, LIMOE_FLOAT32);
    struct limoe_tail *tail = adapt(m, f.dir, 1), *foreign = adapt(other, f.dir, 2);
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, 1, 3);
    const struct limoe_tail *lists[][2] = {{tail, foreign}, {tail, tail}, {NULL, NULL}};
    const char *const says[] = {"item 0: tail 1 is of another model", "item 0: tails 0 and 1 are the same",
                                "item 0: tails 0 and 1 are the same"};
    items[0].n_tails = 2;
    expect_outcome(limoe_model_embed(m, items, 1, z, NULL, &err), &err, LIMOE_INVALID,
                   "item 0: 2 tails and no list of them");
    for (size_t i = 0; i < 3; i++) {
        items[0].tails = lists[i];
        expect_outcome(limoe_model_embed(m, items, 1, z, NULL, &err), &err, LIMOE_INVALID, says[i]);
    }
    items[0].n_tails = LIMOE_MAX_TAILS + 1;
    expect_outcome(limoe_model_embed(m, items, 1, z, NULL, &err), &err, LIMOE_INVALID,
                   "1025 tails; at most 1024 are accepted");
    fixture_items_free(items, 1);
    limoe_tail_release(foreign);
    limoe_tail_release(tail);
    limoe_tail_release(NULL);
    limoe_model_close(other);
    limoe_model_close(m);
    fixture_remove(&f);
}

/* The tail would be between two models. */
static void a_base_that_has_changed_is_seen(void **state) {
    (void)state;
    struct fixture f, another;
    struct limoe_adapter *a;
    struct limoe_tail *tail = NULL;
    struct limoe_error err;
    char from[128], to[128];
    fixture_create(&f, sparse, 1, NULL, 0);
    fixture_create(&another, sparse, 2, NULL, 0);
    struct limoe_model *m = fixture_open(&f, LIMOE_FLOAT32);
    adapter_file_tail(f.dir, 1, false, 3, in_folder("tail"));
    snprintf(from, sizeof from, "%s/model.safetensors", another.dir);
    snprintf(to, sizeof to, "%s/model.safetensors", f.dir);
    assert_int_equal(rename(from, to), 0);
    expect_outcome(limoe_adapter_open(in_folder("tail"), &a, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_model_adapt(m, a, 0.5f, &tail, &err), &err, LIMOE_INVALID,
                   "has changed since the model was opened");
    assert_null(tail);
    limoe_adapter_close(a);
    limoe_model_close(m);
    fixture_remove(&another);
    fixture_remove(&f);
}

/* Answers would depend on each other, with a tail too. */
static void parity_mode_takes_none(void **state) {
    (void)state;
    struct fixture f;
    struct limoe_adapter *a;
    struct limoe_tail *tail = NULL;
    struct limoe_error err;
    char limited[1024];
    const char *at = strstr(sparse, "\"top_k\":2");
    snprintf(limited, sizeof limited, "%.*s\"capacity\":1,%s", (int)(at - sparse), sparse, at);
    fixture_create(&f, limited, 1, NULL, 0);
    struct limoe_model *m = fixture_open(&f, LIMOE_FLOAT32);
    adapter_file_tail(f.dir, 1, false, 3, in_folder("tail"));
    expect_outcome(limoe_adapter_open(in_folder("tail"), &a, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_model_adapt(m, a, 1, &tail, &err), &err, LIMOE_UNSUPPORTED,
                   "\"tiny\" has \"moe.capacity\"");
    limoe_adapter_close(a);
    limoe_model_close(m);
    fixture_remove(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_probe_scores_by_its_weights),
        cmocka_unit_test(what_a_file_says_is_not_trusted),
        cmocka_unit_test(ten_thousand_labels_and_no_more),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(what_does_not_fit_changes_nothing),
        cmocka_unit_test(items_name_tails_of_their_model),
        cmocka_unit_test(a_base_that_has_changed_is_seen),
        cmocka_unit_test(parity_mode_takes_none),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
