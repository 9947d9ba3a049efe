/* counting.h - an instance of the CUDA backend that has no device and no memory, and counts what is asked of it. */
#ifndef LIMOE_KERNELS_COUNTING_H
#define LIMOE_KERNELS_COUNTING_H

#include "kernels/kernels.h"

/* Stands for an instance on a GPU of this dtype (float32, bfloat16), which need not be there. It gives out addresses that
 * nothing may be written to, and has the operations alloc, release, sequences, patches, plan and destroy alone; of the
 * last three but one nothing is read but sequences' host_start. */
enum limoe_status kernels_counting_create(enum limoe_dtype dtype, struct kernels **out,
                                          struct limoe_error *err);

/* What the device's memory would hold now, in bytes: what was given out, and the backend's own. */
uint64_t kernels_counting_bytes(const struct kernels *k);

#endif
