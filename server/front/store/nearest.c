/* nearest.c - Levenshtein's distance in a band around the diagonal (Ukkonen, "Algorithms for approximate
 * string matching", 1985): a cell further from it than the limit cannot be on a path within the limit. */
#include "server/front/store/nearest.h"

#include <string.h>

static unsigned smaller(unsigned a, unsigned b) {
    return a < b ? a : b;
}

unsigned nearest_distance(struct text a, struct text b) {
    const size_t far = NEAREST_FAR;
    const size_t apart = a.size > b.size ? a.size - b.size : b.size - a.size;
    if (a.size > NEAREST_LONGEST || b.size > NEAREST_LONGEST || apart >= far)
        return NEAREST_FAR;

    /* row[j]: the distance between a's first i bytes and b's first j; NEAREST_FAR outside the band. */
    unsigned char row[NEAREST_LONGEST + 1];
    for (size_t j = 0; j <= b.size; j++)
        row[j] = (unsigned char)(j < far ? j : far);
    for (size_t i = 1; i <= a.size; i++) {
        const size_t first = i > far ? i - far : 1;
        const size_t last = i + far < b.size ? i + far : b.size;
        unsigned diagonal = row[first - 1];
        row[first - 1] = (unsigned char)(first == 1 && i < far ? i : far);
        for (size_t j = first; j <= last; j++) {
            const unsigned replaced = diagonal + (a.data[i - 1] != b.data[j - 1]);
            diagonal = row[j];
            const unsigned moved = smaller(diagonal, row[j - 1]) + 1;
            row[j] = (unsigned char)smaller(smaller(replaced, moved), NEAREST_FAR);
        }
    }
    return row[b.size];
}
