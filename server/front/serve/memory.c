/* memory.c - packed weights, adapters, rows of the trunk and something for each process, held against what may be had.
 *
 * An engine that does not fit is not refused by the system: it is killed while it loads, or others are. So it
 * is counted before.
 */
#include "server/front/serve/memory.h"

#include <stdio.h>
#include <unistd.h>

#include "base/device_name.h"
#include "base/error.h"
#include "server/front/serve/available.h"

#define MIB (UINT64_C(1) << 20)

/* Of an engine's process besides the weights: the program, a step's activations, frames. */
#define PROCESS_BYTES (64 * MIB)

/* Weights are on a GPU, or "auto" will take one: its driver is there. */
static bool on_gpu(const struct serve_options *options) {
    enum device_kind kind;
    uint32_t index;
    if (!device_name_parse(options->compute.device, &kind, &index) || kind == DEVICE_CPU)
        return false;
    return kind == DEVICE_CUDA || (options->launch.ranks == 1 && access("/dev/nvidiactl", F_OK) == 0);
}

/* Of all ranks on this host, and of adapters and the cache of their trunk, which one alone has; 0: it cannot be told. */
static uint64_t needed(const struct serve_options *options, const char *dir) {
    struct limoe_inspection *inspection = NULL;
    struct limoe_placement *placement = NULL;
    uint64_t bytes = 0;
    const struct limoe_rank_options ranks = {
        .ranks = options->launch.ranks,
        .device = "cpu",
        .dtype = options->compute.dtype,
        .load = options->compute.load_file,
        .expert_bytes = options->compute.expert_bytes,
    };
    if (limoe_inspect(dir, &inspection, NULL) == LIMOE_OK &&
        limoe_inspect_ranks(inspection, &ranks, &placement, NULL) == LIMOE_OK)
        for (uint32_t r = 0; r < placement->ranks; r++)
            bytes += placement->rank[r].dense_bytes + placement->rank[r].expert_bytes + PROCESS_BYTES;
    if (bytes && ranks.ranks == 1)
        bytes += options->adapter_memory + options->trunk_cache;
    limoe_placement_free(placement);
    limoe_inspection_free(inspection);
    return bytes;
}

static double gib(uint64_t bytes) {
    return (double)bytes / (double)(1024 * MIB);
}

static enum limoe_status refuse(const struct served *served, uint64_t needs, uint64_t before, uint64_t there,
                                const char *where, struct limoe_error *err) {
    char others[96] = "";
    if (before)
        snprintf(others, sizeof others, ", of which the models before it take %.2f GiB", gib(before));
    return limoe_fail(err, LIMOE_NO_MEMORY,
                      "model %s needs %.2f GiB of memory, and %s has %.2f GiB%s; --memory-check off "
                      "starts it all the same",
                      served->name ? served->name : served->dir, gib(needs), where, gib(there), others);
}

enum limoe_status memory_check(const struct server *server, size_t first, size_t n, struct limoe_error *err) {
    const struct serve_options *options = &server->options;
    char where[AVAILABLE_WHERE_SIZE];
    uint64_t before = 0;
    if (options->memory_check == MEMORY_CHECK_OFF || on_gpu(options) || options->launch.hostfile)
        return LIMOE_OK;
    const uint64_t there = available_memory("", where);
    for (size_t i = first; i < first + n; i++) {
        const struct served *served = &server->served[i];
        const uint64_t needs = needed(options, served->dir);
        if (needs > there || before > there - needs)
            return refuse(served, needs, before, there, where, err);
        before += needs;
    }
    return LIMOE_OK;
}
