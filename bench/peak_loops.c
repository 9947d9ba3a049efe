/* peak_loops.c - chains of products on registers, in assembler, so that no compiler shortens them.
 *
 * A round is one product into each of the accumulators that a set has registers for. What is multiplied is small
 * and not zero, as data is: a multiplier of zeros draws less power, and might be clocked higher. Sums grow too
 * slowly to overflow within a measurement. Registers beyond the first sixteen are not named as clobbered: code
 * compiled for the base instruction set knows none of them.
 */
#include "bench/peak_loops.h"

#include <string.h>

static bool always(void) {
    return true;
}

#if defined(__x86_64__)
#include <cpuid.h>

#define SIXTEEN                                                                                              \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",        \
        "xmm12", "xmm13", "xmm14", "xmm15"
#define UP_TO_11 "0,1,2,3,4,5,6,7,8,9,10,11"
#define UP_TO_27 UP_TO_11 ",12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27"

/* Defines NAME(rounds, …): `before` once, then a round at a time `step` for each of the registers, \r. */
#define LOOP(name, before, registers, step, after)                                                           \
    static void name(uint64_t rounds, const void *memory, size_t size) {                                     \
        (void)memory, (void)size;                                                                            \
        __asm__ volatile(before "\n1:\n.irp r," registers "\n" step "\n.endr\ndec %[rounds]\njnz 1b\n" after \
                         : [rounds] "+r"(rounds)                                                             \
                         : [a] "r"(factors), [tiles] "r"(&tiles)                                             \
                         : SIXTEEN, "memory", "cc");                                                         \
    }

/* Read as any dtype: float32 about 0.004, bfloat16 the same, int8 from 0 to 0x3b. */
static const uint32_t factors[16] = {0x3b803b80, 0x3b813b81, 0x3b823b82, 0x3b833b83, 0x3b843b84, 0x3b853b85,
                                     0x3b863b86, 0x3b873b87, 0x3b803b80, 0x3b813b81, 0x3b823b82, 0x3b833b83,
                                     0x3b843b84, 0x3b853b85, 0x3b863b86, 0x3b873b87};

/* LDTILECFG's operand: eight tiles of 16 rows of 64 bytes. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tiles = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

LOOP(sse_float, "movups (%[a]), %%xmm12\nmovups (%[a]), %%xmm13", UP_TO_11,
     "movaps %%xmm12, %%xmm14\nmulps %%xmm13, %%xmm14\naddps %%xmm14, %%xmm\\r", "")
LOOP(sse_int, "movups (%[a]), %%xmm12\nmovups (%[a]), %%xmm13", UP_TO_11,
     "movaps %%xmm12, %%xmm14\npmaddwd %%xmm13, %%xmm14\npaddd %%xmm14, %%xmm\\r", "")
LOOP(avx2_float, "vmovups (%[a]), %%ymm12\nvmovups (%[a]), %%ymm13", UP_TO_11,
     "vfmadd231ps %%ymm12, %%ymm13, %%ymm\\r", "vzeroupper")
LOOP(avx2_words, "vmovups (%[a]), %%ymm12\nvmovups (%[a]), %%ymm13", UP_TO_11,
     "vpmaddwd %%ymm12, %%ymm13, %%ymm14\nvpaddd %%ymm14, %%ymm\\r, %%ymm\\r", "vzeroupper")
LOOP(avx2_bytes, "vmovups (%[a]), %%ymm12\nvmovups (%[a]), %%ymm13", UP_TO_11,
     "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\nvpmaddwd %%ymm12, %%ymm14, %%ymm15\n"
     "vpaddd %%ymm15, %%ymm\\r, %%ymm\\r",
     "vzeroupper")
LOOP(avx512_float, "vmovups (%[a]), %%zmm28\nvmovups (%[a]), %%zmm29", UP_TO_27,
     "vfmadd231ps %%zmm28, %%zmm29, %%zmm\\r", "vzeroupper")
LOOP(avx512_bf16, "vmovups (%[a]), %%zmm28\nvmovups (%[a]), %%zmm29", UP_TO_27,
     "vdpbf16ps %%zmm28, %%zmm29, %%zmm\\r", "vzeroupper")
LOOP(avx512_words, "vmovups (%[a]), %%zmm28\nvmovups (%[a]), %%zmm29", UP_TO_27,
     "vpmaddwd %%zmm28, %%zmm29, %%zmm30\nvpaddd %%zmm30, %%zmm\\r, %%zmm\\r", "vzeroupper")
LOOP(avx512_vnni, "vmovups (%[a]), %%zmm28\nvmovups (%[a]), %%zmm29", UP_TO_27,
     "vpdpbusd %%zmm28, %%zmm29, %%zmm\\r", "vzeroupper")
/* Each factor's tile has one row of `factors` sixteen times: the stride is 0. */
#define LOAD_TILES                                                                                           \
    "ldtilecfg (%[tiles])\nxorl %%eax, %%eax\ntilezero %%tmm0\ntilezero %%tmm1\ntilezero %%tmm2\n"           \
    "tilezero %%tmm3\ntileloadd (%[a],%%rax), %%tmm4\ntileloadd (%[a],%%rax), %%tmm5"
