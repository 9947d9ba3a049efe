/* probe.h - what probe.cu gives. */
#ifndef LIMOE_TESTS_EMULATOR_TESTS_PROBE_H
#define LIMOE_TESTS_EMULATOR_TESTS_PROBE_H

/* On the default stream: out[block * 64 + i] = in[block * 64 + (i + by) % 64]. A cudaError_t. */
extern "C" __attribute__((visibility("default"))) int probe_rotate(const float *in, float *out, int blocks,
                                                                   int by);

/* On the default stream: out[64] = what a block finds in shared memory. */
extern "C" __attribute__((visibility("default"))) int probe_leave(float *out);

#endif
