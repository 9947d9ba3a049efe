/* vec.h - one vector of float32 lanes, at the width the file is compiled for.
 *
 * isa/gemm.c and isa/rows.c are written once over these names and compiled once for each instruction set.
 * A row's last, short vector is loaded and stored with v_*_part: the arithmetic between is the same
 * instruction for every lane, so an element's bits cannot depend on where in a row it stands.
 *
 * GCC's and clang's vector extensions give the operators; what they lack (fused multiply-add, rounding,
 * masked access) is spelled per instruction set.
 */
#ifndef LIMOE_KERNELS_CPU_ISA_VEC_H
#define LIMOE_KERNELS_CPU_ISA_VEC_H

#include "kernels/number.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(ISA_NEON)
#include <arm_neon.h>
#endif

/* A function of this instruction set: isa_name(f) is f_avx512 where ISA is avx512. */
#define ISA_PASTE(f, isa)  f##_##isa
#define ISA_EXPAND(f, isa) ISA_PASTE(f, isa)
#define isa_name(f)        ISA_EXPAND(f, ISA)

#if defined(__AVX512F__)

enum { LANES = 16 };
typedef __m512 vf;
typedef __m512i vi;

static inline vf v_set(float v) {
    return _mm512_set1_ps(v);
}
static inline vf v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline vf v_load_part(const float *p, size_t n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}
/* The lanes from n on are `rest`. */
static inline vf v_load_part_or(const float *p, size_t n, float rest) {
    return _mm512_mask_loadu_ps(v_set(rest), (__mmask16)((1u << n) - 1u), p);
}
static inline void v_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}
static inline void v_store_part(float *p, vf v, size_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), v);
}
static inline vf v_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* NaN in b stays. */
static inline vf v_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static inline vf v_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static inline vf v_abs(vf a) {
    return _mm512_abs_ps(a);
}
static inline vf v_round(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n for integral n; saturates to 0 and infinity. */
static inline vf v_scale(vf a, vf n) {
    return _mm512_scalef_ps(a, n);
}
/* a where x is below zero, else b. */
static inline vf v_if_negative(vf x, vf a, vf b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), b, a);
}
/* a, but 0 where x < least. */
static inline vf v_zero_below(vf x, vf least, vf a) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ), a);
}
/* 16 bfloat16 to float32, exactly. */
static inline vf v_widen(__m256i b) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}
static inline vf v_load_bf16(const uint16_t *p) {
    return v_widen(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
#if defined(__AVX512BF16__)
/* VCVTNEPS2BF16 rounds to nearest even and flushes subnormals. */
static inline __m256i v_narrow(vf v) {
    return (__m256i)_mm512_cvtneps_pbh(v);
}
#else
static inline __m256i v_narrow(vf v) {
    vi u = _mm512_castps_si512(v);
    vi odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    vi r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), u, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
}
#endif
static inline void v_store_bf16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)(void *)p, v_narrow(v));
}
static inline vf v_load_bf16_part(const uint16_t *p, size_t n) {
    return v_widen(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1u), p));
}
static inline void v_store_bf16_part(uint16_t *p, vf v, size_t n) {
    _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1u), v_narrow(v));
}
/* Pairs of bfloat16 in 32-bit lanes: the element of even k lies in the lower half. */
static inline vf v_pair_even(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
static inline vf v_pair_odd(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-65536)));
}

#elif defined(__AVX2__)

enum { LANES = 8 };
typedef __m256 vf;
typedef __m256i vi;

static inline vi v_first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf v_set(float v) {
    return _mm256_set1_ps(v);
}
static inline vf v_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline vf v_load_part(const float *p, size_t n) {
    return _mm256_maskload_ps(p, v_first(n));
}
static inline vf v_load_part_or(const float *p, size_t n, float rest) {
    return _mm256_blendv_ps(v_set(rest), v_load_part(p, n), _mm256_castsi256_ps(v_first(n)));
}
static inline void v_store(float *p, vf v) {
    _mm256_storeu_ps(p, v);
}
static inline void v_store_part(float *p, vf v, size_t n) {
    _mm256_maskstore_ps(p, v_first(n), v);
}
static inline vf v_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vf v_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
static inline vf v_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
static inline vf v_abs(vf a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vf v_round(vf a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vf v_power_of_two(vi n) { /* -126 <= n <= 127 */
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
/* In two steps, so that subnormal results are reached: |n| <= 252. */
static inline vf v_scale(vf a, vf n) {
    vi whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return a * v_power_of_two(half) * v_power_of_two(_mm256_sub_epi32(whole, half));
}
static inline vf v_if_negative(vf x, vf a, vf b) {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
static inline vf v_zero_below(vf x, vf least, vf a) {
    return _mm256_and_ps(_mm256_cmp_ps(x, least, _CMP_NLT_UQ), a);
}
static inline vf v_load_bf16(const uint16_t *p) {
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(b), 16));
}
static inline void v_store_bf16(uint16_t *p, vf v) {
    vi u = _mm256_castps_si256(v);
    vi odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    vi r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    vi nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    r = _mm256_blendv_epi8(r, _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), nan);
    r = _mm256_srli_epi32(r, 16);
    __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
    _mm_storeu_si128((__m128i *)(void *)p, packed);
}
static inline vf v_load_bf16_part(const uint16_t *p, size_t n) {
    uint16_t t[LANES] = {0};
    memcpy(t, p, n * sizeof *t);
    return v_load_bf16(t);
}
static inline void v_store_bf16_part(uint16_t *p, vf v, size_t n) {
    uint16_t t[LANES];
    v_store_bf16(t, v);
    memcpy(p, t, n * sizeof *t);
}
static inline vf v_pair_even(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p), 16));
}
static inline vf v_pair_odd(const uint16_t *p) {
    vi u = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_and_si256(u, _mm256_set1_epi32(-65536)));
}

