/* isa.h - what an instruction set provides: the matrix product over packed panels, and operations on rows.
 *
 * Panels. A weight matrix W [out, in] is cut into panels of 16 output columns, each contiguous and read
 * front to back as k ascends, the last filled up with zero columns:
 *   float32   [in][16]
 *   bfloat16  [pairs][16][2], pairs = in / 2 rounded up to a multiple of 16: two k side by side, as
 *             VDPBF16PS and the AMX tiles read them; 16 pairs are one tile. Zeros beyond `in`.
 *   int8      a struct int8_panel
 * Every instruction set reads the same panels.
 *
 * These functions run on the calling thread and touch only what their arguments name.
 */
#ifndef LIMOE_KERNELS_CPU_ISA_ISA_H
#define LIMOE_KERNELS_CPU_ISA_ISA_H

#include "kernels/int8.h"
#include "kernels/kernels.h"

enum {
    PANEL = 16,      /* columns */
    K_BLOCK = 32,    /* k of one bfloat16 tile */
    INT8_GROUP = 4,  /* k side by side in an int8 panel */
    INT8_BLOCK = 64, /* k of one int8 tile; rows and panels are zero from their end to a multiple of it */
    MOST_ROWS = 96,
    LONG_K = 512,
    AHEAD = 1024, /* bytes of a panel that are fetched before their turn */
};

/* C = A B: c[r][j] = sum over k of a[r][k] * b[k][j], one chain in ascending k. */
struct product {
    const void *a;   /* [rows, k] act */
    size_t a_stride; /* elements from row to row */
    const void *b;   /* the first of `panels` panels */
    size_t b_stride; /* bytes from panel to panel */
    uint32_t rows, panels, k;
    float *c;        /* [rows, 16 * panels] */
    size_t c_stride; /* elements from row to row */
    uint32_t *tiles; /* AMX: how many rows its tiles are configured for; starts at 0 */
};

/* Of 16 output channels their scales, the sums of their weights, and the weights [k / 4][16][4], as VPDPBUSD and
 * the AMX tiles read them. */
struct int8_panel {
    float scale[PANEL];
    int32_t sum[PANEL];
    int8_t weight[];
};

/* C = A B of quantised rows and int8 panels, with the scales of both: float32, the same bits in every shape. */
struct product_int8 {
    const void *a;   /* [rows], each as quantise() wrote it */
    size_t a_stride; /* bytes from row to row */
    const struct int8_row *row;
    const void *b;   /* the first of `panels` panels */
    size_t b_stride; /* bytes from panel to panel */
    uint32_t rows, panels, k;
    float *c;        /* [rows, 16 * panels] */
    size_t c_stride; /* elements from row to row */
    uint32_t *tiles; /* as in struct product */
};

struct int8_ops {
    uint32_t spread; /* bytes that an element of a quantised row takes */
    uint32_t speed;  /* products of int8 in the time of one of float32, roughly */
    uint32_t panels; /* the panels of one register tile */
    /* q[n rounded up to INT8_BLOCK, spread] and *row from x[n]; aligned to 4. */
    void (*quantise)(const float *x, size_t n, void *q, struct int8_row *row);
    void (*product)(const struct product_int8 *p);
};

/* y = epilogue(c + bias) over [rows, columns]. */
struct epilogue {
    enum kernels_epilogue kind;
    bool bf16;
    uint32_t rows, columns;
    const float *c;
    size_t c_stride;
    const float *bias; /* [columns] or NULL */
    void *y;           /* act or float32, as `kind` says */
    size_t y_stride;   /* elements */
};

/* The weights of attention: p[r][j] = exp(scale * (score[r][j] - max score[r])), sum[r] = their sum, over the
 * length + r * longer scores of row r. */
struct exponents {
    bool bf16;
    uint32_t rows, length, longer; /* longer: 0, or 1 where each row sees one more */
    uint32_t padded;               /* p is zero beyond a row's scores up to here, a multiple of 32 */
    float scale;                   /* positive */
    const float *score;
    size_t score_stride; /* elements */
    void *p;             /* act [rows, padded] */
    float *sum;          /* [rows] */
};

