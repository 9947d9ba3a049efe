/* test_sandbox.c - protects the walls around each decoder: what it can reach, what it knows of the server,
 * and what it may keep. */
#include "tests/unit/server/front/decoders/decoders_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/decoder/sandbox.h"
#include "server/front/observe/usage.h"
#include "server/protocol/decoder_wire.h"

static void test_w13_decoders_know_nothing_of_the_environment(void **state) {
    (void)state;
    struct fixture f;
    pid_t pids[PROCESSES];
    setenv("SECRET_OF_THE_FRONT", "swordfish", 1);
    start_well(&f, NULL, 60);
    await_processes(&f, 0, pids);
    for (int i = 0; i < PROCESSES; i++) {
        char path[64], text[1 << 16];
        snprintf(path, sizeof path, "/proc/%ld/environ", (long)pids[i]);
        FILE *stream = fopen(path, "r"); /* none of the same user may look in, unless it is the superuser */
        const size_t size = stream ? fread(text, 1, sizeof text, stream) : 0;
        assert_null(memmem(text, size, "swordfish", 9));
        assert_null(memmem(text, size, "PATH=/", 6));
        if (stream)
            fclose(stream);
    }
    unsetenv("SECRET_OF_THE_FRONT");
    stop(&f);
}

static void test_w13_a_decoder_without_a_sandbox_is_refused(void **state) {
    (void)state;
    struct fixture f;
    struct limoe_error err = {0};
    the_unconfined = false;
    setenv("TEST_DECODER", "silent", 1); /* whose hello says that it has none */
    assert_int_equal(start(&f, NULL, 2, &err), LIMOE_UNSUPPORTED);
    assert_non_null(
        strstr(err.message, "cannot be confined here (it is a fake); --allow-unsandboxed-decoders"));
    stop(&f);
    the_unconfined = true;
    unsetenv("TEST_DECODER");
}

static void expect_in(pid_t pid, const char *file, const char *line) {
    char path[64], text[8192];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    text[fread(text, 1, sizeof text - 1, stream)] = '\0';
    fclose(stream);
    if (!strstr(text, line))
        fail_msg("%s has no line \"%s\":\n%s", path, line, text);
}

static void test_the_sandbox_is_up(void **state) {
    (void)state;
    struct fixture f;
    pid_t pids[PROCESSES];
    start_well(&f, NULL, 60);
    await_processes(&f, 0, pids);
    for (int i = 0; i < PROCESSES; i++) {
        expect_in(pids[i], "status", "\nSeccomp:\t2\n");
        expect_in(pids[i], "status", "\nNoNewPrivs:\t1\n");
        expect_in(pids[i], "oom_score_adj", "500");
        expect_in(pids[i], "limits", "Max core file size        0                    0 ");
        if (!SANITIZED)
            expect_in(pids[i], "limits", "Max open files            0                    0 ");
    }
    assert_int_equal(logged(&f, "sandbox"), 0);
    stop(&f);
}

static void test_memory_of_a_large_picture_goes_back(void **state) {
    (void)state;
    struct fixture f;
    pid_t pids[PROCESSES];
    uint8_t pixels[MOST_PIXELS];
    const char head[] = "P6 3000 3000 255\n";
    const size_t size = sizeof head - 1 + (size_t)3000 * 3000 * 3;
    uint8_t *bytes = calloc(1, size);
    memcpy(bytes, head, sizeof head - 1);
    start_well(&f, NULL, 60);
    await_processes(&f, 0, pids);
    assert_int_equal(decode(&f, bytes, size, pixels, NULL), LIMOE_OK);
    for (int i = 0; i < PROCESSES; i++) {
        struct process_usage usage;
        assert_true(usage_read(pids[i], &usage));
        assert_in_range(usage.resident_bytes, 1, SANITIZED ? UINT64_MAX : (uint64_t)24 << 20); /* a sanitizer
                                                                            keeps freed memory to itself */
    }
    stop(&f);
    free(bytes);
}

static void try_open(void) {
    open("/dev/null", O_RDONLY | O_CLOEXEC);
}
static void try_socket(void) {
    socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}
static void try_exec(void) {
    execl("/bin/true", "true", (char *)NULL);
}
static void try_fork(void) {
    fork();
}
static void try_kill(void) {
    kill(getppid(), 0);
}
static void try_code(void) {
    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void try_other_descriptor(void) {
    char byte;
    (void)!read(STDIN_FILENO, &byte, 1);
}

/* What decoding needs stays: memory up to the limit, and no end when it is reached. */
static void try_decoding(void) {
    struct limoe_error err;
    void *small = malloc(1 << 16), *large = malloc(8 << 20);
    void *larger = realloc(large, 12 << 20);
    if (!small || !larger)
        _exit(1);
    free(larger);
    free(small);
    void *too_much = SANITIZED ? NULL : malloc((size_t)256 << 20);
    if (too_much || wire_message(&err, LIMOE_INVALID, "x", 1) != LIMOE_INVALID)
        _exit(2);
}

/* How a process ends that goes into the sandbox, does this, and exits with status 0. */
static int end_of(void (*attempt)(void)) {
    const pid_t child = fork();
    if (child == 0) {
        char why[128];
        if (!sandbox_enter(STDERR_FILENO, 64 << 20, why, sizeof why))
            _exit(3);
        attempt();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_what_the_sandbox_stops(void **state) {
    (void)state;
    static const struct {
        void (*attempt)(void);
        bool sanitizers_need_it;
    } attempts[] = {{try_open, true},  {try_socket, false}, {try_exec, false},           {try_fork, false},
                    {try_kill, false}, {try_code, true},    {try_other_descriptor, true}};
    assert_int_equal(end_of(try_decoding), 0);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        if (SANITIZED && attempts[i].sanitizers_need_it)
            continue;
        const int status = end_of(attempts[i].attempt);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("attempt %zu ended with status 0x%x, not SIGSYS", i, (unsigned)status);
    }
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_w13_decoders_know_nothing_of_the_environment),
        cmocka_unit_test(test_w13_a_decoder_without_a_sandbox_is_refused),
        cmocka_unit_test(test_the_sandbox_is_up),
        cmocka_unit_test(test_memory_of_a_large_picture_goes_back),
        cmocka_unit_test(test_what_the_sandbox_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    return fixture_main(argc, argv, run);
}
