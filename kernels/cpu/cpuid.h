/* cpuid.h - which instruction sets this processor and system have. */
#ifndef LIMOE_KERNELS_CPU_CPUID_H
#define LIMOE_KERNELS_CPU_CPUID_H

#include "kernels/cpu/isa/isa.h"

/* The instruction sets, from least to best; isa_at(i) is NULL past the last. isa_present says whether this
 * machine can run one. For AMX it asks the system's permission to use the tiles, which holds for the life
 * of the process. */
const struct isa *isa_at(size_t i);
bool isa_present(const struct isa *isa);

/* Chooses the best that is present, or the one that LIMOE_ISA names. */
enum limoe_status isa_choose(const struct isa **out, struct limoe_error *err);

#endif
