/* fiber.cpp - see fiber.h. The switch saves what the ABI lets a function call keep, and nothing more. */
#include "tests/emulator/fiber.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" void emulator_switch(void **from, void *to);

#if defined(__x86_64__)
asm(R"(
    .text
    .globl emulator_switch
    .hidden emulator_switch
    .type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulator_switch, .-emulator_switch
)");
/* Six registers, the address to return to, and one word so that the stack is aligned as after a call. */
static void *initial_frame(unsigned char *end, void (*entry)()) {
    void **frame = (void **)end - 8;
    memset(frame, 0, 8 * sizeof *frame);
    frame[6] = (void *)entry;
    return frame;
}
#elif defined(__aarch64__)
asm(R"(
    .text
    .globl emulator_switch
    .hidden emulator_switch
    .type emulator_switch, %function
emulator_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size emulator_switch, .-emulator_switch
)");
static void *initial_frame(unsigned char *end, void (*entry)()) {
    void **frame = (void **)end - 20;
    memset(frame, 0, 20 * sizeof *frame);
    frame[11] = (void *)entry;
    return frame;
}
#else
#error "fiber.cpp knows x86-64 and aarch64"
#endif

namespace emulator {

constexpr size_t guard = 64 * 1024; /* more than most frames, so that few jump over it */

static std::vector<unsigned char *> stacks;

unsigned char *fiber_stack(unsigned n) {
    while (stacks.size() <= n) {
        void *p = mmap(nullptr, stack_bytes + guard, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED || mprotect(p, guard, PROT_NONE))
            abort();
        stacks.push_back((unsigned char *)p + guard);
    }
    return stacks[n];
}

bool fiber_guard_holds(const void *address) {
    for (const unsigned char *s : stacks)
        if ((const unsigned char *)address < s && (const unsigned char *)address >= s - guard)
            return true;
    return false;
}

void fiber_prepare(fiber &f, unsigned char *stack, void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
    if (f.low) /* what the fiber before had there when it ended is no one's any more */
        __asan_unpoison_memory_region(f.top, (size_t)(stack + stack_bytes - (unsigned char *)f.top));
#endif
    f.low = stack;
    f.top = initial_frame(stack + stack_bytes, entry);
    f.seen_low = stack;
    f.seen_size = stack_bytes;
}

#if defined(__SANITIZE_ADDRESS__)
static fiber *left; /* by the latest switch */

/* Where the left stack lies, if it is not one of the pool's, is known only now. */
static void finish_switch(void *fake) {
    const void *low;
    size_t size;
    __sanitizer_finish_switch_fiber(fake, &low, &size);
    if (!left->low) {
        left->seen_low = low;
        left->seen_size = size;
    }
}

void fiber_entered() {
    finish_switch(nullptr);
}

void fiber_switch(fiber &from, fiber &to, bool ended) {
    void *fake = nullptr;
    left = &from;
    __sanitizer_start_switch_fiber(ended ? nullptr : &fake, to.seen_low, to.seen_size);
    emulator_switch(&from.top, to.top);
    finish_switch(fake);
}
#else
void fiber_entered() {
}

void fiber_switch(fiber &from, fiber &to, bool) {
    emulator_switch(&from.top, to.top);
}
#endif

} // namespace emulator
