/* What goes wrong on one rank is known to all, and nobody waits for ever: opening fails on every rank with
 * the message of the one that failed, and ranks that would not make the same model refuse to begin.
 *
 * usage: mpirun -n N test_failures MODEL_WITH_CAPACITY     (N > 1)
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/ranks/job.h"
#include "tests/unit/model/fixture.h"

#define CONFIG(name)                                                                                         \
    "{\"format\":\"limoe-1\",\"name\":\"" name "\",\"width\":16,\"blocks\":2,\"heads\":2,\"mlp\":24,"        \
    "\"embed\":12,"                                                                                          \
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"                       \
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0},"                                        \
    "\"moe\":{\"blocks\":[1],\"experts\":6,\"top_k\":1,\"renormalize\":false}}"

enum { ITEMS = 20 };

static struct job job;

static struct limoe_options on_ranks(void) {
    return (struct limoe_options){.dtype = LIMOE_FLOAT32, .threads = 1, .ranks = job.ranks};
}

/* Opening fails here, as it does on every rank, and says so. */
static void expect_refusal(const char *dir, const struct limoe_options *options, enum limoe_status status,
                           const char *message) {
    struct limoe_model *m;
    struct limoe_error err;
    const enum limoe_status got = limoe_model_open(dir, options, &m, &err);
    job_expect(&job, got == status && !m, "%s, %s expected", limoe_status_name(got),
               limoe_status_name(status));
    job_expect(&job, strstr(err.message, message), "\"%s\" has no \"%s\"", err.message, message);
    /* Who does not want to know must not keep the others from it. */
    job_expect(&job, limoe_model_open(dir, options, &m, NULL) == status, "another status without a message");
}

static void write_load(const char *path, int hot) {
    FILE *f = fopen(path, "wb");
    job_expect(&job, f, "cannot write %s", path);
    fprintf(f, "{\"format\":\"limoe-load-1\",\"load\":[[%d,%d,900,400,10,10]]}", hot, 500 - hot);
    job_expect(&job, fclose(f) == 0, "cannot write %s", path);
}

static void opening(void **state) {
    (void)state;
    struct fixture fixture, other;
    char load[64];
    struct limoe_options options = on_ranks();
    const bool odd = job.rank == 1;
    fixture_create(&fixture, CONFIG("test"), 3, NULL, 0);

    expect_refusal(odd ? "/nowhere" : fixture.dir, &options, LIMOE_NOT_FOUND, "rank 1: cannot open /nowhere");

    fixture_create(&other, CONFIG("tesT"), 3, NULL, 0);
    expect_refusal(odd ? other.dir : fixture.dir, &options, LIMOE_INVALID,
                   "rank 1 reads another config.json or tokenizer.model than rank 0");
    fixture_remove(&other);

    /* Read by all ranks. */
    fixture_create(&other, CONFIG("test"), 3, "ln.bias", 15);
    expect_refusal(odd ? other.dir : fixture.dir, &options, LIMOE_INVALID,
                   "tensor \"ln.bias\" is not the same as another rank's");
    fixture_remove(&other);

    snprintf(load, sizeof load, "/tmp/limoe-test-load-%d.json", (int)getpid());
    write_load(load, odd ? 450 : 50);
    options.load_file = load;
    expect_refusal(fixture.dir, &options, LIMOE_INVALID, "rank 1 places experts otherwise than rank 0");
    /* An expert that two ranks hold: what they have read of it is compared too. */
    write_load(load, 10);
    options.expert_bytes = 1 << 20;
    fixture_create(&other, CONFIG("test"), 3, "blocks.1.moe.fc1.weight", 2 * 16 * 24);
    expect_refusal(odd ? other.dir : fixture.dir, &options, LIMOE_INVALID,
                   "expert 2 of tensor \"blocks.1.moe.fc1.weight\" is not the same as another rank's");
    fixture_remove(&other);
    unlink(load);

    options = on_ranks();
    options.load_file = odd ? "/nowhere.json" : NULL;
    expect_refusal(fixture.dir, &options, LIMOE_NOT_FOUND, "rank 1: ");
    options = on_ranks();
    options.dtype = odd ? LIMOE_BFLOAT16 : LIMOE_FLOAT32;
    expect_refusal(fixture.dir, &options, LIMOE_INVALID, "rank 0 computes in float32");

    /* After all that, the ranks are still in step. */
    options = on_ranks();
    limoe_model_close(job_open(&job, fixture.dir, &options));
    fixture_remove(&fixture);
}

static void capacity(void **state) {
    const struct limoe_options options = on_ranks();
    expect_refusal(*(char **)*state, &options, LIMOE_UNSUPPORTED, "\"moe.capacity\"");
}

