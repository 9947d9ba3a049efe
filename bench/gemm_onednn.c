/* gemm_onednn.c - our linear beside oneDNN's matmul on the same matrices, in one run.
 *
 *     OMP_NUM_THREADS=1 build/bench/gemm_onednn 1 bfloat16     (threads, which OMP_NUM_THREADS must match)
 *
 * oneDNN as one would use it here: static shapes, weights packed in the layout it asks for, float32 output.
 * Ours stores float32 too (and adds a bias of nothing). Medians of samples that take turns; one
 * thread is timed by its processor time, so that other programs disturb it less. "rows differ": of
 * the rows computed with this M, how many have other bits than the same rows in the largest M.
 */
#include <dnnl.h>
#include <stdio.h>
#include <string.h>

#include "bench/timing.h"
#include "kernels/kernels.h"
#include "kernels/number.h"

enum { MOST_ROWS = 4096, SAMPLES = 21 };

static void must(int failed, const char *what) {
    if (failed) {
        fprintf(stderr, "%s failed: %d\n", what, failed);
        exit(1);
    }
}

/* One matmul of a static shape. */
struct matmul {
    dnnl_primitive_desc_t descriptor;
    dnnl_primitive_t primitive;
    dnnl_memory_t x, weight, y;
};

static dnnl_memory_desc_t describe(int64_t rows, int64_t columns, dnnl_data_type_t type,
                                   dnnl_format_tag_t layout) {
    dnnl_memory_desc_t d;
    dnnl_dims_t dims = {rows, columns};
    must(dnnl_memory_desc_init_by_tag(&d, 2, dims, type, layout), "memory descriptor");
    return d;
}

static struct matmul make_matmul(dnnl_engine_t engine, dnnl_stream_t stream, dnnl_data_type_t type,
                                 int64_t rows, int64_t in, int64_t out, void *x, void *weight, float *y) {
    struct matmul m;
    dnnl_memory_desc_t xd = describe(rows, in, type, dnnl_ab), yd = describe(rows, out, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_t any = describe(in, out, type, dnnl_format_tag_any);
    dnnl_memory_desc_t torch = describe(in, out, type, dnnl_ba);
    dnnl_matmul_desc_t d;
    must(dnnl_matmul_desc_init(&d, &xd, &any, NULL, &yd), "matmul descriptor");
    must(dnnl_primitive_desc_create(&m.descriptor, &d, NULL, engine, NULL), "primitive descriptor");
    must(dnnl_primitive_create(&m.primitive, m.descriptor), "primitive");
    const dnnl_memory_desc_t *packed = dnnl_primitive_desc_query_md(m.descriptor, dnnl_query_weights_md, 0);
    dnnl_memory_t plain;
    must(dnnl_memory_create(&plain, &torch, engine, weight), "memory");
    must(dnnl_memory_create(&m.x, &xd, engine, x), "memory");
    must(dnnl_memory_create(&m.y, &yd, engine, y), "memory");
    must(dnnl_memory_create(&m.weight, packed, engine, DNNL_MEMORY_ALLOCATE), "memory");
    dnnl_primitive_desc_t rd;
    dnnl_primitive_t reorder;
    must(dnnl_reorder_primitive_desc_create(&rd, &torch, engine, packed, engine, NULL), "reorder");
    must(dnnl_primitive_create(&reorder, rd), "reorder");
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, m.weight}};
    must(dnnl_primitive_execute(reorder, stream, 2, args), "reorder");
    must(dnnl_stream_wait(stream), "reorder");
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(rd);
    dnnl_memory_destroy(plain);
    return m;
}

static void free_matmul(struct matmul *m) {
    dnnl_memory_destroy(m->x);
    dnnl_memory_destroy(m->y);
    dnnl_memory_destroy(m->weight);
    dnnl_primitive_destroy(m->primitive);
    dnnl_primitive_desc_destroy(m->descriptor);
}

struct both {
    dnnl_stream_t stream;
    struct matmul theirs;
    struct kernels *k;
    struct kernels_matrix *ours;
    const void *x;
    float *y;
    size_t rows;
};

static double seconds(const struct both *b) {
    struct timespec t;
    clock_gettime(b->k->threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run_theirs(const struct both *b) {
    dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, b->theirs.x}, {DNNL_ARG_WEIGHTS, b->theirs.weight}, {DNNL_ARG_DST, b->theirs.y}};
    must(dnnl_primitive_execute(b->theirs.primitive, b->stream, 3, args), "matmul");
    must(dnnl_stream_wait(b->stream), "matmul");
}

static void run_ours(const struct both *b) {
    b->k->ops->linear(b->k, b->ours, b->x, b->rows, KERNELS_STORE_F32, b->y);
}

