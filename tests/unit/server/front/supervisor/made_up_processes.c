/* made_up_processes.c - the processes of the made-up model: an engine, honest or not, and mpirun. */
#include "tests/unit/server/front/supervisor/made_up.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "server/engine/engine_process.h"
#include "server/protocol/join.h"
#include "server/protocol/link.h"

/* ---- the engine */

static void send_all(const void *bytes, size_t size) {
    for (size_t sent = 0; sent < size;) {
        ssize_t n = write(PROCESS_FD, (const char *)bytes + sent, size - sent);
        if (n <= 0)
            _exit(1);
        sent += (size_t)n;
    }
}

static void send_hello(void) {
    struct frame_hello hello = {.model = shape,
                                .dtype = LIMOE_FLOAT32,
                                .threads = 1,
                                .step_tokens = 1024,
                                .ranks = 1,
                                .backend = "made-up",
                                .fingerprint = "0123456789abcdef0123456789abcdef",
                                .base = "00000000000000000000000000000000"};
    uint8_t bytes[FRAME_HEADER_BYTES + FRAME_HELLO_BYTES];
    frame_put_header(&(struct frame_header){.type = FRAME_HELLO, .length = FRAME_HELLO_BYTES}, bytes);
    frame_put_hello(&hello, bytes + FRAME_HEADER_BYTES);
    send_all(bytes, sizeof bytes);
}

/* Waits for a STEP where the lie is an answer to one, and tells it. */
static int lie_once(enum lie lie) {
    static uint64_t zeros[4096];
    const struct frame_shape bounds = frame_shape(&shape, 1024);
    uint8_t head[FRAME_HEADER_BYTES], payload[FRAME_RESULT_HEAD_BYTES];
    struct iovec parts[FRAME_RESULT_PARTS];
    struct limoe_error err;
    struct link link;
    link_init(&link, PROCESS_FD);
    if (lie == NO_HELLO) {
        send_all("HTTP/1.1 400 Bad Request\r\n\r\n    ", FRAME_HEADER_BYTES);
        pause();
    }
    send_hello();
    if (lie != UNASKED && link_receive(&link, FRAME_STEP, UINT64_MAX / 2, &err) != LINK_DONE)
        return 1;
    uint32_t items;
    memcpy(&items, lie == UNASKED ? (const uint8_t *)zeros : link.payload, sizeof items);
    struct frame_result result = {.items = items + (lie == WRONG_ITEMS),
                                  .load = zeros,
                                  .rows_sent = zeros,
                                  .bytes_sent = zeros,
                                  .exchange_ns = zeros,
                                  .entropy = (const double *)zeros,
                                  .embeddings = (const float *)zeros};
    struct frame_header header = {.type = FRAME_RESULT, .id = link.frame.id + (lie == WRONG_ID)};
    header.length = frame_put_result(&bounds, &result, payload, parts);
    if (lie == HUGE_LENGTH)
        header.length = UINT64_MAX;
    frame_put_header(&header, head);
    if (lie == BAD_MAGIC)
        head[0] ^= 1;
    send_all(head, sizeof head);
    for (size_t i = 0; i < (lie == HALF_A_RESULT ? 1 : FRAME_RESULT_PARTS); i++)
        send_all(parts[i].iov_base, parts[i].iov_len);
    if (lie != HALF_A_RESULT)
        pause();
    link_free(&link);
    return 0;
}

int honest_or_not(int argc, char **argv) {
    if (argc < 3 || !made_up_share(argv[2]))
        return 2;
    fake->processes++;
    enum lie lie = atomic_exchange(&fake->lie, HONEST);
    return lie == HONEST ? engine_main(argc, argv) : lie_once(lie);
}

/* ---- another host */

int agent_main(int argc, char **argv) {
    char *const shell[] = {"sh", "-c", argv[2], NULL};
    const char *model = argc == 3 ? strstr(argv[2], "'--model' '") : NULL;
    char path[64];
    if (!model || sscanf(model, "'--model' '%60[^']", path) != 1 || !made_up_share(path))
        return 2;
    return fake->away ? 255 : execv("/bin/sh", shell);
}

/* ---- mpirun */

/* Someone who has found the socket, and does not know the token. */
static void visit(const char *address) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    uint8_t bytes[FRAME_HEADER_BYTES + FRAME_JOIN_BYTES];
    char answer;
    snprintf(to.sun_path, sizeof to.sun_path, "%s", address + strlen("unix:"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        _exit(3);
    frame_put_header(&(struct frame_header){.type = FRAME_JOIN, .length = FRAME_JOIN_BYTES}, bytes);
    struct frame_join join = {.rank = FRAME_NO_RANK};
    memcpy(join.token, getenv(JOIN_TOKEN), FRAME_TOKEN_BYTES);
    join.token[FRAME_TOKEN_BYTES - 1] ^= 1;
    frame_put_join(&join, bytes + FRAME_HEADER_BYTES);
    if (write(fd, bytes, sizeof bytes) != sizeof bytes || read(fd, &answer, 1) > 0)
        _exit(4); /* it must be turned away */
    close(fd);
}

/* What a killed mpirun leaves behind: files, and a session with another host. */
static void keep_things(void) {
    char name[128];
    const pid_t session = fork();
    if (session == 0) {
        alarm(60); /* should nobody end it */
        _exit(pause());
    }
    fake->session = session;
    snprintf(name, sizeof name, "%s/ompi.host.0", getenv("TMPDIR"));
    if (mkdir(name, 0700) != 0 || symlink("/etc/passwd", strcat(name, "/file")) != 0)
        _exit(5);
}

int mpirun_main(int argc, char **argv) {
    int ranks = atoi(argv[2]), program = 0;
    bool visited = false;
    while (program + 1 < argc && strcmp(argv[program + 1], "engine") != 0)
        visited = strcmp(argv[program++], "--visited") == 0 || visited;
    if (visited)
        visit(argv[argc - 1]);
    if (!made_up_share(argv[program + 3])) /* … engine --model FILE */
        return 6;
    keep_things();
    hang(BEFORE_RANKS_COME);
    pid_t pids[16];
    for (int r = 0; r < ranks; r++) {
        char text[16];
        snprintf(text, sizeof text, "%d", r);
        setenv("MADE_UP_RANK", text, 1);
        setenv("MADE_UP_RANKS", argv[2], 1);
        pids[r] = fork();
        if (pids[r] == 0)
            _exit(execv(argv[program], argv + program));
    }
    int status = 0;
    for (int left = ranks; left > 0 && status == 0; left--)
        wait(&status);
    for (int r = 0; r < ranks && status != 0; r++)
        kill(pids[r], SIGKILL);
    kill(fake->session, SIGKILL);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
