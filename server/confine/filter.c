/* filter.c - a filter is made, filled and loaded. */
#include "server/confine/filter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/sanitized.h"

void filter_privileges(void) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!SANITIZED)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

bool filter_install(uint32_t otherwise, filter_fill *fill, const void *what, char *why, size_t size) {
    scmp_filter_ctx filter = seccomp_init(otherwise);
    int code = filter ? fill(filter, what) : -ENOMEM;
    if (!code)
        code = seccomp_load(filter); /* sets no_new_privs, which a filter without privileges asks for */
    if (filter)
        seccomp_release(filter);
    if (code)
        snprintf(why, size, "seccomp: %s", strerror(-code));
    return code == 0;
}
