/* cpuid.h - which instruction sets this processor and system have. */
#ifndef LIMOE_KERNELS_CPU_CPUID_H
#define LIMOE_KERNELS_CPU_CPUID_H

#include "kernels/cpu/isa/isa.h"

/* From least to best. isa_at(i) is NULL past the last; isa_present says whether this machine can run it (for
 * AMX it asks the system for leave to use the tiles, once granted for the process's life). */
const struct isa *isa_at(size_t i);
bool isa_present(const struct isa *isa);

/* The best present, or the one that LIMOE_ISA names. */
enum limoe_status isa_choose(const struct isa **out, struct limoe_error *err);

#endif
