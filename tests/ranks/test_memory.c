/* A rank holds the dense part and its share of the experts, and no more: what opening a model adds to its
 * resident memory is within 15 % of dense + experts / ranks. The model is one whose bytes are experts for
 * nine tenths or more (memory.sh writes it).
 *
 * usage: mpirun -n N test_memory MODEL_DIRECTORY
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/sanitized.h"
#include "tests/ranks/job.h"

enum { ITEMS = 16 }; /* their activations are not what is measured */

static struct job job;

/* Bytes of this process in memory that are its own, or that it has mapped. */
static uint64_t resident(void) {
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    job_expect(&job, f, "no /proc");
    while (fgets(line, sizeof line, f) && sscanf(line, "VmRSS: %llu kB", &kib) != 1)
        continue;
    fclose(f);
    job_expect(&job, kib > 0, "no VmRSS in /proc/self/status");
    return kib << 10;
}

static double mib(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

static void memory_is_proportional(void **state) {
    struct limoe_error err;
    struct limoe_placement *one;
    struct limoe_inspection *inspection;
    const char *dir = *(char **)*state;
    const struct limoe_options options = {.dtype = LIMOE_FLOAT32, .threads = 1, .ranks = job.ranks};
    const struct limoe_rank_options alone = {.ranks = 1, .dtype = LIMOE_FLOAT32};
    job_expect(&job, limoe_inspect(dir, &inspection, &err) == LIMOE_OK, "%s", err.message);
    job_expect(&job, limoe_inspect_ranks(inspection, &alone, &one, &err) == LIMOE_OK, "%s", err.message);
    const uint64_t dense = one->rank[0].dense_bytes, experts = one->rank[0].expert_bytes;
    job_expect(&job, experts >= 9 * dense, "experts are less than nine tenths of the model");
    limoe_placement_free(one);
    limoe_inspection_free(inspection);

    const uint64_t base = resident(), expected = dense + experts / job.count;
    struct limoe_model *m = job_open(&job, dir, &options);
    const uint64_t open = resident() - base;
    const struct limoe_info *info = limoe_model_info(m);
    const size_t bytes = (size_t)info->image_size * info->image_size * 3;
    uint8_t *pixels = malloc(ITEMS * bytes); /* noise, so that all experts get some */
    float *z = calloc((size_t)ITEMS * info->embed, sizeof *z);
    struct limoe_item item[ITEMS];
    for (size_t i = 0; i < ITEMS * bytes; i++)
        pixels[i] = (uint8_t)(rand() >> 8);
    for (size_t i = 0; i < ITEMS; i++)
        item[i] = (struct limoe_item){
            .modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels + i * bytes};
    job_expect(&job, limoe_model_embed(m, item, ITEMS, z, NULL, &err) == LIMOE_OK, "%s", err.message);
    const uint64_t busy = resident() - base;

    double figures[3] = {mib(base), mib(open), mib(busy)}, *all = calloc(job.count, sizeof figures);
    job.x->ops->gather(job.x, figures, sizeof figures, all, NULL);
    for (uint32_t r = 0; job.rank == 0 && r < job.count; r++)
        printf("# rank %u of %u: %.1f MiB before the model, %.1f more with it (%.1f + %.1f / %u = %.1f "
               "expected), %.1f after a step\n",
               r, job.count, all[3 * r], all[3 * r + 1], mib(dense), mib(experts), job.count, mib(expected),
               all[3 * r + 2]);
    job_expect(&job, open <= expected + expected * 15 / 100, "%.1f MiB, %.1f expected", mib(open),
               mib(expected));
    job_expect(&job, open >= expected - expected * 15 / 100, "%.1f MiB, %.1f expected", mib(open),
               mib(expected));
    job_expect(&job, busy <= expected + expected * 15 / 100, "%.1f MiB after a step, %.1f expected",
               mib(busy), mib(expected));
    free(all);
    free(z);
    free(pixels);
    limoe_model_close(m);
}

int main(int argc, char **argv) {
    (void)argc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(memory_is_proportional, argv + 1),
    };
    job = job_join();
    int failed = 0;
    if (!SANITIZED)
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    else if (job.rank == 0)
        puts("1..0 # SKIP a sanitizer takes memory of its own");
    job_leave(&job);
    return failed;
}