#define TILE_LOOP(name, step)                                                                                \
    static void name(uint64_t rounds, const void *memory, size_t size) {                                     \
        (void)memory, (void)size;                                                                            \
        __asm__ volatile(LOAD_TILES "\n1:\n.irp r,0,1,2,3\n" step                                            \
                                    "\n.endr\ndec %[rounds]\njnz 1b\ntilerelease"                            \
                         : [rounds] "+r"(rounds)                                                             \
                         : [a] "r"(factors), [tiles] "r"(&tiles)                                             \
                         : "rax", "memory", "cc");                                                           \
    }
TILE_LOOP(amx_bf16, "tdpbf16ps %%tmm4, %%tmm5, %%tmm\\r")
TILE_LOOP(amx_int8, "tdpbusd %%tmm4, %%tmm5, %%tmm\\r")

/* Leaf 7 of CPUID, where the sets themselves do not ask for it. */
static bool has_vnni(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && c & 1u << 11;
}

static bool has_amx_int8(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & 1u << 25;
}

enum { NARROW = 12, WIDE = 28, TILES = 4 }; /* accumulators of a round */
#define OF_512 " avx512 avx512vnni avx512bf16 amx "

static const struct peak_loop loops[] = {
    {" generic ", " float32 bfloat16 ", "mulps, addps", NARROW * 8, sse_float, always},
    {" generic ", " int8 ", "pmaddwd, paddd", NARROW * 16, sse_int, always},
    {" avx2 ", " float32 bfloat16 ", "vfmadd231ps ymm", NARROW * 16, avx2_float, always},
    {" avx2 ", " int8 ", "vpmaddwd ymm, vpaddd", NARROW * 32, avx2_words, always},
    {" avx2 ", " int8 ", "vpmaddubsw ymm, vpmaddwd, vpaddd", NARROW * 64, avx2_bytes, always},
    {OF_512, " float32 ", "vfmadd231ps zmm", WIDE * 32, avx512_float, always},
    {" avx512 avx512vnni ", " bfloat16 ", "vfmadd231ps zmm", WIDE * 32, avx512_float, always},
    {" avx512bf16 amx ", " bfloat16 ", "vdpbf16ps zmm", WIDE * 64, avx512_bf16, always},
    {OF_512, " int8 ", "vpmaddwd zmm, vpaddd", WIDE * 64, avx512_words, always},
    {" avx512vnni avx512bf16 amx ", " int8 ", "vpdpbusd zmm", WIDE * 128, avx512_vnni, has_vnni},
    {" amx ", " bfloat16 ", "tdpbf16ps", TILES * 16384, amx_bf16, always},
    {" amx ", " int8 ", "tdpbusd", TILES * 32768, amx_int8, has_amx_int8},
};

#elif defined(__aarch64__)
#include <sys/auxv.h>

static const float factors[4] = {0.004f, 0.005f, 0.006f, 0.007f};

#define LOOP(name, step)                                                                                     \
    static void name(uint64_t rounds, const void *memory, size_t size) {                                     \
        (void)memory, (void)size;                                                                            \
        __asm__ volatile(".arch armv8.2-a+dotprod\nld1 {v30.4s}, [%[a]]\nld1 {v31.4s}, [%[a]]\n1:\n"         \
                         ".irp r,0,1,2,3,4,5,6,7,16,17,18,19,20,21,22,23,24,25,26,27\n" step "\n.endr\n"     \
                         "subs %[rounds], %[rounds], #1\nb.ne 1b"                                            \
                         : [rounds] "+r"(rounds)                                                             \
                         : [a] "r"(factors)                                                                  \
                         : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19",       \
                           "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v30", "v31", "cc");      \
    }
LOOP(neon_float, "fmla v\\r\\().4s, v30.4s, v31.4s")
LOOP(neon_words, "smlal v\\r\\().4s, v30.4h, v31.4h")
LOOP(neon_bytes, "sdot v\\r\\().4s, v30.16b, v31.16b")

static bool has_dotprod(void) {
    return getauxval(AT_HWCAP) & 1u << 20; /* HWCAP_ASIMDDP */
}

enum { ACCUMULATORS = 20 };

static const struct peak_loop loops[] = {
    {" generic neon ", " float32 bfloat16 ", "fmla v.4s", ACCUMULATORS * 8, neon_float, always},
    {" generic neon ", " int8 ", "smlal v.4s", ACCUMULATORS * 8, neon_words, always},
    {" generic neon ", " int8 ", "sdot v.4s", ACCUMULATORS * 32, neon_bytes, has_dotprod},
};

#else

/* Sixteen chains of x = x * 0.999 + 0.001 by the compiler's own instructions. */
static void plain_float(uint64_t rounds, const void *memory, size_t size) {
    (void)memory, (void)size;
    float x[16] = {0};
    for (; rounds; rounds--)
        for (int i = 0; i < 16; i++)
            x[i] = x[i] * 0.999f + 0.001f;
    __asm__ volatile("" ::"r"(&x) : "memory");
}

static const struct peak_loop loops[] = {
    {" generic ", " float32 bfloat16 ", "the compiler's", 32, plain_float, always},
};

#endif

const struct peak_loop *peak_loop_at(size_t i) {
    return i < sizeof loops / sizeof *loops ? &loops[i] : NULL;
}

static bool has_word(const char *words, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += length)
        if (at[-1] == ' ' && at[length] == ' ')
            return true;
    return false;
}

bool peak_loop_is_of(const struct peak_loop *loop, const char *isa, const char *dtype) {
    return has_word(loop->isas, isa) && has_word(loop->dtypes, dtype);
}
