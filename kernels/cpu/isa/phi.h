/* phi.h - the distribution function of the normal distribution, for GELU and its slope. */
#ifndef LIMOE_KERNELS_CPU_ISA_PHI_H
#define LIMOE_KERNELS_CPU_ISA_PHI_H

#include "kernels/cpu/isa/vec.h"

/* Phi(-t) = 2^(t g(t)) / 2 for t >= 0, with g a minimax polynomial for which the error of Phi is below 1e-8 on
 * [0, 5.6] and which falls ever faster beyond; Phi(t) = 1 - Phi(-t). */
static inline vf v_phi(vf v) {
    vf t = v_abs(v), g = v_set(-0x1.7c7ea6p-19f);
    g = v_fma(g, t, v_set(0x1.4a52c2p-15f));
    g = v_fma(g, t, v_set(-0x1.86728p-13f));
    g = v_fma(g, t, v_set(-0x1.1f2ddp-13f));
    g = v_fma(g, t, v_set(0x1.cee88ep-8f));
    g = v_fma(g, t, v_set(-0x1.ae0c78p-5f));
    g = v_fma(g, t, v_set(-0x1.d63aacp-2f));
    g = v_fma(g, t, v_set(-0x1.26aed4p+0f));
    vf below = v_set(0.5f) * v_exp2(g * t);
    return v_if_negative(v, below, v_set(1.0f) - below);
}

#endif
