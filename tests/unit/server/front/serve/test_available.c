/* test_available.c - protects what counts as memory to be had: the machine's, and what control groups leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "server/front/serve/available.h"

static char root[] = "/tmp/limoe-available-XXXXXX";

/* Writes a file below the root, and the folders above it. */
static void put(const char *path, const char *content) {
    char whole[512];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = whole + sizeof root; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static int set_up(void **state) {
    (void)state;
    strcpy(root, "/tmp/limoe-available-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void assert_available(uint64_t bytes, const char *expected) {
    char where[AVAILABLE_WHERE_SIZE];
    assert_int_equal(available_memory(root, where), bytes);
    assert_string_equal(where, expected);
}

#define MEMINFO                                                                                              \
    "MemTotal:       24000000 kB\nMemFree:         1000 kB\nMemAvailable:    8000 kB\nBuffers: 1 kB\n"

static void nothing_tells(void **state) {
    (void)state;
    assert_available(UINT64_MAX, "");
}

static void the_machine(void **state) {
    (void)state;
    put("/proc/meminfo", MEMINFO);
    assert_available(8000 * 1024, "this machine");
    put("/proc/self/cgroup", "0::/\n"); /* the top has no limit */
    assert_available(8000 * 1024, "this machine");
    put("/proc/self/cgroup", "nonsense\n0\n:::\n");
    assert_available(8000 * 1024, "this machine");
}

static void groups_of_version_2(void **state) {
    (void)state;
    put("/proc/meminfo", MEMINFO);
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/b/memory.current", "1000\n");
    assert_available(8000 * 1024, "this machine");
    /* A limit above counts, and page cache that is not in use does not. */
    put("/sys/fs/cgroup/a/memory.max", "6000000\n");
    put("/sys/fs/cgroup/a/memory.current", "5000000\n");
    put("/sys/fs/cgroup/a/memory.stat", "anon 1\nfile 2\ninactive_file 500000\nactive_file 9\n");
    assert_available(1500000, "the control group /a");
    put("/sys/fs/cgroup/a/b/memory.max", "1000\n"); /* all of it is taken */
    assert_available(0, "the control group /a/b");
    put("/sys/fs/cgroup/a/b/memory.max", "999999999999999\n");
    assert_available(1500000, "the control group /a");
    put("/sys/fs/cgroup/a/memory.stat", "inactive_file 99999999\n"); /* more than all: nothing is taken */
    assert_available(6000000, "the control group /a");
}

static void in_a_container_the_group_is_the_top(void **state) {
    (void)state;
    put("/proc/meminfo", MEMINFO);
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "4096\n");
    put("/sys/fs/cgroup/memory.current", "96\n");
    assert_available(4000, "the control group /");
}

static void groups_of_version_1(void **state) {
    (void)state;
    put("/proc/meminfo", MEMINFO);
    put("/proc/self/cgroup", "12:pids:/x\n9:cpu,memory:/docker/c\n1:name=systemd:/y\n");
    put("/sys/fs/cgroup/memory/docker/c/memory.limit_in_bytes", "3000\n");
    put("/sys/fs/cgroup/memory/docker/c/memory.usage_in_bytes", "2500\n");
    put("/sys/fs/cgroup/memory/docker/c/memory.stat", "cache 3\ninactive_file 1\ntotal_inactive_file 200\n");
    assert_available(700, "the control group /docker/c");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_tells, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_machine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(groups_of_version_2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_a_container_the_group_is_the_top, set_up, tear_down),
        cmocka_unit_test_setup_teardown(groups_of_version_1, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
