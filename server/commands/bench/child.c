/* child.c - limoe loadtest, which `limoe serve` starts: limoe bench with a socket for its standard output.
 *
 * The key to show comes first on that socket, as a line that may be empty, so that neither a command line nor
 * the environment which the system shows of a process has it. SIGTERM, which is blocked from the start, ends
 * the load as Ctrl-C does: it is taken as soon as the load begins.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "server/commands/commands.h"
#include "server/options/command.h"

enum { KEY_SIZE = 4096 };

/* A byte at a time: it is short, and nothing behind it is to be taken. */
static bool read_line(int fd, char *line, size_t size) {
    for (size_t n = 0; n < size && read(fd, &line[n], 1) == 1; n++)
        if (line[n] == '\n') {
            line[n] = '\0';
            return true;
        }
    return false;
}

int loadtest_main(int argc, char **argv) {
    struct limoe_error err;
    char key[KEY_SIZE];
    if (!process_child_setup(&err)) {
        command_complain("%s", err.message);
        return COMMAND_USAGE;
    }
    const bool told = read_line(PROCESS_FD, key, sizeof key);
    const bool ready = told && setenv("LIMOE_API_KEY", key, 1) == 0 && dup2(PROCESS_FD, STDOUT_FILENO) >= 0;
    explicit_bzero(key, sizeof key);
    return ready ? bench_main(argc, argv) : COMMAND_INPUT;
}
