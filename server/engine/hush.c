/* hush.c - Open MPI frames its messages by rules of dashes; the first line within says which message it is.
 */
#include "engine/hush.h"

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

/* Where a line is: outside of a message; its first, after the rule, which is held back; in one of either
 * kind. */
enum place { OUTSIDE, FIRST, SAID, HUSHED };

void hush_copy(int in, int out) {
    FILE *from = fdopen(in, "r");
    char line[LONGEST_LINE] = "", rule[LONGEST_LINE];
    enum place place = OUTSIDE;
    while (from && fgets(line, sizeof line, from)) {
        const bool ends = is_rule(line);
        if (place == OUTSIDE && ends) {
            memcpy(rule, line, sizeof rule);
            place = FIRST;
            continue;
        }
        if (place == FIRST) {
            place = is_announcement(line) ? HUSHED : SAID;
            if (place == SAID)
                dprintf(out, "%s", rule);
        }
        if (place != HUSHED && dprintf(out, "%s", line) < 0)
            break;
        if (ends)
            place = OUTSIDE;
    }
    if (place == FIRST)
        dprintf(out, "%s", rule);
    if (from)
        fclose(from);
    else
        close(in);
}
