/* cuda.c - the CUDA instance: its device, its streams and its table of operations.
 *
 * This is a module, limoe-cuda.so, that the program loads where a GPU is wanted: it brings CUDA's runtime
 * with it and finds the driver by itself, so that the program starts on any machine.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "kernels/cuda/device.h"

void cuda_enter(struct cuda *self) {
    cuda_check(self, "choosing the device", cudaSetDevice(self->device));
}

/* ---- failures */

bool cuda_check(struct cuda *self, const char *what, cudaError_t error) {
    if (error != cudaSuccess && self->error == cudaSuccess) {
        self->error = error;
        self->failed = what;
    }
    return error == cudaSuccess;
}

bool cuda_launched(struct cuda *self, const char *what) {
    return cuda_check(self, what, cudaGetLastError());
}

static enum limoe_status sync(struct kernels *k, struct limoe_error *err) {
    struct cuda *self = (struct cuda *)k;
    cuda_enter(self);
    cuda_check(self, "the queued operations", cudaStreamSynchronize(self->stream));
    const cudaError_t error = self->error;
    self->error = cudaSuccess;
    if (error == cudaSuccess)
        return LIMOE_OK;
    /* A kernel that went astray takes the process's context with it: nothing works from then on. */
    if (cudaStreamSynchronize(self->stream) != cudaSuccess)
        return limoe_fail(err, LIMOE_BROKEN, "the GPU failed for good: %s: %s (%s)", self->failed,
                          cudaGetErrorString(error), cudaGetErrorName(error));
    if (error == cudaErrorMemoryAllocation)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory on the GPU: %s", self->failed);
    return limoe_fail(err, LIMOE_INTERNAL, "the GPU failed: %s: %s (%s)", self->failed,
                      cudaGetErrorString(error), cudaGetErrorName(error));
}

/* ---- life */

static void destroy(struct kernels *k) {
    struct cuda *self = (struct cuda *)k;
    if (!self)
        return;
    cuda_enter(self);
    if (self->stream)
        cudaStreamSynchronize(self->stream);
    graphs_forget(self);
    cudaFree(self->picture);
    cudaFree(self->plan_scratch);
    cudaFree(self->tile);
    cudaFree(self->start);
    staging_destroy(self);
    if (self->copies)
        cudaStreamDestroy(self->copies);
    if (self->stream)
        cudaStreamDestroy(self->stream);
    free(self);
}

static const struct kernels_ops ops = {
    .destroy = destroy,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .copy = cuda_copy,
    .pack = cuda_pack,
    .matrix_free = cuda_matrix_free,
    .upload_vector = cuda_upload_vector,
    .load_table = cuda_load_table,
    .table_free = cuda_table_free,
    .sequences = cuda_sequences,
    .begin = cuda_begin,
    .end = cuda_end,
    .patches = cuda_patches,
    .tile_rows = cuda_tile_rows,
    .embed_tokens = cuda_embed_tokens,
    .linear = cuda_linear,
    .grouped_linear = cuda_grouped_linear,
    .layernorm = cuda_layernorm,
    .attention = cuda_attention,
    .attention_kept = cuda_attention_kept,
    .router_logits = cuda_router_logits,
    .gate = cuda_gate,
    .gate_entropy = cuda_gate_entropy,
    .plan = cuda_plan,
    .dispatch = cuda_dispatch,
    .combine = cuda_combine,
    .pool = cuda_pool,
    .attention_pool = cuda_attention_pool,
    .normalize = cuda_normalize,
    .sync = sync,
    .device_memory = cuda_device_memory,
};

/* What the kernels of this build can run on: mma.sync of bfloat16 came with 8.0. */
static bool is_capable(const struct cudaDeviceProp *prop) {
    return prop->major >= 8;
}

static bool find_encode_map(struct cuda *self) {
    enum cudaDriverEntryPointQueryResult found;
    void *function = NULL;
    if (!cuda_check(self, "cuTensorMapEncodeTiled",
                    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                     cudaEnableDefault, &found)))
        return false;
    self->encode_map = (encode_tiled *)function;
    return cuda_check(self, "cuTensorMapEncodeTiled",
                      found == cudaDriverEntryPointSuccess ? cudaSuccess : cudaErrorSymbolNotFound);
}

static bool open_device(struct cuda *self) {
    return cuda_check(self, "a stream", cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking)) &&
           cuda_check(self, "a stream", cudaStreamCreateWithFlags(&self->copies, cudaStreamNonBlocking)) &&
           staging_create(self) && cuda_check(self, "the kernels", gemm_mma_prepare()) &&
           cuda_check(self, "the kernels", attention_mma_prepare()) &&
           (!self->hopper ||
            (find_encode_map(self) && cuda_check(self, "the kernels", gemm_wgmma_prepare())));
}

static enum limoe_status create(uint32_t device, enum limoe_dtype dtype, struct kernels **out,
                                struct limoe_error *err) {
    struct cudaDeviceProp prop;
    *out = NULL;
    cudaError_t error = cudaGetDeviceProperties(&prop, (int)device);
    if (!error)
        error = cudaSetDevice((int)device);
    if (error)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "device \"cuda:%u\": %s", device,
                          cudaGetErrorString(error));
    if (!is_capable(&prop))
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "device \"cuda:%u\", %s, has compute capability %d.%d; 8.0 or more is accepted",
                          device, prop.name, prop.major, prop.minor);
    struct cuda *self = calloc(1, sizeof *self);
    if (!self)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the CUDA kernels");
    const bool bf16 = dtype != LIMOE_FLOAT32;
    *self = (struct cuda){
        .base = {.ops = &ops,
                 .name = self->name,
                 .kind = KERNELS_CUDA,
                 .dtype = bf16 ? LIMOE_BFLOAT16 : LIMOE_FLOAT32,
                 .act_size = bf16 ? sizeof(uint16_t) : sizeof(float),
                 .threads = 1,
                 .step_rows = CUDA_STEP_ROWS},
        .device = (int)device,
        .bf16 = bf16,
        .hopper = prop.major == 9,
        .processors = (uint32_t)prop.multiProcessorCount,
    };
    snprintf(self->name, sizeof self->name, "cuda-sm%d%d", prop.major, prop.minor);
    if (!open_device(self)) {
        enum limoe_status status = sync(&self->base, err);
        destroy(&self->base);
        return status;
    }
    *out = &self->base;
    return LIMOE_OK;
}

static uint32_t devices(char *why, size_t size) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0)
        return (uint32_t)count;
    int driver = 0;
    cudaDriverGetVersion(&driver); /* 0: there is none */
    if (error == cudaErrorInsufficientDriver && driver == 0)
        snprintf(why, size, "no NVIDIA driver is installed");
    else if (error == cudaErrorInsufficientDriver)
        snprintf(why, size, "the NVIDIA driver is for CUDA %d.%d; %d.%d is needed", driver / 1000,
                 driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    else
        snprintf(why, size, "%s", error ? cudaGetErrorString(error) : "the driver knows of none");
    return 0;
}

__attribute__((visibility("default"))) extern const struct kernels_module limoe_kernels_module;
const struct kernels_module limoe_kernels_module = {
    .version = KERNELS_MODULE_VERSION, .create = create, .devices = devices};