#elif defined(ISA_NEON) /* aarch64 always has it; meson.build tells the generic build apart */

enum { LANES = 4 };
typedef float32x4_t vf;
typedef int32x4_t vi;

static inline vf v_set(float v) {
    return vdupq_n_f32(v);
}
static inline vf v_load(const float *p) {
    return vld1q_f32(p);
}
/* n < LANES, here and wherever there is a part: lane by lane, since no load of NEON takes a mask. */
static inline vf v_load_part_or(const float *p, size_t n, float rest) {
    vf v = v_set(rest);
    if (n > 0)
        v = vld1q_lane_f32(p, v, 0);
    if (n > 1)
        v = vld1q_lane_f32(p + 1, v, 1);
    if (n > 2)
        v = vld1q_lane_f32(p + 2, v, 2);
    return v;
}
static inline vf v_load_part(const float *p, size_t n) {
    return v_load_part_or(p, n, 0);
}
static inline void v_store(float *p, vf v) {
    vst1q_f32(p, v);
}
static inline void v_store_part(float *p, vf v, size_t n) {
    if (n > 0)
        vst1q_lane_f32(p, v, 0);
    if (n > 1)
        vst1q_lane_f32(p + 1, v, 1);
    if (n > 2)
        vst1q_lane_f32(p + 2, v, 2);
}
static inline vf v_fma(vf a, vf b, vf c) {
    return vfmaq_f32(c, a, b);
}
/* NaN in either stays. */
static inline vf v_max(vf a, vf b) {
    return vmaxq_f32(a, b);
}
static inline vf v_min(vf a, vf b) {
    return vminq_f32(a, b);
}
static inline vf v_abs(vf a) {
    return vabsq_f32(a);
}
static inline vf v_round(vf a) {
    return vrndnq_f32(a);
}
static inline vf v_power_of_two(vi n) { /* -126 <= n <= 127 */
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
/* In two steps, so that subnormal results are reached: |n| <= 252. */
static inline vf v_scale(vf a, vf n) {
    vi whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    return a * v_power_of_two(half) * v_power_of_two(vsubq_s32(whole, half));
}
static inline vf v_if_negative(vf x, vf a, vf b) {
    return vbslq_f32(vcltzq_f32(x), a, b);
}
static inline vf v_zero_below(vf x, vf least, vf a) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a), vcltq_f32(x, least)));
}
static inline vf v_widen(uint16x4_t b) {
    return vreinterpretq_f32_u32(vshll_n_u16(b, 16));
}
/* By integers, as bf16_from_float does: the instruction for it, BFCVTN, came with Armv8.6. */
static inline uint16x4_t v_narrow(vf v) {
    uint32x4_t u = vreinterpretq_u32_f32(v), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd);
    uint32x4_t nan = vorrq_u32(u, vdupq_n_u32(0x400000));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), rounded, nan), 16);
}
static inline vf v_load_bf16(const uint16_t *p) {
    return v_widen(vld1_u16(p));
}
static inline void v_store_bf16(uint16_t *p, vf v) {
    vst1_u16(p, v_narrow(v));
}
static inline vf v_load_bf16_part(const uint16_t *p, size_t n) {
    uint16x4_t b = vdup_n_u16(0);
    if (n > 0)
        b = vld1_lane_u16(p, b, 0);
    if (n > 1)
        b = vld1_lane_u16(p + 1, b, 1);
    if (n > 2)
        b = vld1_lane_u16(p + 2, b, 2);
    return v_widen(b);
}
static inline void v_store_bf16_part(uint16_t *p, vf v, size_t n) {
    uint16x4_t b = v_narrow(v);
    if (n > 0)
        vst1_lane_u16(p, b, 0);
    if (n > 1)
        vst1_lane_u16(p + 1, b, 1);
    if (n > 2)
        vst1_lane_u16(p + 2, b, 2);
}
static inline uint32x4_t v_pairs(const uint16_t *p) {
    return vreinterpretq_u32_u16(vld1q_u16(p));
}
static inline vf v_pair_even(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshlq_n_u32(v_pairs(p), 16));
}
static inline vf v_pair_odd(const uint16_t *p) {
    return vreinterpretq_f32_u32(vandq_u32(v_pairs(p), vdupq_n_u32(0xffff0000u)));
}

#else /* any processor */

enum { LANES = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));

