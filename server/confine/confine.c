/* confine.c - limits first, the seccomp filter last.
 *
 * A resolver loads what the system's configuration names, and kernels what the processor has, so what they call is not known
 * beforehand: unlike a decoder's, this filter lists what is refused. Most of it fails as it does without the right to it, so that
 * a library which merely tries goes on; what no library of ours tries ends the process.
 */
#include "server/confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/sanitized.h"
#include "server/confine/filter.h"

/* Ways to change files. */
static const int changes[] = {
    SCMP_SYS(creat),     SCMP_SYS(openat2),   SCMP_SYS(truncate), SCMP_SYS(ftruncate), SCMP_SYS(rename),
    SCMP_SYS(renameat),  SCMP_SYS(renameat2), SCMP_SYS(link),     SCMP_SYS(linkat),    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat), SCMP_SYS(unlink),    SCMP_SYS(unlinkat), SCMP_SYS(mkdir),     SCMP_SYS(mkdirat),
    SCMP_SYS(rmdir),     SCMP_SYS(mknod),     SCMP_SYS(mknodat),  SCMP_SYS(chmod),     SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),  SCMP_SYS(chown),     SCMP_SYS(fchown),   SCMP_SYS(lchown),    SCMP_SYS(fchownat),
};

/* Ways to be connected to, and to have calls made that no filter sees. */
static const int refused[] = {
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(io_uring_setup),
};

/* What only somebody who has got in would try. */
static const int fatal[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kill),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
};

/* 0 or a negative errno, as libseccomp has it. */
static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t n) {
    int code = 0;
    for (size_t i = 0; i < n && code == 0; i++)
        code = seccomp_rule_add(filter, action, calls[i], 0);
    return code;
}

/* Files open for reading alone. O_WRONLY and O_RDWR are bits of their own. */
static int refuse_writing(scmp_filter_ctx filter) {
    static const int ways[] = {O_WRONLY, O_RDWR, O_CREAT, O_TRUNC};
    int code = 0;
    for (size_t i = 0; i < sizeof ways / sizeof *ways && code == 0; i++) {
        const uint64_t way = (uint64_t)ways[i];
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(open), 1,
                                SCMP_A1(SCMP_CMP_MASKED_EQ, way, way));
        if (!code)
            code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 1,
                                    SCMP_A2(SCMP_CMP_MASKED_EQ, way, way));
    }
    return code;
}

/* IPv4, IPv6, and the kernel's list of addresses, which the resolver asks for: families other than 2, 10 and 16. */
static int refuse_families(scmp_filter_ctx filter) {
    static const int known[] = {AF_INET, AF_INET6, AF_NETLINK};
    int code = 0, from = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known && code == 0; from = known[i++] + 1)
        for (int family = from; family < known[i] && code == 0; family++)
            code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                    SCMP_A0(SCMP_CMP_EQ, (uint64_t)family, 0));
    return code ? code
                : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                   SCMP_A0(SCMP_CMP_GE, (uint64_t)from, 0));
}

/* No socket of any kind. */
static int refuse_network(scmp_filter_ctx filter) {
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 0);
}

/* Threads, yes; processes, no. clone3, whose flags lie in memory, is as if the system did not have it. */
static int refuse_processes(scmp_filter_ctx filter) {
    const uint64_t thread = 0x00010000; /* CLONE_THREAD */
    const int code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return code ? code
                : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                   SCMP_A0(SCMP_CMP_MASKED_EQ, thread, 0));
}

static int fill(scmp_filter_ctx filter, const void *what) {
    const unsigned needs = *(const unsigned *)what;
    const bool files = needs & CONFINE_FILES;
    int code = add_all(filter, SCMP_ACT_ERRNO(EPERM), refused, sizeof refused / sizeof *refused);
    if (!code && !files)
        code = add_all(filter, SCMP_ACT_ERRNO(EPERM), changes, sizeof changes / sizeof *changes);
    if (!code)
        code = add_all(filter, SCMP_ACT_KILL_PROCESS, fatal, sizeof fatal / sizeof *fatal);
    if (!code)
        code = needs & CONFINE_NETWORK ? refuse_families(filter) : refuse_network(filter);
    if (SANITIZED) /* which writes reports, and looks for leaks from a process that traces this one */
        return code;
    if (!code)
        code = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(ptrace), 0);
    if (!code && !files)
        code = refuse_writing(filter);
    return code ? code : refuse_processes(filter);
}

bool confine(unsigned needs, char *why, size_t size) {
    const struct rlimit none = {0};
    filter_privileges();
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        snprintf(why, size, "setrlimit: %s", strerror(errno));
        return false;
    }
    return filter_install(SCMP_ACT_ALLOW, fill, &needs, why, size);
}
