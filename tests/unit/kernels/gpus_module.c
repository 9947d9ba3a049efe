/* gpus_module.c - limoe-cuda.so for a machine whose GPUs are made up: as many as LIMOE_TEST_GPUS says, each
 * of which computes as the reference does. What is tested with it is who loads it, and what becomes of what
 * it says. */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "kernels/kernels.h"

static uint32_t devices(char *why, size_t size) {
    const char *text = getenv("LIMOE_TEST_GPUS");
    const uint32_t gpus = text ? (uint32_t)strtoul(text, NULL, 10) : 0;
    if (!gpus)
        snprintf(why, size, "the driver counts 0");
    return gpus;
}

static bool device_memory(struct kernels *k, uint64_t *used, uint64_t *total) {
    (void)k;
    *used = 3000;
    *total = 8000;
    return true;
}

static enum limoe_status create(uint32_t device, enum limoe_dtype dtype, struct kernels **out,
                                struct limoe_error *err) {
    static const char *const name[] = {"made-up-0", "made-up-1"};
    static struct kernels_ops ops;
    if (dtype == LIMOE_DTYPE_AUTO)
        return limoe_fail(err, LIMOE_INTERNAL, "the dtype was left open");
    enum limoe_status status = kernels_reference_create(dtype, out, err);
    if (status)
        return status;
    (*out)->name = name[device % 2];
    (*out)->kind = KERNELS_CUDA;
    ops = *(*out)->ops;
    ops.device_memory = device_memory;
    (*out)->ops = &ops;
    return LIMOE_OK;
}

extern const struct kernels_module limoe_kernels_module;
const struct kernels_module limoe_kernels_module = {
    .version = KERNELS_MODULE_VERSION, .create = create, .devices = devices};
