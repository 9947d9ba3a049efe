/* peak.c - what this machine can do at most: products from registers, and bytes read from memory.
 *
 *     bench/peak [--threads N] [--seconds S]
 *
 * LIMOE_ISA chooses the instruction set, as for the program itself. Prints one JSON object: for each dtype the
 * instruction that was the fastest of the set's, and its rate in GFLOP/s (of int8 in operations, a product and
 * an addition being two) on one core and on N (default: all that the affinity mask allows), each thread on a
 * core of its own; the last cache's size; and what is read of memory that no cache holds, in GB/s. Each is the best of the
 * repetitions made within --seconds (default 0.5): a peak is what the machine reaches undisturbed.
 *
 * The loops are chains enough to hide an instruction's latency, with nothing to load: what share of their rate
 * a product over memory reaches is the kernels' affair. A dtype that the set has no instruction for is computed
 * in another, as the kernels do: bfloat16 widened to float32.
 */
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/arguments.h"
#include "bench/peak_loops.h"
#include "bench/timing.h"
#include "kernels/cpu/cpuid.h"

enum { MOST_THREADS = 1024, LEAST_REPETITIONS = 3 };

/* Long beside the time in which a thread is woken, short beside a scheduler's slice, so that some repetitions are
 * undisturbed even where other work runs. */
static const double sample_seconds = 0.005;

/* What one thread repeats. */
struct work {
    void (*run)(uint64_t rounds, const void *memory, size_t size);
    double per_round; /* operations, or bytes */
    size_t size;      /* of a thread's memory; 0: it needs none */
};

/* One measurement by `threads` threads. */
struct measurement {
    const struct work *work;
    unsigned threads;
    uint64_t rounds;
    double seconds; /* after which nothing is repeated */
    const cpu_set_t *allowed;
    pthread_barrier_t barrier;
    double *took; /* [threads] seconds of a repetition, each thread its own */
    double best;  /* work per second of all together; the first thread's */
    bool failed;  /* written before the first barrier by any */
    bool over;    /* written between repetitions by the first thread */
};

struct member {
    struct measurement *measurement;
    unsigned index;
};

/* Onto the index-th of the processors that are allowed, counted around. */
static void pin(const cpu_set_t *allowed, unsigned index) {
    unsigned skip = index % (unsigned)CPU_COUNT(allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, allowed) || skip-- > 0)
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

/* Written once by the calling thread, so that its pages lie near it. */
static void *touched_memory(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 1, size);
    return memory;
}

static void keep_best(struct measurement *m) {
    double together = 0;
    for (unsigned i = 0; i < m->threads; i++)
        together += (double)m->rounds * m->work->per_round / m->took[i];
    if (together > m->best)
        m->best = together;
}

static void *take_part(void *context) {
    const struct member *member = context;
    struct measurement *m = member->measurement;
    const struct work *work = m->work;
    pin(m->allowed, member->index);
    void *memory = work->size ? touched_memory(work->size) : NULL;
    if (work->size && !memory)
        m->failed = true;
    pthread_barrier_wait(&m->barrier);
    const double end = now() + m->seconds;
    for (unsigned i = 0; !m->failed; i++) {
        if (member->index == 0)
            m->over = i >= LEAST_REPETITIONS && now() >= end;
        pthread_barrier_wait(&m->barrier);
        if (m->over)
            break;
        const double start = now();
        work->run(m->rounds, memory, work->size);
        m->took[member->index] = now() - start;
        pthread_barrier_wait(&m->barrier);
        if (member->index == 0)
            keep_best(m);
    }
    if (memory)
        munmap(memory, work->size);
    return NULL;
}

/* Work per second of all threads together; 0 where threads or memory could not be had. */
static double rate(const struct work *work, unsigned threads, uint64_t rounds, double seconds,
                   const cpu_set_t *allowed) {
    struct measurement m = {
        .work = work, .threads = threads, .rounds = rounds, .seconds = seconds, .allowed = allowed};
    pthread_t *thread = calloc(threads, sizeof *thread);
    struct member *member = calloc(threads, sizeof *member);
    m.took = calloc(threads, sizeof *m.took);
    if (!thread || !member || !m.took || pthread_barrier_init(&m.barrier, NULL, threads))
        exit(1);
    for (unsigned i = 0; i < threads; i++) {
        member[i] = (struct member){&m, i};
        if (pthread_create(&thread[i], NULL, take_part, &member[i])) {
            fputs("bench/peak: no more threads\n", stderr);
            exit(1); /* those that wait at the barrier end with the process */
        }
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&m.barrier);
    free(member);
    free(thread);
    free(m.took);
    return m.best;
}

/* As many rounds as take about sample_seconds on one thread, at the best of a few tries. */
static uint64_t calibrate(const struct work *work, const cpu_set_t *allowed) {
    const uint64_t try_rounds = work->size ? 1 : 20000;
    const double once = rate(work, 1, try_rounds, 0, allowed);
    const double rounds = once > 0 ? sample_seconds * once / work->per_round : 1;
    return rounds < 1 ? 1 : (uint64_t)rounds;
}

