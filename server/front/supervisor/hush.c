/* hush.c - Open MPI frames its messages by rules of dashes; the first line within says which message it is.
 * PMIx, which carries its ranks' words to it, says what befalls it in single lines.
 */
#include "server/front/supervisor/hush.h"

#include <ctype.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHORTEST_RULE = 60, LONGEST_LINE = 4096 }; /* a longer line is copied in parts */

static const char *const announcements[] = {
    "Primary job ",
    "mpirun noticed that process rank ",
    "mpirun detected that one or more processes exited ",
};

static bool is_rule(const char *line) {
    const size_t dashes = strspn(line, "-");
    return dashes >= SHORTEST_RULE && (line[dashes] == '\n' || line[dashes] == '\0');
}

static bool is_announcement(const char *line) {
    for (size_t i = 0; i < sizeof announcements / sizeof *announcements; i++)
        if (strncmp(line, announcements[i], strlen(announcements[i])) == 0)
            return true;
    return false;
}

/* What mpirun's libraries say of a connection to a rank that is gone: PMIx "[host:pid] PMIX ERROR:
 * UNREACHABLE in file F at line N", libevent "[warn] Epoll MOD(1) on fd N failed. …". Whether they say so
 * hangs on the moment at which the rank ended. */
static bool is_loss(const char *line) {
    static const char *const losses[] = {"UNREACHABLE in file ", "LOST_CONNECTION in file "};
    static const char error[] = " PMIX ERROR: ", event[] = "[warn] Epoll ";
    if (strncmp(line, event, sizeof event - 1) == 0)
        return true;
    if (*line != '[')
        return false;
    line += strcspn(line, " \n");
    if (line[-1] != ']' || !isdigit((unsigned char)line[-2]) || strncmp(line, error, sizeof error - 1) != 0)
        return false;
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        if (strncmp(line + sizeof error - 1, losses[i], strlen(losses[i])) == 0)
            return true;
    return false;
}

static bool is_over(int job) {
    struct pollfd end = {.fd = job, .events = POLLRDHUP};
    return job >= 0 && poll(&end, 1, 0) > 0;
}

/* Where a line is: outside of a message; its first, after the rule, which is held back; in one of either
 * kind. */
enum part { OUTSIDE, FIRST, SAID, HUSHED };

void hush_copy(int in, int out, int job) {
    FILE *from = fdopen(in, "r");
    char line[LONGEST_LINE] = "", rule[LONGEST_LINE];
    enum part part = OUTSIDE;
    while (from && fgets(line, sizeof line, from)) {
        const bool ends = is_rule(line);
        if (is_over(job) || (part == OUTSIDE && is_loss(line)))
            continue;
        if (part == OUTSIDE && ends) {
            memcpy(rule, line, sizeof rule);
            part = FIRST;
            continue;
        }
        if (part == FIRST) {
            part = is_announcement(line) ? HUSHED : SAID;
            if (part == SAID)
                dprintf(out, "%s", rule);
        }
        if (part != HUSHED && dprintf(out, "%s", line) < 0)
            break;
        if (ends)
            part = OUTSIDE;
    }
    if (part == FIRST && !is_over(job))
        dprintf(out, "%s", rule);
    if (from)
        fclose(from);
    else
        close(in);
}
