/* ptx.cuh - the instructions that C++ has no word for, one function an instruction.
 *
 * Kernels use these and no assembly of their own, so that tests can run the same kernels on a processor, with
 * another ptx.cuh in this one's place. Facts are of the PTX ISA manual, chapters 9.7.9 (copies), 9.7.13
 * (barriers), 9.7.14 (mma) and 9.7.15 (wgmma).
 *
 * The functions below "Hopper" exist only where sm_90a is compiled for: LIMOE_HOPPER says so.
 */
#ifndef LIMOE_KERNELS_CUDA_DEVICE_PTX_CUH
#define LIMOE_KERNELS_CUDA_DEVICE_PTX_CUH

#include <cuda.h>
#include <cuda_runtime.h>
#include <stdint.h>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define LIMOE_HOPPER 1
#endif

#define PTX __device__ __forceinline__

/* Two floats as bfloat16, rounded to nearest, ties to even; lo in the low half. */
PTX uint32_t bf16_pack(float lo, float hi) {
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(hi), "f"(lo));
    return packed;
}

PTX uint32_t shared_address(const void *shared) {
    return (uint32_t)__cvta_generic_to_shared(shared);
}

/* ---- copies to shared memory that run beside the thread */

/* So many bytes; zeros, and nothing is read, where not valid. */
PTX void cp_async_16(void *shared, const void *global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 16 : 0)
                 : "memory");
}

PTX void cp_async_8(void *shared, const void *global, bool valid) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 8 : 0)
                 : "memory");
}

PTX void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* All but the N latest groups of this thread are done. */
template <int N> PTX void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* ---- products of a warp */

/* Four 8 x 8 matrices of 16-bit elements; lanes 8i to 8i + 7 name the rows of matrix i. */
PTX void ldmatrix_x4(uint32_t r[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

PTX void ldmatrix_x4_trans(uint32_t r[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* d[16, 8] += a[16, 16] b[16, 8], bfloat16 to float32. */
PTX void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#ifdef LIMOE_HOPPER

/* ---- Hopper: barriers in shared memory that count threads and bytes */

PTX void barrier_init(uint64_t *bar, uint32_t count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count) : "memory");
}

/* Makes initialised barriers known to the copy engine, too. */
PTX void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

PTX void barrier_arrive(uint64_t *bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory");
}

/* Arrives, and the phase waits for so many bytes more. */
PTX void barrier_arrive_expect(uint64_t *bar, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bar)),
                 "r"(bytes)
                 : "memory");
}

/* Returns once the phase of that parity is complete. */
PTX void barrier_wait(uint64_t *bar, uint32_t parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}\n" ::"r"(shared_address(bar)),
                 "r"(parity)
                 : "memory");
}

/* ---- Hopper: the tensor memory accelerator */

/* A box of the map at (c0, c1 …), the innermost coordinate first, to shared memory; its bytes count at bar. */
PTX void tma_load_2d(void *shared, const CUtensorMap *map, uint64_t *bar, int32_t c0, int32_t c1) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
        "%4}], [%2];" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(bar)), "r"(c0), "r"(c1)
        : "memory");
}

PTX void tma_load_3d(void *shared, const CUtensorMap *map, uint64_t *bar, int32_t c0, int32_t c1,
                     int32_t c2) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
        "%4, %5}], [%2];" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(bar)), "r"(c0), "r"(c1), "r"(c2)
        : "memory");
}

PTX void tma_prefetch(const CUtensorMap *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* ---- Hopper: products of a warpgroup */

/* A tile in shared memory whose rows are 64 bfloat16 (128 bytes) along k, with the 128-byte swizzle; groups of
 * 8 rows are 1,024 bytes apart. The start moves by 32 bytes for each 16 of k within the 64. Fields: PTX ISA,
 * "matrix descriptor": address, leading and stride offsets in units of 16 bytes, layout type 1 at bit 62. */
PTX uint64_t wgmma_descriptor(const void *shared) {
    const uint64_t address = (shared_address(shared) & 0x3ffff) >> 4;
    return address | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

PTX void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

PTX void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* All but the N latest groups of this warpgroup are done. */
template <int N> PTX void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/* d[64, N] += a[64, 16] b[N, 16]^T, both in shared memory, bfloat16 to float32. Lane l of warp w has, in
 * d[(n / 8) * 4 + 2 i + c], row 16 w + l / 4 + 8 i, column n + 2 (l % 4) + c. */
template <int N> PTX void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b);

#define D4(i)  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define D8(i)  D4(i), D4(i + 4)
#define D16(i) D8(i), D8(i + 8)
#define D32(i) D16(i), D16(i + 16)
#define D64(i) D32(i), D32(i + 32)
/* Operands are numbered: N / 2 accumulators, then a, b and whether to add. */
#define WGMMA(N, REGISTERS, A, B, ADD, ...)                                                                  \
    template <> PTX void wgmma_bf16<N>(float(&d)[N / 2], uint64_t a, uint64_t b) {                           \
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " ADD ", 0;\n"                                    \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" REGISTERS "}, " A ", " B   \
                     ", add, 1, 1, 0, 0;\n}\n"                                                               \
                     : __VA_ARGS__                                                                           \
                     : "l"(a), "l"(b), "r"(1));                                                              \
    }

#define R8(t)                                                                                                \
    "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, %" #t "7, "                       \
    "%" #t "8, %" #t "9"
#define R0_7   "%0, %1, %2, %3, %4, %5, %6, %7"
#define R0_9   R0_7 ", %8, %9"
#define R10_15 "%10, %11, %12, %13, %14, %15"
#define R0_31  R0_9 ", " R8(1) ", " R8(2) ", %30, %31"
#define R0_63  R0_9 ", " R8(1) ", " R8(2) ", " R8(3) ", " R8(4) ", " R8(5) ", %60, %61, %62, %63"
#define R0_127                                                                                               \
    R0_9 ", " R8(1) ", " R8(2) ", " R8(3) ", " R8(4) ", " R8(5) ", " R8(6) ", " R8(7) ", " R8(8) ", " R8(    \
        9) ", " R8(10) ", " R8(11) ", %120, %121, %122, %123, %124, %125, %126, %127"

WGMMA(16, R0_7, "%8", "%9", "%10", D8(0))
WGMMA(32, R0_9 ", " R10_15, "%16", "%17", "%18", D16(0))
WGMMA(64, R0_31, "%32", "%33", "%34", D32(0))
WGMMA(128, R0_63, "%64", "%65", "%66", D64(0))
WGMMA(256, R0_127, "%128", "%129", "%130", D64(0), D64(64))

#undef R0_127
#undef R0_63
#undef R0_31
#undef R10_15
#undef R0_9
#undef R0_7
#undef R8
#undef WGMMA
#undef D64
#undef D32
#undef D16
#undef D8
#undef D4

/* Registers of each thread of the warpgroup, a multiple of 8: gives up those over N, or waits for N. */
template <int N> PTX void registers_give() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N> PTX void registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

#endif /* LIMOE_HOPPER */
#endif
