/* cli.c - options, messages, files and the model, for every subcommand but serve (which has its own options).
 * One thread. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/model_dir.h"

/* A picture larger than this is refused before the rest of it is read. */
#define MAX_IMAGE_BYTES ((size_t)32 << 20)
/* Tokens of one step: enough to fill the matrix multiplications, few enough to keep the workspace small. */
#define STEP_TOKENS 2048u

/* ---- messages ---- */

void cli_complain(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("limoe: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int cli_usage(const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("limoe: ", stderr);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (see limoe %s%s--help)\n", command ? command : "", command ? " " : "");
    va_end(args);
    return CLI_USAGE;
}

/* Edits (insert, delete, replace a letter, swap neighbours) from a to b; names are short. */
static size_t edit_distance(const char *a, const char *b) {
    enum { LONGEST = 32 };
    const size_t n = strlen(a), m = strlen(b);
    size_t cost[LONGEST + 1][LONGEST + 1];
    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    for (size_t i = 0; i <= n; i++)
        cost[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        cost[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            size_t best = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (cost[i - 1][j] + 1 < best)
                best = cost[i - 1][j] + 1;
            if (cost[i][j - 1] + 1 < best)
                best = cost[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                cost[i - 2][j - 2] + 1 < best)
                best = cost[i - 2][j - 2] + 1;
            cost[i][j] = best;
        }
    return cost[n][m];
}

const char *cli_suggest(const char *wrong, const char *const *names, size_t n) {
    const char *best = NULL;
    size_t least = 3; /* more edits than two are another word */
    for (size_t i = 0; i < n; i++) {
        const size_t distance = edit_distance(wrong, names[i]);
        if (distance < least && distance < strlen(names[i])) {
            least = distance;
            best = names[i];
        }
    }
    return best;
}

/* ---- options ---- */

static int unknown_option(const struct cli *cli, const char *argument) {
    const char *names[32];
    char name[64];
    size_t n = 0;
    for (const struct option *flag = cli->flags; flag->name && n < sizeof names / sizeof *names; flag++)
        names[n++] = flag->name;
    snprintf(name, sizeof name, "%s", argument + strspn(argument, "-"));
    name[strcspn(name, "=")] = '\0';
    const char *meant = cli_suggest(name, names, n);
    if (meant)
        return cli_usage(cli->command, "%s has no option \"%s\"; did you mean --%s?", cli->command, argument,
                         meant);
    return cli_usage(cli->command, "%s has no option \"%s\"", cli->command, argument);
}

/* Why getopt stopped: a value is missing, a value is one too many, or there is no such option. */
static int bad_option(const struct cli *cli, int flag) {
    const char *argument = cli->argv[optind - 1];
    if (flag == ':')
        return cli_usage(cli->command, "%s: %s needs a value", cli->command, argument);
    for (const struct option *known = cli->flags; known->name; known++)
        if (optopt && known->val == optopt)
            return cli_usage(cli->command, "%s: --%s takes no value", cli->command, known->name);
    if (optopt) /* a letter, perhaps of several in one argument */
        return cli_usage(cli->command, "%s has no option \"-%c\"", cli->command, optopt);
    return unknown_option(cli, argument);
}

static bool read_dtype(const struct cli *cli, const char *value, enum limoe_dtype *out) {
    if (strcmp(value, "auto") == 0)
        *out = LIMOE_DTYPE_AUTO;
    else if (strcmp(value, "float32") == 0)
        *out = LIMOE_FLOAT32;
    else if (strcmp(value, "bfloat16") == 0)
        *out = LIMOE_BFLOAT16;
    else {
        cli_usage(cli->command, "--dtype is \"%s\"; accepted: auto, float32, bfloat16", value);
        return false;
    }
    return true;
}

bool cli_number(const struct cli *cli, const char *option, const char *value, size_t least, size_t most,
                size_t *out) {
    const size_t digits = strspn(value, "0123456789");
    const unsigned long long number = digits && digits < 19 && !value[digits] ? strtoull(value, NULL, 10) : 0;
    if (!digits || digits >= 19 || value[digits] || number < least || number > most) {
        cli_usage(cli->command, "--%s is \"%s\"; accepted: a whole number from %zu to %zu", option, value,
                  least, most);
        return false;
    }
    *out = (size_t)number;
    return true;
}

int cli_next(struct cli *cli, int *status) {
    opterr = 0;
    for (;;) {
        size_t threads;
        const int flag = getopt_long(cli->argc, cli->argv, ":h", cli->flags, NULL);
        *status = CLI_USAGE;
        switch (flag) {
        case -1:
            return CLI_END;
        case 'h':
            fputs(cli->help, stdout);
            *status = CLI_OK;
            return CLI_STOP;
        case '?':
        case ':':
            *status = bad_option(cli, flag);
            return CLI_STOP;
        case 1:
            cli->model = optarg;
            break;
        case 2:
            if (!read_dtype(cli, optarg, &cli->compute.dtype))
                return CLI_STOP;
            break;
        case 3:
            if (!cli_number(cli, "threads", optarg, 1, 1024, &threads))
                return CLI_STOP;
            cli->compute.threads = (uint32_t)threads;
            break;
        case 4:
            cli->json = true;
            break;
        default:
            return flag;
        }
    }
}

/* ---- work ---- */

bool session_open(struct session *session, const struct cli *cli) {
    char room[PATH_MAX];
    struct limoe_error err;
    const char *dir = model_dir(cli->model, room);
    const struct limoe_image_limits limits = {.max_bytes = MAX_IMAGE_BYTES};
    if (!dir) {
        cli_complain("no model: give --model DIR or set LIMOE_MODEL");
        return false;
    }
    if (limoe_processor_open(dir, &limits, &session->processor, &err) != LIMOE_OK ||
        limoe_model_open(dir, &cli->compute, &session->model, &err) != LIMOE_OK) {
        cli_complain("%s", err.message);
        return false;
    }
    return true;
}

void session_close(struct session *session) {
    limoe_model_close(session->model);
    limoe_processor_close(session->processor);
    *session = (struct session){0};
}

bool session_embed(struct session *session, const struct limoe_item *items, size_t n, float *embeddings) {
    const size_t embed = limoe_model_info(session->model)->embed;
    for (size_t first = 0, end; first < n; first = end) {
        struct limoe_error err;
        uint64_t tokens = items[first].length;
        for (end = first + 1; end < n && tokens + items[end].length <= STEP_TOKENS; end++)
            tokens += items[end].length;
        if (limoe_model_embed(session->model, items + first, end - first, embeddings + first * embed, NULL,
                              &err) != LIMOE_OK) {
            cli_complain("%s", err.message);
            return false;
        }
    }
    return true;
}

/* Reads to the end or to one byte past the limit, whichever comes first. NULL: errno says why. */
static uint8_t *read_all(int fd, size_t *size) {
    size_t capacity = 64 * 1024, n = 0;
    uint8_t *bytes = malloc(capacity);
    while (bytes && n <= MAX_IMAGE_BYTES) {
        if (n == capacity) {
            uint8_t *larger = realloc(bytes, capacity *= 2);
            if (!larger)
                break;
            bytes = larger;
        }
        const ssize_t got = read(fd, bytes + n, capacity - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        if (got == 0) {
            *size = n;
            return bytes;
        }
        n += (size_t)got;
    }
    if (bytes && n > MAX_IMAGE_BYTES)
        errno = EFBIG;
    free(bytes);
    return NULL;
}

bool cli_read_image(const char *path, struct arena *arena, struct request_item *out) {
    const bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    const int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    uint8_t *bytes = fd >= 0 ? read_all(fd, &size) : NULL;
    if (!bytes && errno == EFBIG)
        cli_complain("%s: more than %zu bytes", name, MAX_IMAGE_BYTES);
    else if (!bytes)
        cli_complain("%s: %s", name, strerror(errno));
    else if (size == 0)
        cli_complain("%s: empty", name);
    if (fd >= 0 && !standard)
        close(fd);

    uint8_t *copy = bytes && size ? arena_alloc(arena, size) : NULL;
    if (bytes && size && !copy)
        cli_complain("%s: no memory for %zu bytes", name, size);
    if (copy) {
        memcpy(copy, bytes, size);
        *out = (struct request_item){.modality = LIMOE_IMAGE, .bytes = copy, .size = size, .param = name};
    }
    free(bytes);
    return copy;
}

bool cli_print(struct buffer *out, bool json) {
    size_t size;
    if (json)
        buffer_string(out, "\n");
    char *data = buffer_take(out, &size);
    if (!data) {
        cli_complain("no memory for the answer");
        return false;
    }
    const bool written = fwrite(data, 1, size, stdout) == size;
    free(data);
    return written;
}
