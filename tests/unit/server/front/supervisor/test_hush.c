/* test_hush.c - protects the log from mpirun's announcements, and everything else that it says from being
 * lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/front/supervisor/hush.h"

#define RULE "--------------------------------------------------------------------------\n"

static void expect(const char *said, const char *heard) {
    char found[16384];
    const int in = memfd_create("in", 0), out = memfd_create("out", 0);
    assert_int_equal(write(in, said, strlen(said)), strlen(said));
    lseek(in, 0, SEEK_SET);
    hush_copy(in, out, -1);
    const ssize_t n = pread(out, found, sizeof found - 1, 0);
    assert_true(n >= 0);
    found[n] = '\0';
    assert_string_equal(found, heard);
    close(out);
}

static void test_announcements_are_kept_back(void **state) {
    (void)state;
    expect("before\n" RULE
           "Primary job  terminated normally, but 1 process returned\na non-zero exit code.\n" RULE RULE
           "mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).\n" RULE
           "after\n",
           "before\nafter\n");
    expect(RULE "mpirun detected that one or more processes exited with non-zero status, thus causing\n\n  "
                "[[1,1],1]\n" RULE,
           "");
}

static void test_a_lost_rank_is_kept_back(void **state) {
    (void)state;
    expect(
        "before\n[vm:26175] PMIX ERROR: UNREACHABLE in file ../base/ptl_base_connection_hdlr.c at line 388\n"
        "[a.b-c:1] PMIX ERROR: LOST_CONNECTION in file x.c at line 1\n"
        "[warn] Epoll MOD(1) on fd 23 failed. Old events were 6; read change was 0 (none)\nafter\n",
        "before\nafter\n");
}

static void test_everything_else_is_let_through(void **state) {
    (void)state;
    static const char *const said[] = {
        "",
        "a line\n",
        "no end of a line",
        "----\n",
        RULE,
        RULE RULE "within nothing\n",
        RULE "There are not enough slots available in the system to satisfy the 2\n" RULE,
        RULE "one\nPrimary job \n" RULE "mpirun noticed that process rank 1\n",
        RULE "cut off\n",
        "[",
        "[warn] of something else\n",
        "[]\n",
        "[vm:1]\n",
        "[vm:1] PMIX ERROR: \n",
        "[vm:1] PMIX ERROR: NO-PERMISSIONS in file x.c at line 1\n",
        "[vm] PMIX ERROR: UNREACHABLE in file x.c at line 1\n",
        "vm:1] PMIX ERROR: UNREACHABLE in file x.c at line 1\n",
        RULE "within a message\n[vm:1] PMIX ERROR: UNREACHABLE in file x.c at line 1\n" RULE,
    };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        expect(said[i], said[i]);
}

static void test_a_job_that_is_wanted_no_more_says_nothing(void **state) {
    (void)state;
    char found[64];
    int in[2], out[2], job[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, job), 0);
    const pid_t child = fork();
    if (child == 0) {
        close(in[1]);
        close(job[0]);
        hush_copy(in[0], out[1], job[1]);
        _exit(0);
    }
    close(out[1]);
    assert_int_equal(write(in[1], "wanted\n", 7), 7);
    assert_int_equal(read(out[0], found, sizeof found), 7);
    assert_int_equal(shutdown(job[0], SHUT_WR), 0);
    assert_int_equal(write(in[1], "limoe: engine: cannot connect\n" RULE, strlen(RULE) + 30),
                     strlen(RULE) + 30);
    close(in[1]);
    assert_int_equal(read(out[0], found, sizeof found), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    const int ends[] = {in[0], out[0], job[0], job[1]};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        close(ends[i]);
}

static void test_long_lines(void **state) {
    (void)state;
    static char said[10000];
    memset(said, '-', sizeof said - 2);
    expect(said, said);
    memset(said, 'x', sizeof said - 2);
    expect(said, said);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_announcements_are_kept_back),
        cmocka_unit_test(test_a_lost_rank_is_kept_back),
        cmocka_unit_test(test_everything_else_is_let_through),
        cmocka_unit_test(test_a_job_that_is_wanted_no_more_says_nothing),
        cmocka_unit_test(test_long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