static inline vf v_set(float v) {
    return (vf){v, v, v, v};
}
static inline vf v_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline vf v_load_part_or(const float *p, size_t n, float rest) {
    vf v = v_set(rest);
    memcpy(&v, p, n * sizeof *p);
    return v;
}
static inline vf v_load_part(const float *p, size_t n) {
    return v_load_part_or(p, n, 0);
}
static inline void v_store(float *p, vf v) {
    memcpy(p, &v, sizeof v);
}
static inline void v_store_part(float *p, vf v, size_t n) {
    memcpy(p, &v, n * sizeof *p);
}
/* Fused where the processor fuses, as aarch64 does; a library call for each lane would cost more than the
 * rounding it saves. */
static inline vf v_fma(vf a, vf b, vf c) {
#if defined(__FP_FAST_FMAF)
    for (int i = 0; i < LANES; i++)
        c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}
static inline vf v_choose(vi mask, vf a, vf b) {
    vi chosen = ((vi)a & mask) | ((vi)b & ~mask);
    return (vf)chosen;
}
static inline vf v_max(vf a, vf b) {
    return v_choose(a > b, a, b);
}
static inline vf v_min(vf a, vf b) {
    return v_choose(a < b, a, b);
}
static inline vf v_abs(vf a) {
    return (vf)((vi)a & 0x7fffffff);
}
/* For |a| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction. */
static inline vf v_round(vf a) {
    return (a + 0x1.8p23f) - 0x1.8p23f;
}
static inline vf v_scale(vf a, vf n) {
    vi whole = __builtin_convertvector(n, vi), half = whole >> 1;
    return a * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
}
static inline vf v_if_negative(vf x, vf a, vf b) {
    return v_choose(x < 0.0f, a, b);
}
static inline vf v_zero_below(vf x, vf least, vf a) {
    return (vf)((vi)a & ~(x < least));
}
static inline vf v_load_bf16_part(const uint16_t *p, size_t n) {
    vf v = {0, 0, 0, 0};
    for (size_t i = 0; i < n; i++)
        v[i] = bf16_to_float(p[i]);
    return v;
}
static inline vf v_load_bf16(const uint16_t *p) {
    return v_load_bf16_part(p, LANES);
}
static inline void v_store_bf16_part(uint16_t *p, vf v, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = bf16_from_float(v[i]);
}
static inline void v_store_bf16(uint16_t *p, vf v) {
    v_store_bf16_part(p, v, LANES);
}
static inline vi v_pairs(const uint16_t *p) {
    vi u;
    memcpy(&u, p, sizeof u);
    return u;
}
static inline vf v_pair_even(const uint16_t *p) {
    return (vf)(v_pairs(p) << 16);
}
static inline vf v_pair_odd(const uint16_t *p) {
    return (vf)(v_pairs(p) & -65536);
}

#endif

static inline vf v_zero(void) {
    return v_set(0);
}

/* The sum and the greatest of the lanes, halves folded on halves. */
#if defined(__AVX2__)
static inline float v_fold_sum(__m128 v) {
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}
static inline float v_fold_greatest(__m128 v) {
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
}
#if defined(__AVX512F__)
static inline __m256 v_half_sum(vf v) {
    return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}
static inline __m256 v_half_greatest(vf v) {
    return _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}
#else
static inline __m256 v_half_sum(vf v) {
    return v;
}
static inline __m256 v_half_greatest(vf v) {
    return v;
}
#endif
static inline float v_sum(vf v) {
    __m256 h = v_half_sum(v);
    return v_fold_sum(_mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}
static inline float v_greatest(vf v) {
    __m256 h = v_half_greatest(v);
    return v_fold_greatest(_mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}
#else
static inline float v_sum(vf v) {
    return (v[0] + v[2]) + (v[1] + v[3]);
}
static inline float v_greatest(vf v) {
    float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
    return a > b ? a : b;
}
#endif

/* 2^x: x = n + r with |r| <= 1/2, 2^r by a minimax polynomial (relative error 2e-9). Below -126 it is 0:
 * subnormal numbers, of no use to a softmax, cost a hundred times a normal one. From 128 on it is infinite.
 */
static inline vf v_exp2_within(vf bounded) {
    vf n = v_round(bounded), r = bounded - n, p = v_set(0x1.41f97ep-13f);
    p = v_fma(p, r, v_set(0x1.5f41ccp-10f));
    p = v_fma(p, r, v_set(0x1.3b2d58p-7f));
    p = v_fma(p, r, v_set(0x1.c6aee2p-5f));
    p = v_fma(p, r, v_set(0x1.ebfbdcp-3f));
    p = v_fma(p, r, v_set(0x1.62e43p-1f));
    return v_scale(v_fma(p, r, v_set(1.0f)), n);
}
static inline vf v_exp2(vf x) {
    return v_zero_below(x, v_set(-126.0f), v_exp2_within(v_max(v_set(-126.0f), x)));
}
/* v / (1 + 2^x), for any x. */
static inline vf v_over_1_plus_exp2(vf v, vf x) {
    return v / (v_set(1.0f) + v_exp2_within(v_min(v_set(200.0f), v_max(v_set(-126.0f), x))));
}

#endif
