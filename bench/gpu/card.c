/* card.c - what a card is, and what it was measured to do: the bytes it copies, the products of its vendor's
 * library.
 *
 *     card [--device cuda|cuda:N] [--rate TFLOP/S] [--quick] [--report FILE]
 *
 * Other programs' figures are held against these two, not against a data sheet, whose clocks no card keeps.
 * With
 * --rate it was measured already (rate.py, where there is PyTorch); else by cuBLAS, where that can be loaded.
 * The product is of random numbers, since zeros draw less power.
 */
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gpu/arrays.h"
#include "bench/gpu/report.h"
#include "bench/gpu/setting.h"
#include "bench/timing.h"
#include "kernels/kernels.h"

enum { SAMPLES = 15, SIDE = 8192 };
#define COPY_BYTES ((size_t)1 << 30)

/* The median seconds of queue(context) on a stream, by the card's events; negative: it failed. */
static double median_of(bool (*queue)(void *context, cudaStream_t stream), void *context) {
    double seconds[SAMPLES], answer = -1;
    cudaStream_t stream = NULL;
    cudaEvent_t begin = NULL, end = NULL;
    if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) || cudaEventCreate(&begin) ||
        cudaEventCreate(&end))
        goto out;
    for (int i = -3; i < SAMPLES; i++) { /* three to warm up */
        float ms = 0;
        if (cudaEventRecord(begin, stream) || !queue(context, stream) || cudaEventRecord(end, stream) ||
            cudaEventSynchronize(end) || cudaEventElapsedTime(&ms, begin, end))
            goto out;
        if (i >= 0)
            seconds[i] = ms * 1e-3;
    }
    qsort(seconds, SAMPLES, sizeof *seconds, by_value);
    answer = seconds[SAMPLES / 2];
out:
    if (end)
        cudaEventDestroy(end);
    if (begin)
        cudaEventDestroy(begin);
    if (stream)
        cudaStreamDestroy(stream);
    return answer;
}

/* ---- copies */

struct copy {
    void *from, *to;
};

static bool queue_copy(void *context, cudaStream_t stream) {
    const struct copy *c = context;
    return cudaMemcpyAsync(c->to, c->from, COPY_BYTES, cudaMemcpyDeviceToDevice, stream) == cudaSuccess;
}

static void measure_copy(struct report *r) {
    struct copy c = {NULL, NULL};
    double seconds = -1;
    if (!cudaMalloc(&c.from, COPY_BYTES) && !cudaMalloc(&c.to, COPY_BYTES) &&
        !cudaMemset(c.from, 0x5a, COPY_BYTES))
        seconds = median_of(queue_copy, &c);
    if (seconds > 0)
        report_figure(r, "copy bandwidth", 2e-9 * (double)COPY_BYTES / seconds, "GB/s", 0,
                      ", read and written, 1 GiB at a time");
    else
        report_check(r, false, "copy bandwidth", "%s", cudaGetErrorString(cudaGetLastError()));
    cudaFree(c.to);
    cudaFree(c.from);
}

/* ---- products: cuBLAS, of which this declares what it calls */

typedef int create_blas(void **handle);
typedef int destroy_blas(void *handle);
typedef int set_stream(void *handle, cudaStream_t stream);
typedef int multiply_blas(void *handle, int a_how, int b_how, int m, int n, int k, const void *alpha,
                          const void *a, int a_type, int lda, const void *b, int b_type, int ldb,
                          const void *beta, void *c, int c_type, int ldc, int compute, int algorithm);
enum { BLAS_PLAIN = 0, BLAS_TRANSPOSED = 1, BLAS_BF16 = 14, BLAS_COMPUTE_F32 = 68, BLAS_ANY_ALGORITHM = -1 };

struct blas {
    void *handle;
    set_stream *on;
    multiply_blas *multiply;
    void *a, *b, *c;
};

