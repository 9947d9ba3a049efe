/* mma.cpp - ldmatrix and mma.sync.m16n8k16 over a warp, with the register layouts that PTX documents. */
#include "tests/emulator/engine.h"

namespace emulator {

static float bf16(uint32_t pair, unsigned half) {
    return __uint_as_float(half ? pair & 0xffff0000u : pair << 16);
}

/* ---- ldmatrix: 8 x 8 matrices of 16 bits, a row of 16 bytes from each of 8 lanes */

struct load_operand {
    uint32_t *r;
    const unsigned char *row;
    unsigned matrices;
    bool transposed;
};

static void load_matrices(void *const *lanes) {
    const load_operand first = *(const load_operand *)lanes[0];
    uint16_t m[4][8][8];
    for (unsigned l = 0; l < 8 * first.matrices; l++) {
        const unsigned char *row = ((const load_operand *)lanes[l])->row;
        check_shared(row, 16, 16, "ldmatrix");
        memcpy(m[l / 8][l % 8], row, 16);
    }
    for (unsigned l = 0; l < warp_lanes; l++)
        for (unsigned i = 0; i < first.matrices; i++) {
            const unsigned r = l / 4, c = 2 * (l % 4);
            const uint32_t low = first.transposed ? m[i][c][r] : m[i][r][c];
            const uint32_t high = first.transposed ? m[i][c + 1][r] : m[i][r][c + 1];
            ((const load_operand *)lanes[l])->r[i] = low | high << 16;
        }
}

void ldmatrix(uint32_t *r, unsigned matrices, bool transposed, const void *row) {
    static const char *const name[2][2] = {{"ldmatrix.x2", "ldmatrix.x2.trans"},
                                           {"ldmatrix.x4", "ldmatrix.x4.trans"}};
    load_operand self = {r, (const unsigned char *)row, matrices, transposed};
    collect(name[matrices == 4][transposed], 0xffffffffu, &self, load_matrices);
}

/* ---- mma */

struct product_operand {
    float *d;
    const uint32_t *a, *b;
};

static void multiply(void *const *lanes) {
    float a[16][16], b[16][8], d[16][8];
    for (unsigned l = 0; l < warp_lanes; l++) {
        const auto *o = (const product_operand *)lanes[l];
        const unsigned group = l / 4, in = l % 4;
        for (unsigned i = 0; i < 8; i++) /* a0,a1: row group, a2,a3: row group + 8, a4… the same, k + 8 */
            a[group + (i / 2 % 2) * 8][2 * in + i % 2 + i / 4 * 8] = bf16(o->a[i / 2], i % 2);
        for (unsigned i = 0; i < 4; i++)
            b[2 * in + i % 2 + i / 2 * 8][group] = bf16(o->b[i / 2], i % 2);
        for (unsigned i = 0; i < 4; i++)
            d[group + i / 2 * 8][2 * in + i % 2] = o->d[i];
    }
    for (unsigned row = 0; row < 16; row++)
        for (unsigned k = 0; k < 16; k++)
            for (unsigned column = 0; column < 8; column++)
                d[row][column] += a[row][k] * b[k][column];
    for (unsigned l = 0; l < warp_lanes; l++)
        for (unsigned i = 0; i < 4; i++)
            ((const product_operand *)lanes[l])->d[i] = d[l / 4 + i / 2 * 8][2 * (l % 4) + i % 2];
}

void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    product_operand self = {d, a, b};
    collect("mma.sync", 0xffffffffu, &self, multiply);
}

} // namespace emulator