/* Operations on rows. Those that take `bf16` are told what act is. */
struct row_ops {
    void (*epilogue)(const struct epilogue *e);
    void (*exponents)(const struct exponents *e);
    /* out_act and out_f32 may be NULL. */
    void (*layernorm)(const float *x, const float *weight, const float *bias, float eps, size_t width,
                      bool bf16, void *out_act, float *out_f32);
    /* out_act[n] = x / divisor */
    void (*divide)(const float *x, float divisor, size_t n, bool bf16, void *out_act);
    /* x[n] += sum over j < terms of gate[j] * y_act[j][n], the sum made first. */
    void (*combine)(const void *const *y_act, const float *gate, uint32_t terms, size_t n, bool bf16,
                    float *x);
    /* out_act[width] and out_f32[width] (either may be NULL) = the mean of `rows` rows of x, added in row
     * order. */
    void (*mean)(const float *x, size_t rows, size_t width, bool bf16, void *out_act, float *out_f32);
    float (*sum_squares)(const float *x, size_t n);
    /* x[n] = softmax(x) in place. */
    void (*softmax)(float *x, size_t n);
    /* -sum of p ln p, p = softmax(x[n]) */
    float (*softmax_entropy)(const float *x, size_t n);
    /* out[n][16] = transpose of `rows` <= 16 rows of n 32-bit words that lie `stride` bytes apart at any
     * alignment; missing rows are zero columns. */
    void (*transpose)(const void *x, size_t stride, uint32_t rows, size_t n, uint32_t *out);
};

/* A row of LayerNorm's gradient. */
struct norm_row {
    const float *x, *dy, *weight;
    float mean, scale; /* as moments() has them */
};

/* Gradients a row at a time, in float32. */
struct gradient_ops {
    /* dv[n] = dy * the slope of the activation at v; dv may be dy. */
    void (*activation)(enum kernels_epilogue kind, const float *v, const float *dy, size_t n, float *dv);
    float (*dot)(const float *a, const float *b, size_t n);
    /* y[n] += by * x */
    void (*add_scaled)(const float *x, float by, size_t n, float *y);
    /* The mean of x[n], and 1 / sqrt(its variance + eps). */
    void (*moments)(const float *x, float eps, size_t n, float *mean, float *scale);
    /* dx[n] += or = ; where it is not added to it may be dy. */
    void (*layernorm)(const struct norm_row *row, size_t n, bool add, float *dx);
    /* dp[n] = by * p * (dp - sum of p dp), in place. */
    void (*softmax)(const float *p, float by, size_t n, float *dp);
};

struct isa {
    const char *name;    /* as in LIMOE_ISA */
    const char *backend; /* as in struct kernels */
    bool fast_bf16;      /* bfloat16 is multiplied natively */
    uint32_t bf16_speed; /* products of bfloat16 in the time of one of float32, roughly */
    uint32_t panels;     /* the panels of one register tile */
    /* Rows of one product and its epilogue, whole register tiles; `long_rows` where k is above LONG_K, as a
     * product may read such panels in stretches, each for all its rows. At most MOST_ROWS. */
    uint32_t rows_at_once, long_rows_at_once;
    void (*product_f32)(const struct product *p);
    void (*product_bf16)(const struct product *p);
    void (*finish)(uint32_t *tiles); /* after a thread's last product; NULL where there is nothing to do */
    const struct row_ops *rows;
    const struct gradient_ops *gradients;
    const struct int8_ops *int8;
};

/* Where gemm.c, rows.c, gradients.c, gemm_int8.c and quantise.c are compiled for it; whether the processor has it is cpuid.c's business. AMX has a
 * bfloat16 product of its own and takes the rest from its neighbours. */
void product_f32_generic(const struct product *p);
void product_bf16_generic(const struct product *p);
extern const struct row_ops rows_generic;
extern const struct gradient_ops gradients_generic;
void quantise_generic(const float *x, size_t n, void *q, struct int8_row *row);
extern const struct int8_ops int8_generic;
#if defined(__x86_64__)
void product_f32_avx2(const struct product *p);
void product_bf16_avx2(const struct product *p);
extern const struct row_ops rows_avx2;
extern const struct gradient_ops gradients_avx2;
void quantise_avx2(const float *x, size_t n, void *q, struct int8_row *row);
extern const struct int8_ops int8_avx2;
void product_f32_avx512(const struct product *p);
void product_bf16_avx512(const struct product *p);
extern const struct row_ops rows_avx512;
extern const struct gradient_ops gradients_avx512;
void quantise_avx512(const float *x, size_t n, void *q, struct int8_row *row);
extern const struct int8_ops int8_avx512;
void quantise_avx512vnni(const float *x, size_t n, void *q, struct int8_row *row);
extern const struct int8_ops int8_avx512vnni;
void product_bf16_avx512bf16(const struct product *p);
extern const struct row_ops rows_avx512bf16;
extern const struct int8_ops int8_amx;
void product_bf16_amx(const struct product *p);
void product_finish_amx(uint32_t *tiles);
#elif defined(__aarch64__)
void product_f32_neon(const struct product *p);
void product_bf16_neon(const struct product *p);
extern const struct row_ops rows_neon;
extern const struct gradient_ops gradients_neon;
void quantise_neon(const float *x, size_t n, void *q, struct int8_row *row);
extern const struct int8_ops int8_neon;
#endif

#endif