/* The rank whose items are refused is told so, and the others get their answers. */
static void items(void **state) {
    (void)state;
    struct fixture fixture;
    struct limoe_error err;
    const struct limoe_options options = on_ranks(), one = {.dtype = LIMOE_FLOAT32, .threads = 1};
    fixture_create(&fixture, CONFIG("test"), 3, NULL, 0);
    struct limoe_model *m = job_open(&job, fixture.dir, &options);
    struct limoe_model *alone = job_open(&job, fixture.dir, &one);
    const size_t embed = limoe_model_info(m)->embed;
    struct limoe_item *item = fixture_items(limoe_model_info(m), 1, ITEMS, 5 + job.rank);
    float *z = calloc(ITEMS * embed, sizeof *z), *want = calloc(ITEMS * embed, sizeof *want);
    job_expect(&job, limoe_model_embed(alone, item, ITEMS, want, NULL, &err) == LIMOE_OK, "%s", err.message);
    for (uint32_t odd = 0; odd < job.count; odd++) {
        const uint32_t length = item[3].length;
        item[3].length = odd == job.rank ? 0 : length;
        const enum limoe_status status = limoe_model_embed(m, item, ITEMS, z, NULL, &err);
        item[3].length = length;
        if (odd == job.rank) {
            job_expect(&job, status == LIMOE_INVALID && strstr(err.message, "item 3"), "%s: %s",
                       limoe_status_name(status), err.message);
            continue;
        }
        job_expect(&job, status == LIMOE_OK, "%s", err.message);
        job_expect(&job, memcmp(z, want, ITEMS * embed * sizeof *z) == 0, "other bits than on one rank");
    }
    fixture_items_free(item, ITEMS);
    free(want);
    free(z);
    limoe_model_close(alone);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

/* Embeddings that are not finite are the failure of the ranks that have them: the others go on. */
static void weights(void **state) {
    (void)state;
    struct fixture fixture;
    struct limoe_error err;
    const struct limoe_options options = on_ranks();
    fixture_create(&fixture, CONFIG("test"), 3, "image.proj.weight", 7);
    struct limoe_model *m = job_open(&job, fixture.dir, &options);
    const struct limoe_info *info = limoe_model_info(m);
    int32_t tokens[2] = {5, 1};
    uint8_t *pixels = calloc((size_t)info->image_size * info->image_size, 3);
    float *z = calloc(4000 * info->embed, sizeof *z);
    struct limoe_item *item = calloc(4000, sizeof *item); /* several steps, images in the first */
    for (size_t i = 0; i < 4000; i++)
        item[i] =
            job.rank == 0 && i < 10
                ? (struct limoe_item){.modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels}
                : (struct limoe_item){.modality = LIMOE_TEXT, .length = 2, .tokens = tokens};
    const enum limoe_status status = limoe_model_embed(m, item, 4000, z, NULL, &err);
    job_expect(&job, status == (job.rank == 0 ? LIMOE_INTERNAL : LIMOE_OK), "%s", limoe_status_name(status));
    job_expect(&job, status == LIMOE_OK || strstr(err.message, "not finite"), "%s", err.message);
    job_expect(&job, z[3999 * info->embed] != 0, "the last item was not embedded");
    free(item);
    free(z);
    free(pixels);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

/* Ranks that are not there, or there already. */
static void kinds(void **state) {
    (void)state;
    struct limoe_ranks *ranks;
    struct limoe_error err;
    job_expect(&job, limoe_ranks_open("mpi", &ranks, &err) == LIMOE_INVALID && !ranks, "MPI started twice");
    job_expect(&job, limoe_ranks_open("carrier", &ranks, &err) == LIMOE_UNSUPPORTED, "%s", err.message);
    job_expect(&job, strstr(err.message, "limoe-carrier.so (LIMOE_MODULES may name another directory)"), "%s",
               err.message);
    job_expect(&job, limoe_ranks_open("../mpi", &ranks, &err) == LIMOE_UNSUPPORTED, "%s", err.message);
    job_expect(&job, limoe_ranks_open("local", &ranks, &err) == LIMOE_OK, "%s", err.message);
    job_expect(&job, limoe_ranks_count(ranks) == 1 && limoe_ranks_rank(ranks) == 0, "local is one rank");
    limoe_ranks_close(ranks);
    limoe_ranks_close(NULL);
}

int main(int argc, char **argv) {
    (void)argc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening), cmocka_unit_test_prestate(capacity, argv + 1),
        cmocka_unit_test(items),   cmocka_unit_test(weights),
        cmocka_unit_test(kinds),
    };
    job = job_join();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    job_leave(&job);
    return failed;
}
