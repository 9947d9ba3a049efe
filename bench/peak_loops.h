/* peak_loops.h - for each instruction set, loops of nothing but its products. */
#ifndef LIMOE_BENCH_PEAK_LOOPS_H
#define LIMOE_BENCH_PEAK_LOOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peak_loop {
    const char *isas;   /* the sets whose kernels may use it, each between spaces, named as in LIMOE_ISA */
    const char *dtypes; /* what is multiplied, each between spaces */
    const char *instruction;
    double operations; /* of a round */
    /* The last argument is there so that loops and readers of memory have one type; both are ignored. */
    void (*run)(uint64_t rounds, const void *memory, size_t size);
    bool (*present)(void); /* beyond what the set itself demands */
};

/* From the first on; NULL past the last. */
const struct peak_loop *peak_loop_at(size_t i);

bool peak_loop_is_of(const struct peak_loop *loop, const char *isa, const char *dtype);

#endif
