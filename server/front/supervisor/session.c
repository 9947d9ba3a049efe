/* session.c - a command line for another host, and the process that becomes the agent. */
#include "server/front/supervisor/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "server/options/command.h"

enum { MOST_WORDS = 32 }; /* of the agent */

/* What a rank on another host is told of the front's environment. What belongs to a host, as CUDA's settings and the
 * loader's do, it has from its own. */
static const char *const passed[] = {"LIMOE_ISA=", "LIMOE_MODULES=", "LIMOE_TEST_", "NCCL_"};

/* One word for the other host's shell. */
static void put_word(struct buffer *command, const char *word, size_t size) {
    buffer_string(command, " '");
    for (size_t i = 0; i < size; i++)
        if (word[i] == '\'')
            buffer_string(command, "'\\''");
        else
            buffer_bytes(command, &word[i], 1);
    buffer_string(command, "'");
}

static void put(struct buffer *command, const char *word) {
    put_word(command, word, strlen(word));
}

static void put_environment(struct buffer *command) {
    for (size_t i = 0; environ && environ[i]; i++)
        for (size_t k = 0; k < sizeof passed / sizeof *passed; k++)
            if (strncmp(environ[i], passed[k], strlen(passed[k])) == 0)
                put(command, environ[i]);
}

/* "exec env 'NAME=VALUE' … '/path/limoe' 'engine' …", with the final NUL. */
static char *make_command(const char *program, const struct place *place, uint32_t rank, uint32_t ranks,
                          const char *address, const char *const engine[]) {
    char number[16], count[16];
    struct buffer command = {0};
    size_t size;
    snprintf(number, sizeof number, "%u", rank);
    snprintf(count, sizeof count, "%u", ranks);
    const char *const own[] = {"--device", place->device, "--rank",    number,
                               "--ranks",  count,         "--connect", address};
    buffer_string(&command, "exec env");
    put_environment(&command);
    put(&command, program);
    put(&command, "engine");
    for (size_t i = 0; engine[i]; i++)
        put(&command, engine[i]);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        put(&command, own[i]);
    buffer_bytes(&command, "", 1);
    return buffer_take(&command, &size);
}

/* agent is cut at its blanks. */
static enum limoe_status spawn(char *agent, const char *host, const char *command, struct process *out,
                               struct limoe_error *err) {
    const char *list[MOST_WORDS + 5] = {"launch", SESSION_FLAG};
    char *rest = NULL;
    size_t n = 2;
    for (char *word = strtok_r(agent, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        if (n == MOST_WORDS + 2)
            return limoe_fail(err, LIMOE_INVALID, "rank-agent has more than %d words", MOST_WORDS);
        list[n++] = word;
    }
    list[n++] = host;
    list[n++] = command;
    return process_spawn(list, NULL, out, err); /* all: an agent needs much */
}

enum limoe_status session_start(const struct launch_options *options, const struct rendezvous *rendezvous,
                                const struct place *place, uint32_t rank, const char *const engine[],
                                struct process *out, struct limoe_error *err) {
    char program[PATH_MAX];
    enum limoe_status status = launch_program(false, program, err);
    if (status != LIMOE_OK)
        return status;
    char *agent = strdup(options->agent);
    char *command = make_command(program, place, rank, options->ranks, rendezvous->address, engine);
    status = agent && command ? spawn(agent, place->host, command, out, err)
                              : limoe_fail(err, LIMOE_NO_MEMORY, "no memory to start a rank");
    free(agent);
    free(command);
    /* One that has ended already will be seen to, and how. */
    if (status == LIMOE_OK &&
        send(out->fd, rendezvous->token, FRAME_TOKEN_BYTES, MSG_NOSIGNAL) != FRAME_TOKEN_BYTES &&
        errno != EPIPE && errno != ECONNRESET) {
        process_kill(out, NULL);
        status =
            limoe_fail(err, LIMOE_INTERNAL, "cannot start a rank on %s: %s", place->host, strerror(errno));
    }
    return status;
}

int session_become(char **argv) {
    if (!argv[0]) {
        command_complain("launch: no agent");
        return COMMAND_USAGE;
    }
    if (dup2(PROCESS_FD, STDIN_FILENO) == STDIN_FILENO)
        execvp(argv[0], argv);
    command_complain("cannot start \"%s\" for a rank on another host: %s", argv[0], strerror(errno));
    return COMMAND_INPUT;
}
