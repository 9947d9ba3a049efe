/* sandbox.c - limits first, the seccomp filter last: after it nothing else can be set.
 *
 * The list holds what decoding was seen to use, and what glibc does when it runs out of memory or finds its
 * heap broken, so that such an end is logged as what it is. Where an argument decides, it is checked: reads
 * and writes go to given descriptors, signals to the process itself, and no memory becomes executable.
 *
 * A sanitizer needs a shadow of terabytes, so there is no limit on memory with it; to print a report it reads
 * files of /proc and of the program, so files are open, too. Programs, other processes and network stay shut.
 * The search for leaks, which traces the process from another, cannot run at all: a decoder leaves by _exit,
 * and fuzz_image looks for leaks instead. Such builds are for tests, not for use.
 */
#include "server/decoder/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/sanitized.h"
#include "server/confine/filter.h"

/* Calls that are allowed with any arguments. */
static const int always[] = {
    SCMP_SYS(brk),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(futex),
    SCMP_SYS(getpid),
    SCMP_SYS(getrandom),
    SCMP_SYS(gettid),
    SCMP_SYS(madvise),
    SCMP_SYS(mremap),
    SCMP_SYS(munmap),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
};

static const int sanitizers[] = {
    SCMP_SYS(access),      SCMP_SYS(close),       SCMP_SYS(fstat),        SCMP_SYS(getrlimit),
    SCMP_SYS(lseek),       SCMP_SYS(mmap),        SCMP_SYS(mprotect),     SCMP_SYS(newfstatat),
    SCMP_SYS(open),        SCMP_SYS(openat),      SCMP_SYS(prlimit64),    SCMP_SYS(read),
    SCMP_SYS(readlink),    SCMP_SYS(readlinkat),  SCMP_SYS(rt_sigaction), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield), SCMP_SYS(sigaltstack), SCMP_SYS(stat),         SCMP_SYS(write),
};

/* 0 or a negative errno, as libseccomp has it. */
static int allow_all(scmp_filter_ctx filter, const int *calls, size_t n) {
    int code = 0;
    for (size_t i = 0; i < n && code == 0; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return code;
}

/* Allows the call if its first argument is `first`. */
static int allow_with(scmp_filter_ctx filter, int call, uint64_t first) {
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, SCMP_A0(SCMP_CMP_EQ, first, 0));
}

/* Allows mmap or mprotect if it does not make memory executable. */
static int allow_data(scmp_filter_ctx filter, int call) {
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static int fill(scmp_filter_ctx filter, const void *what) {
    const int fd = *(const int *)what;
    const uint64_t end = (uint64_t)fd, self = (uint64_t)getpid();
    int code = allow_all(filter, always, sizeof always / sizeof *always);
    if (!code)
        code = allow_with(filter, SCMP_SYS(tgkill), self);
    if (!code)
        code = allow_with(filter, SCMP_SYS(writev), end);
    if (!code)
        code = allow_with(filter, SCMP_SYS(writev), STDERR_FILENO);
    if (SANITIZED)
        return code ? code : allow_all(filter, sanitizers, sizeof sanitizers / sizeof *sanitizers);
    if (!code)
        code = allow_with(filter, SCMP_SYS(read), end);
    if (!code)
        code = allow_with(filter, SCMP_SYS(write), end);
    if (!code)
        code = allow_with(filter, SCMP_SYS(write), STDERR_FILENO);
    if (!code)
        code = allow_data(filter, SCMP_SYS(mmap));
    return code ? code : allow_data(filter, SCMP_SYS(mprotect));
}

/* A limit that is lower already stays. */
static bool limit(__rlimit_resource_t resource, uint64_t most) {
    struct rlimit value;
    if (getrlimit(resource, &value) != 0)
        return false;
    if (value.rlim_max > most)
        value.rlim_max = most;
    value.rlim_cur = value.rlim_max;
    return setrlimit(resource, &value) == 0;
}

static uint64_t mapped_now(void) {
    unsigned long long pages = 0;
    char line[128];
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fgets(line, sizeof line, file))
        pages = strtoull(line, NULL, 10);
    if (file)
        fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* False if something could not be limited; *why says what. */
static bool set_limits(uint64_t memory, char *why, size_t size) {
    bool limited = limit(RLIMIT_CORE, 0);
    if (!SANITIZED) {
        const uint64_t mapped = mapped_now();
        if (mapped == 0) {
            snprintf(why, size, "/proc/self/statm does not read: memory cannot be limited");
            return false;
        }
        limited = limited && limit(RLIMIT_AS, mapped + memory);
        limited = limited && limit(RLIMIT_NOFILE, 0); /* what is open stays so */
    }
    if (!limited)
        snprintf(why, size, "setrlimit: %s", strerror(errno));
    return limited;
}

bool sandbox_enter(int fd, uint64_t memory, char *why, size_t size) {
    filter_privileges();
    const bool limited = set_limits(memory, why, size);
    return filter_install(SCMP_ACT_KILL_PROCESS, fill, &fd, why, size) && limited;
}
