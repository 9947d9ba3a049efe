/* cluster.cuh - the instructions that blocks of a cluster share memory by, one function an instruction, as
 * kernels/cuda/device/ptx.cuh has the others. PTX ISA: 9.7.9.27 (tensor copies), 9.7.13.4 (barrier.cluster), 9.7.8.23
 * (mapa). For sm_90a. */
#ifndef LIMOE_BENCH_GPU_LADDER_CLUSTER_CUH
#define LIMOE_BENCH_GPU_LADDER_CLUSTER_CUH

#include "kernels/cuda/device/ptx.cuh"

#ifdef LIMOE_HOPPER

/* This block's place in its cluster. */
PTX uint32_t cluster_rank() {
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/* Waits for all threads of all blocks of the cluster. */
PTX void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

/* Arrives at the barrier that block `rank` has where this one has bar. */
PTX void barrier_arrive_at(uint64_t *bar, uint32_t rank) {
    asm volatile("{\n"
                 ".reg .b32 there;\n"
                 "mapa.shared::cluster.u32 there, %0, %1;\n"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n"
                 "}\n" ::"r"(shared_address(bar)),
                 "r"(rank)
                 : "memory");
}

/* tma_load_2d to the same place in each block whose bit is set, with its bytes counted at each one's own bar. */
PTX void tma_load_2d_to(uint16_t blocks, void *shared, const CUtensorMap *map, uint64_t *bar, int32_t c0,
                        int32_t c1) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::"
                 "cluster [%0], "
                 "[%1, {%4, %5}], [%2], %3;" ::"r"(shared_address(shared)),
                 "l"(map), "r"(shared_address(bar)), "h"(blocks), "r"(c0), "r"(c1)
                 : "memory");
}

#endif
#endif
