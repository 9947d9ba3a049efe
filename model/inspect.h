/* inspect.h - what stands behind a limoe_inspection. */
#ifndef LIMOE_MODEL_INSPECT_H
#define LIMOE_MODEL_INSPECT_H

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

#endif
