/* activation.h - a config's activation as the kernels know it. */
#ifndef LIMOE_MODEL_FORWARD_ACTIVATION_H
#define LIMOE_MODEL_FORWARD_ACTIVATION_H

#include "kernels/kernels.h"
#include "model/checkpoint/config.h"

static inline enum kernels_epilogue epilogue_of(const struct config_tower *tower) {
    static const enum kernels_epilogue epilogues[] = {[CONFIG_GELU_TANH] = KERNELS_GELU_TANH,
                                                      [CONFIG_GELU] = KERNELS_GELU_ERF,
                                                      [CONFIG_QUICK_GELU] = KERNELS_QUICK_GELU};
    return epilogues[tower->activation];
}

#endif