static void take_turns(const struct both *b, double flop, double *theirs, double *ours) {
    double sample[2][SAMPLES];
    int each = (int)(2e7 / flop) + 1; /* about 20 us at 1 Tflop/s */
    for (int s = -3; s < SAMPLES; s++)
        for (int who = 0; who < 2; who++) {
            double t = seconds(b);
            for (int i = 0; i < each; i++)
                (who ? run_ours : run_theirs)(b);
            if (s >= 0)
                sample[who][s] = (seconds(b) - t) / each;
        }
    for (int who = 0; who < 2; who++)
        qsort(sample[who], SAMPLES, sizeof(double), by_value);
    *theirs = sample[0][SAMPLES / 2];
    *ours = sample[1][SAMPLES / 2];
}

static size_t rows_that_differ(const float *a, const float *b, size_t rows, size_t columns) {
    size_t n = 0;
    for (size_t r = 0; r < rows; r++)
        n += memcmp(a + r * columns, b + r * columns, columns * sizeof *a) != 0;
    return n;
}

static void *as_type(const float *v, size_t n, bool bf16) {
    void *p = aligned_alloc(64, (n * 4 + 63) / 64 * 64);
    must(!p, "allocation");
    for (size_t i = 0; i < n; i++)
        if (bf16)
            ((uint16_t *)p)[i] = bf16_from_float(v[i]);
        else
            ((float *)p)[i] = v[i];
    return p;
}

static void compare_shape(dnnl_engine_t engine, dnnl_stream_t stream, struct kernels *k, uint32_t in,
                          uint32_t out) {
    static const size_t rows[] = {4096, 1024, 256, 64, 16, 1};
    bool bf16 = k->dtype == LIMOE_BFLOAT16;
    float *xf = noise((size_t)MOST_ROWS * in), *wf = noise((size_t)in * out);
    size_t bytes = (size_t)MOST_ROWS * out * sizeof(float);
    void *x = as_type(xf, (size_t)MOST_ROWS * in, bf16), *w = as_type(wf, (size_t)in * out, bf16);
    float *theirs = aligned_alloc(64, bytes), *ours = aligned_alloc(64, bytes);
    float *theirs_most = aligned_alloc(64, bytes), *ours_most = aligned_alloc(64, bytes);
    must(!theirs || !ours || !theirs_most || !ours_most, "allocation");
    struct both b = {.stream = stream, .k = k, .x = x, .y = ours};
    struct limoe_error err;
    must((int)k->ops->pack(k, (struct kernels_tensor){wf, KERNELS_F32}, (struct kernels_tensor){0}, 1, out,
                           in, &b.ours, &err),
         "pack");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double create = now(), t[2], flop = 2.0 * (double)rows[i] * in * out;
        b.theirs =
            make_matmul(engine, stream, bf16 ? dnnl_bf16 : dnnl_f32, (int64_t)rows[i], in, out, x, w, theirs);
        create = now() - create;
        b.rows = rows[i];
        take_turns(&b, flop, &t[0], &t[1]);
        if (i == 0) {
            memcpy(theirs_most, theirs, bytes);
            memcpy(ours_most, ours, bytes);
        }
        printf("%s %4u -> %-4u M %4zu  oneDNN %7.1f  ours %7.1f GFLOP/s  ratio %4.2f  rows differ %4zu %4zu  "
               "oneDNN prepares in %.2f ms\n",
               bf16 ? "bfloat16" : "float32 ", in, out, rows[i], flop / t[0] * 1e-9, flop / t[1] * 1e-9,
               t[0] / t[1], rows_that_differ(theirs, theirs_most, rows[i], out),
               rows_that_differ(ours, ours_most, rows[i], out), create * 1e3);
        fflush(stdout);
        free_matmul(&b.theirs);
    }
    k->ops->matrix_free(k, b.ours);
    free(xf);
    free(wf);
    free(x);
    free(w);
    free(theirs);
    free(ours);
    free(theirs_most);
    free(ours_most);
}

int main(int argc, char **argv) {
    static const uint32_t shapes[][2] = {{192, 192}, {192, 576}, {192, 768}, {768, 192}, {768, 2304}};
    uint32_t threads = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    must(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "stream");
    bool float32 = argc > 2 && !strcmp(argv[2], "float32");
    struct kernels *k;
    struct limoe_error err;
    if (kernels_cpu_create(float32 ? LIMOE_FLOAT32 : LIMOE_BFLOAT16, threads, &k, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s, %u threads; oneDNN %d.%d.%d\n", k->name, k->threads, dnnl_version()->major,
           dnnl_version()->minor, dnnl_version()->patch);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        compare_shape(engine, stream, k, shapes[s][0], shapes[s][1]);
    k->ops->destroy(k);
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 0;
}
