/* fault.cpp - ends the process when a kernel breaks a rule, and says which kernel, block and thread did.
 *
 * Addresses that a kernel must not touch are caught as SIGSEGV and SIGBUS of the system thread that runs
 * kernels; those of other threads are left to whoever handled them before.
 */
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/engine.h"

namespace emulator {

/* ---- names of functions */

struct holder {
    uintptr_t address, base;
    std::string file;
};

static int find_holder(dl_phdr_info *info, size_t, void *argument) {
    auto *h = (holder *)argument;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) &p = info->dlpi_phdr[i];
        if (p.p_type != PT_LOAD || h->address < info->dlpi_addr + p.p_vaddr ||
            h->address >= info->dlpi_addr + p.p_vaddr + p.p_memsz)
            continue;
        h->base = info->dlpi_addr;
        h->file = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
        return 1;
    }
    return 0;
}

/* The symbol at exactly that value in the file's .symtab, which a stripped file has not. */
static std::string symbol_at(const unsigned char *file, uintptr_t value) {
    const auto *header = (const ElfW(Ehdr) *)file;
    const auto *sections = (const ElfW(Shdr) *)(file + header->e_shoff);
    for (unsigned i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB)
            continue;
        const auto *symbols = (const ElfW(Sym) *)(file + sections[i].sh_offset);
        const char *names = (const char *)file + sections[sections[i].sh_link].sh_offset;
        for (size_t s = 0; s < sections[i].sh_size / sizeof *symbols; s++)
            if (symbols[s].st_value == value && (symbols[s].st_info & 0xf) == STT_FUNC)
                return names + symbols[s].st_name;
    }
    return {};
}

const char *function_name(const void *function) {
    static std::string name;
    holder h = {(uintptr_t)function, 0, {}};
    if (!dl_iterate_phdr(find_holder, &h))
        return "an unknown kernel";
    const int fd = open(h.file.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return "an unknown kernel";
    void *file = mmap(nullptr, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED)
        return "an unknown kernel";
    name = symbol_at((const unsigned char *)file, h.address - h.base);
    munmap(file, (size_t)st.st_size);
    if (char *plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, nullptr)) {
        name = plain;
        free(plain);
    }
    return name.empty() ? "an unknown kernel" : name.c_str();
}

/* ---- the end */

static void say_where() {
    if (!running.kernel)
        return;
    fprintf(stderr, "emulator: in %s, grid (%u,%u,%u), block (%u,%u,%u)",
            function_name(running.kernel->kernel), gridDim.x, gridDim.y, gridDim.z, blockIdx.x, blockIdx.y,
            blockIdx.z);
    if (running.current)
        fprintf(stderr, ", thread (%u,%u,%u) of (%u,%u,%u)", running.current->index.x,
                running.current->index.y, running.current->index.z, blockDim.x, blockDim.y, blockDim.z);
    fprintf(stderr, "; LIMOE_TEST_EMULATED_SEED=%llu\n",
            (unsigned long long)setting("LIMOE_TEST_EMULATED_SEED", 1));
}

[[noreturn]] void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    flockfile(stderr);
    fprintf(stderr, "emulator: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    say_where();
    funlockfile(stderr);
    signal(SIGABRT, SIG_DFL);
    abort();
}

/* ---- forbidden addresses */

static pthread_t kernels_thread;
static struct sigaction before_segv, before_bus;

static void on_fault(int number, siginfo_t *info, void *) {
    char what[160];
    if (!running.kernel || !pthread_equal(pthread_self(), kernels_thread)) {
        if (describe_allocation(info->si_addr, what, sizeof what))
            die("the host touches device memory at %p, %s", info->si_addr, what);
        sigaction(number, number == SIGSEGV ? &before_segv : &before_bus, nullptr);
        return; /* the access is made again, and meets the handler that was there before */
    }
    if (fiber_guard_holds(info->si_addr))
        die("the thread needs more than %zu bytes of stack", stack_bytes);
    describe_allocation(info->si_addr, what, sizeof what);
    die("illegal address %p: %s", info->si_addr, what);
}

static void catch_one(int number, struct sigaction *before) {
    struct sigaction action = {}, old;
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, &old);
    if (old.sa_sigaction != on_fault)
        *before = old;
}

void catch_faults() {
    catch_one(SIGSEGV, &before_segv);
    catch_one(SIGBUS, &before_bus);
}

void run_kernels_here() {
    static unsigned char stack[64 * 1024];
    kernels_thread = pthread_self();
    stack_t alternate = {};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, nullptr);
}

} // namespace emulator
