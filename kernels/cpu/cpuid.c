/* cpuid.c - chooses an instruction set at run time.
 *
 * A processor's word is not enough: the system must save the registers too (XGETBV), and Linux lends the AMX
 * tiles, 8 KiB a thread, only to processes that ask (arch_prctl, Documentation/arch/x86/xstate.rst).
 */
#include "kernels/cpu/cpuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const struct isa known[] = {
    {.name = "generic",
     .backend = "cpu-generic",
     .bf16_speed = 1,
     .panels = 1,
     .rows_at_once = 48,
     .long_rows_at_once = 96,
     .product_f32 = product_f32_generic,
     .product_bf16 = product_bf16_generic,
     .rows = &rows_generic,
     .gradients = &gradients_generic,
     .int8 = &int8_generic},
#if defined(__x86_64__)
    {.name = "avx2",
     .backend = "cpu-avx2",
     .bf16_speed = 1,
     .panels = 1,
     .rows_at_once = 48,
     .long_rows_at_once = 96,
     .product_f32 = product_f32_avx2,
     .product_bf16 = product_bf16_avx2,
     .rows = &rows_avx2,
     .gradients = &gradients_avx2,
     .int8 = &int8_avx2},
    {.name = "avx512",
     .backend = "cpu-avx512",
     .bf16_speed = 1,
     .panels = 3,
     .rows_at_once = 48,
     .long_rows_at_once = 96,
     .product_f32 = product_f32_avx512,
     .product_bf16 = product_bf16_avx512,
     .rows = &rows_avx512,
     .gradients = &gradients_avx512,
     .int8 = &int8_avx512},
    {.name = "avx512vnni",
     .backend = "cpu-avx512vnni",
     .bf16_speed = 1,
     .panels = 3,
     .rows_at_once = 48,
     .long_rows_at_once = 96,
     .product_f32 = product_f32_avx512,
     .product_bf16 = product_bf16_avx512,
     .rows = &rows_avx512,
     .gradients = &gradients_avx512,
     .int8 = &int8_avx512vnni},
    {.name = "avx512bf16",
     .backend = "cpu-avx512bf16",
     .bf16_speed = 2,
     .fast_bf16 = true,
     .panels = 3,
     .rows_at_once = 48,
     .long_rows_at_once = 96,
     .product_f32 = product_f32_avx512,
     .product_bf16 = product_bf16_avx512bf16,
     .rows = &rows_avx512bf16,
     .gradients = &gradients_avx512,
     .int8 = &int8_avx512vnni},
    {.name = "amx",
     .backend = "cpu-amx",
     .bf16_speed = 8,
     .fast_bf16 = true,
     .panels = 2,
     .rows_at_once = 32,
     .long_rows_at_once = 64,
     .product_f32 = product_f32_avx512,
     .product_bf16 = product_bf16_amx,
     .finish = product_finish_amx,
     .rows = &rows_avx512bf16,
     .gradients = &gradients_avx512,
     .int8 = &int8_amx},
#elif defined(__aarch64__)
    {.name = "neon",
     .backend = "cpu-neon",
     .bf16_speed = 1,
     .panels = 1,
     .rows_at_once = 40,
     .long_rows_at_once = 80,
     .product_f32 = product_f32_neon,
     .product_bf16 = product_bf16_neon,
     .rows = &rows_neon,
     .gradients = &gradients_neon,
     .int8 = &int8_neon},
#endif
};

enum { KNOWN = sizeof known / sizeof known[0] };

const struct isa *isa_at(size_t i) {
    return i < KNOWN ? &known[i] : NULL;
}

#if defined(__x86_64__)

struct features {
    bool avx2, avx512, avx512vnni, avx512bf16, amx;
};

static bool all(uint64_t word, uint64_t bits) {
    return (word & bits) == bits;
}

static uint64_t saved_registers(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool ask_for_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static struct features detect(void) {
    enum { YMM = 0x6, ZMM = 0xe6, TILES = 0x60000 }; /* XCR0: SSE and AVX; opmask and ZMM too; AMX */
    struct features f = {0};
    unsigned a, b, c, d, b7, c7, d7, a71, rest;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !all(c, bit_OSXSAVE | bit_AVX | bit_FMA) ||
        !__get_cpuid_count(7, 0, &rest, &b7, &c7, &d7) || !__get_cpuid_count(7, 1, &a71, &rest, &rest, &rest))
        return f;
    uint64_t saved = saved_registers();
    f.avx2 = all(saved, YMM) && all(b7, bit_AVX2);
    f.avx512 = f.avx2 && all(saved, ZMM) && all(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ);
    f.avx512vnni = f.avx512 && all(c7, 1u << 11);
    f.avx512bf16 = f.avx512vnni && all(a71, 1u << 5); /* no processor has it without VNNI */
    f.amx = f.avx512bf16 && all(saved, TILES) && all(d7, 1u << 25 | 1u << 24 | 1u << 22) && ask_for_tiles();
    return f;
}

bool isa_present(const struct isa *isa) {
    struct features f = detect();
    const bool present[KNOWN] = {true, f.avx2, f.avx512, f.avx512vnni, f.avx512bf16, f.amx};
    return present[isa - known];
}

#else

/* What is known here, every processor of the kind has: Linux runs on no aarch64 without NEON. */
bool isa_present(const struct isa *isa) {
    (void)isa;
    return true;
}

#endif

enum limoe_status isa_choose(const struct isa **out, struct limoe_error *err) {
    const char *name = getenv("LIMOE_ISA");
    char present[128] = "";
    *out = NULL;
    for (size_t i = 0; i < KNOWN; i++) {
        if (!isa_present(&known[i]))
            continue;
        size_t used = strlen(present);
        snprintf(present + used, sizeof present - used, "%s%s", used ? ", " : "", known[i].name);
        if (!name || !*name || !strcmp(name, known[i].name))
            *out = &known[i];
    }
    if (*out)
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_UNSUPPORTED, "LIMOE_ISA is \"%.32s\"; this machine has %s", name, present);
}
