/* backend.c - which backend a device's name stands for. An instance belongs to who asked for it; the module
 * of the CUDA backend stays loaded once it is. No state, any thread.
 */
#include "base/device_name.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/module.h"
#include "kernels/kernels.h"

/* How many GPUs there are. With 0, *err says why: LIMOE_NOT_FOUND, no module; LIMOE_UNSUPPORTED, none that
 * the module finds. */
static uint32_t count(const struct kernels_module **module, struct limoe_error *err) {
    struct limoe_error unloaded;
    char why[400] = "";
    const void *found;
    if (module_load("cuda", KERNELS_MODULE, KERNELS_MODULE_VERSION, &found, &unloaded)) {
        limoe_fail(err, LIMOE_NOT_FOUND, "no module for GPUs: %.450s", unloaded.message);
        return 0;
    }
    *module = found;
    const uint32_t gpus = (*module)->devices(why, sizeof why);
    if (!gpus)
        limoe_fail(err, LIMOE_UNSUPPORTED, "%s", why);
    return gpus;
}

static enum limoe_status unknown(const char *device, struct limoe_error *err) {
    return limoe_fail(err, LIMOE_INVALID, "device \"%.60s\"; accepted: " DEVICE_ACCEPTED, device);
}

static enum limoe_status create_cuda(const struct kernels_module *module, uint32_t index, uint32_t gpus,
                                     enum limoe_dtype dtype, struct kernels **out, struct limoe_error *err) {
    enum limoe_status status = kernels_dtype(KERNELS_CUDA, dtype, &dtype, err);
    if (status)
        return status;
    if (index >= gpus)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "device \"cuda:%u\"; this machine has %u GPU%s, cuda:0 to cuda:%u", index, gpus,
                          gpus == 1 ? "" : "s", gpus - 1);
    return module->create(index, dtype, out, err);
}

enum limoe_status kernels_create(const char *device, enum limoe_dtype dtype, uint32_t threads,
                                 struct kernels **out, struct limoe_error *err) {
    const struct kernels_module *module;
    struct limoe_error why;
    enum device_kind kind;
    uint32_t index, gpus;
    *out = NULL;
    if (!device_name_parse(device, &kind, &index))
        return unknown(device, err);
    if (kind == DEVICE_CPU)
        return kernels_cpu_create(dtype, threads, out, err);
    gpus = count(&module, &why);
    if (!gpus && kind == DEVICE_AUTO)
        return kernels_cpu_create(dtype, threads, out, err);
    if (!gpus)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          why.status == LIMOE_NOT_FOUND ? "%s" : "no GPU was found: %s", why.message);
    return create_cuda(module, index, gpus, dtype, out, err);
}

enum limoe_status kernels_kind_of(const char *device, enum kernels_kind *kind, struct limoe_error *err) {
    enum device_kind asked;
    uint32_t index;
    if (!device_name_parse(device, &asked, &index))
        return unknown(device, err);
    if (asked == DEVICE_AUTO)
        asked = limoe_gpus(NULL, 0) ? DEVICE_CUDA : DEVICE_CPU;
    *kind = asked == DEVICE_CUDA ? KERNELS_CUDA : KERNELS_CPU;
    return LIMOE_OK;
}

uint32_t limoe_gpus(char *why, size_t size) {
    const struct kernels_module *module;
    struct limoe_error err = {.message = ""};
    const uint32_t gpus = count(&module, &err);
    if (why)
        snprintf(why, size, "%s", err.message);
    return gpus;
}

enum limoe_status kernels_dtype(enum kernels_kind kind, enum limoe_dtype asked, enum limoe_dtype *out,
                                struct limoe_error *err) {
    if (kind == KERNELS_CPU)
        return kernels_cpu_dtype(asked, out, err);
    if (asked == LIMOE_INT8)
        return limoe_fail(
            err, LIMOE_UNSUPPORTED,
            "dtype int8 is computed on CPUs, device \"cpu\"; accepted on a GPU: auto, float32, bfloat16");
    *out = asked == LIMOE_DTYPE_AUTO ? LIMOE_BFLOAT16 : asked;
    return LIMOE_OK;
}

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

size_t kernels_packed_bytes(enum kernels_kind kind, enum limoe_dtype dtype, uint32_t out, uint32_t in) {
    if (kind == KERNELS_CPU)
        return kernels_cpu_packed_bytes(dtype, out, in);
    return round_up(out, KERNELS_CUDA_OUT) * round_up(in, KERNELS_CUDA_IN) *
           (dtype == LIMOE_BFLOAT16 ? sizeof(uint16_t) : sizeof(float));
}
