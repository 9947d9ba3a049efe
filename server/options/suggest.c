/* suggest.c - edit distance. */
#include "server/options/suggest.h"

#include <string.h>

size_t suggest_distance(const char *a, const char *b) {
    const size_t n = strnlen(a, SUGGEST_LONGEST), m = strnlen(b, SUGGEST_LONGEST);
    size_t cost[SUGGEST_LONGEST + 1][SUGGEST_LONGEST + 1];
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
        const size_t distance = suggest_distance(wrong, name);
        if (distance < least && distance < strlen(name)) {
            least = distance;
            best = name;
        }
    }
    return best;
}