/* ---- products */

/* The dtype's rates by the fastest loop that `isa` has for it. */
static void report_dtype(const char *dtype, const char *isa, unsigned threads, double seconds,
                         const cpu_set_t *allowed) {
    const struct peak_loop *fastest = NULL;
    double one = 0, all = 0;
    for (size_t i = 0; peak_loop_at(i); i++) {
        const struct peak_loop *loop = peak_loop_at(i);
        if (!peak_loop_is_of(loop, isa, dtype) || !loop->present())
            continue;
        const struct work work = {loop->run, loop->operations, 0};
        const uint64_t rounds = calibrate(&work, allowed);
        const double its = rate(&work, 1, rounds, seconds, allowed);
        if (its <= one)
            continue;
        fastest = loop;
        one = its;
        all = rate(&work, threads, rounds, seconds, allowed);
    }
    if (fastest)
        printf(", \"%s\": {\"instruction\": \"%s\", \"one_gflops\": %.1f, \"all_gflops\": %.1f}", dtype,
               fastest->instruction, one * 1e-9, all * 1e-9);
    fflush(stdout);
}

/* ---- memory */

typedef uint64_t __attribute__((vector_size(64), may_alias)) line;

/* The sum is kept from the optimiser, which would read nothing for a sum that nobody wants. */
static void read_all(uint64_t rounds, const void *memory, size_t size) {
    line sum[4] = {{0}};
    for (uint64_t r = 0; r < rounds; r++)
        for (const line *at = memory, *end = at + size / sizeof *at; at < end; at += 4)
            for (int i = 0; i < 4; i++)
                sum[i] += at[i];
    __asm__ volatile("" ::"r"(&sum) : "memory");
}

/* Of the last cache that the first processor has, as Linux has it; else as the C library does, which in a virtual
 * machine may count what belongs to others. 0 where neither says. */
static long cache_size(void) {
    long kib = 0;
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    const bool said = f && fscanf(f, "%ldK", &kib) == 1 && kib > 0; /* NOLINT(cert-err34-c): checked */
    if (f)
        fclose(f);
    const long size = said ? kib * 1024 : sysconf(_SC_LEVEL3_CACHE_SIZE);
    return size > 0 ? size : 0;
}

/* Of all threads together: four times the last cache, from 256 MiB to 2 GiB. */
static size_t memory_size(void) {
    enum { MIB = 1 << 20 };
    const size_t wanted = 4 * (size_t)cache_size();
    return wanted < (size_t)256 * MIB    ? (size_t)256 * MIB
           : wanted > (size_t)2048 * MIB ? (size_t)2048 * MIB
                                         : wanted;
}

static void report_memory(unsigned threads, double seconds, const cpu_set_t *allowed) {
    const size_t size = memory_size(), share = size / threads / 4096 * 4096;
    const struct work by_one = {read_all, (double)size, size}, by_all = {read_all, (double)share, share};
    printf(", \"cache_bytes\": %ld", cache_size());
    printf(", \"read\": {\"one_gb_s\": %.2f, \"all_gb_s\": %.2f}",
           rate(&by_one, 1, 1, seconds, allowed) * 1e-9, rate(&by_all, threads, 1, seconds, allowed) * 1e-9);
}

/* ---- the command line */

static bool read_arguments(int argc, char **argv, unsigned *threads, double *seconds) {
    const struct option known[] = {
        {"threads", required_argument, NULL, 't'}, {"seconds", required_argument, NULL, 's'}, {0}};
    int option;
    double number = *threads;
    bool ok = true;
    while (ok && (option = getopt_long(argc, argv, "", known, NULL)) != -1)
        if (option == 't')
            ok = arguments_number(optarg, 1, MOST_THREADS, &number);
        else
            ok = option == 's' && arguments_number(optarg, 0.01, 60, seconds);
    *threads = (unsigned)number;
    return ok && optind == argc;
}

int main(int argc, char **argv) {
    const struct isa *isa;
    struct limoe_error err;
    cpu_set_t allowed;
    if (isa_choose(&isa, &err)) {
        fprintf(stderr, "bench/peak: %s\n", err.message);
        return 1;
    }
    if (sched_getaffinity(0, sizeof allowed, &allowed)) {
        perror("bench/peak: the affinity mask");
        return 1;
    }
    unsigned threads = (unsigned)CPU_COUNT(&allowed);
    double seconds = 0.5;
    if (!read_arguments(argc, argv, &threads, &seconds)) {
        fputs("usage: bench/peak [--threads N] [--seconds S]\n", stderr);
        return 2;
    }
    printf("{\"isa\": \"%s\", \"threads\": %u", isa->name, threads);
    static const char *const dtypes[] = {"float32", "bfloat16", "int8"};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        report_dtype(dtypes[i], isa->name, threads, seconds, &allowed);
    report_memory(threads, seconds, &allowed);
    puts("}");
    return 0;
}