static bool queue_product(void *context, cudaStream_t stream) {
    const struct blas *l = context;
    const float one = 1, zero = 0;
    return l->on(l->handle, stream) == 0 &&
           l->multiply(l->handle, BLAS_TRANSPOSED, BLAS_PLAIN, SIDE, SIDE, SIDE, &one, l->a, BLAS_BF16, SIDE,
                       l->b, BLAS_BF16, SIDE, &zero, l->c, BLAS_BF16, SIDE, BLAS_COMPUTE_F32,
                       BLAS_ANY_ALGORITHM) == 0;
}

static void *load_blas(void) {
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11",
                                        "libcublas.so"};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

/* A function of the library's; a NULL shows when it is called for. */
static void find(void *library, const char *name, void *function) {
    *(void **)function = dlsym(library, name);
}

static void measure_products(struct report *r, uint64_t seed) {
    const size_t bytes = (size_t)SIDE * SIDE * sizeof(uint16_t);
    void *library = load_blas();
    create_blas *create = NULL;
    destroy_blas *destroy = NULL;
    struct blas l = {0};
    struct random random = random_seeded(seed);
    double seconds = -1;
    if (!library) {
        report_absent(r, "dense bfloat16 rate", "there is neither PyTorch nor cuBLAS to measure it by");
        return;
    }
    uint16_t *noise = random_bf16(&random, (size_t)SIDE * SIDE, 1);
    find(library, "cublasCreate_v2", &create);
    find(library, "cublasDestroy_v2", &destroy);
    find(library, "cublasSetStream_v2", &l.on);
    find(library, "cublasGemmEx", &l.multiply);
    if (create && destroy && l.on && l.multiply && create(&l.handle) == 0 && !cudaMalloc(&l.a, bytes) &&
        !cudaMalloc(&l.b, bytes) && !cudaMalloc(&l.c, bytes) &&
        !cudaMemcpy(l.a, noise, bytes, cudaMemcpyHostToDevice) &&
        !cudaMemcpy(l.b, noise, bytes, cudaMemcpyHostToDevice))
        seconds = median_of(queue_product, &l);
    if (seconds > 0)
        report_figure(r, "dense bfloat16 rate", 2e-12 * SIDE * SIDE * (double)SIDE / seconds, "TFLOP/s", 0,
                      ", cuBLAS, %d cubed", SIDE);
    else
        report_absent(r, "dense bfloat16 rate", "cuBLAS was found, but fails");
    cudaFree(l.c);
    cudaFree(l.b);
    cudaFree(l.a);
    if (l.handle)
        destroy(l.handle);
    free(noise);
}

static void describe(int index) {
    struct cudaDeviceProp p;
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (!cudaGetDeviceProperties(&p, index))
        printf("         %s: compute capability %d.%d, %d multiprocessors, %.1f GiB, %.0f MB of cache; "
               "driver for "
               "CUDA %d.%d, runtime %d.%d\n",
               p.name, p.major, p.minor, p.multiProcessorCount, (double)p.totalGlobalMem / (1 << 30),
               p.l2CacheSize * 1e-6, driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
}

int main(int argc, char **argv) {
    struct setting setting;
    struct report report;
    int status = setting_read(argc, argv, &setting);
    if (status)
        return status;
    struct kernels *k = setting_open(&setting, LIMOE_BFLOAT16, &status); /* it names what is missing best */
    if (!k)
        return status;
    k->ops->destroy(k);
    const char *colon = strchr(setting.device, ':');
    const int index = colon ? atoi(colon + 1) : 0;
    if (cudaSetDevice(index)) {
        fprintf(stderr, "%s: %s\n", setting.device, cudaGetErrorString(cudaGetLastError()));
        return 1;
    }
    describe(index);
    if (!report_open(&report, "card", setting.report))
        return 1;
    measure_copy(&report);
    if (setting.rate > 0)
        report_figure(&report, "dense bfloat16 rate", setting.rate * 1e-12, "TFLOP/s", 0, ", PyTorch");
    else
        measure_products(&report, setting.seed);
    return report_close(&report);
}
