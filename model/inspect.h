/* inspect.h - what stands behind a limoe_inspection and a limoe_placement. */
#ifndef LIMOE_MODEL_INSPECT_H
#define LIMOE_MODEL_INSPECT_H

#include "experts/placement.h"
#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"

struct inspection {
    struct limoe_inspection public; /* first: who is handed its address gets this struct's */
    struct config config;           /* its strings and block indices are pointed into */
    uint64_t token_bytes;           /* of text.token in memory, where the dtype is not int8 */
    bool int8;                      /* what limoe_quantize has made */
};

static inline const struct inspection *inspection_of(const struct limoe_inspection *public) {
    return (const struct inspection *)(const void *)public;
}

struct inspected_ranks {
    struct limoe_placement public; /* first, likewise */
    struct placement placement;
    enum kernels_kind kind; /* of the devices that it is for */
};

static inline const struct inspected_ranks *inspected_ranks_of(const struct limoe_placement *public) {
    return (const struct inspected_ranks *)(const void *)public;
}

#endif
