/* fiber.h - stacks that one system thread switches between.
 *
 * A pool owns its stacks and hands them out again and again; each lies between guard pages, so that a kernel
 * that needs more is caught in the act (fault.cpp).
 */
#ifndef LIMOE_TESTS_EMULATOR_FIBER_H
#define LIMOE_TESTS_EMULATOR_FIBER_H

#include <cstddef>

namespace emulator {

/* A place where execution can go on: a stack with its callee-saved registers on top. */
struct fiber {
    void *top;            /* of the saved registers, while it does not run */
    unsigned char *low;   /* the stack's lowest byte; null for the system thread's own stack */
    const void *seen_low; /* the stack as AddressSanitizer is told of it */
    size_t seen_size;
};

constexpr size_t stack_bytes = 256 * 1024;

/* The n-th stack of the pool, made when first asked for. */
unsigned char *fiber_stack(unsigned n);

/* Whether the address lies in a guard page below one of the stacks. */
bool fiber_guard_holds(const void *address);

/* Makes `f` start in entry() when it is next switched to; entry never returns. */
void fiber_prepare(fiber &f, unsigned char *stack, void (*entry)());

/* Leaves `from` (its state is kept in it, unless it has ended) and goes on where `to` was left. */
void fiber_switch(fiber &from, fiber &to, bool ended = false);

/* To be called first in entry(). */
void fiber_entered();

} // namespace emulator
#endif
