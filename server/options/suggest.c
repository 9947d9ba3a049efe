/* suggest.c - edit distance. */
#include "options/suggest.h"

#include <string.h>

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

const char *suggest(const char *wrong, const char *const *names, size_t n, size_t stride) {
    const char *best = NULL;
    size_t least = 3; /* more edits than two are another word */
    for (size_t i = 0; i < n; i++) {
        const char *name = *(const char *const *)((const char *)names + i * stride);
        const size_t distance = edit_distance(wrong, name);
        if (distance < least && distance < strlen(name)) {
            least = distance;
            best = name;
        }
    }
    return best;
}
