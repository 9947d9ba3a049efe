#include "tests/emulator/tests/support.h"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>

/* These tests look at device memory themselves; the one of what hosts may touch sets it back. */
__attribute__((constructor)) static void open_memory() {
    setenv("LIMOE_TEST_EMULATED_OPEN", "1", 1);
}

void assert_dies(void (*function)(), const char *says) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(nullptr);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        function();
        _exit(0);
    }
    close(ends[1]);
    std::string said;
    char some[512];
    for (ssize_t n; (n = read(ends[0], some, sizeof some)) > 0;)
        said.append(some, (size_t)n);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(said.c_str(), says))
        fail_msg("status 0x%x, expected an abort that says \"%s\"; it said: %s", status, says, said.c_str());
}

void set_seed(unsigned seed) {
    setenv("LIMOE_TEST_EMULATED_SEED", std::to_string(seed).c_str(), 1);
}

float some_float(size_t i) {
    return (float)((int)(i * 2654435761u >> 20 & 31) - 16) * 0.25f;
}

uint16_t bf16_of(float x) {
    return (uint16_t)bf16_pack(x, 0.0f);
}
