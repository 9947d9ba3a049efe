/* scores.c - from embeddings to zero-shot scores. Pure functions; sums are made in double, in a fixed order.
 */
#include <float.h>
#include <math.h>

#include "limoe.h"

enum { LANES = 8 };

/* Eight interleaved partial sums, added in order at the end: one compiled loop whose order of additions
 * depends on n alone, and wide enough for vector registers. */
static double dot(const float *a, const float *b, size_t n) {
    double partial[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            partial[lane] += (double)a[i + lane] * b[i + lane];
    }
    for (size_t lane = 0; i < n; i++, lane++)
        partial[lane] += (double)a[i] * b[i];
    for (size_t lane = 0; lane < LANES; lane++)
        sum += partial[lane];
    return sum;
}

/* The mean's length does not matter, so the sum is normalised. Opposite prompts may cancel: zero stays zero.
 */
void limoe_ensemble(const float *prompts, size_t n, size_t embed, float *out) {
    double squares = 0;
    for (size_t j = 0; j < embed; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += prompts[i * embed + j];
        out[j] = (float)sum;
        squares += (double)out[j] * out[j];
    }
    if (squares == 0)
        return;
    const double scale = 1 / sqrt(squares);
    for (size_t j = 0; j < embed; j++)
        out[j] = (float)(out[j] * scale);
}

void limoe_scores(const float *image, const float *labels, size_t n, size_t embed, float logit_scale,
                  float *cosine, float *score) {
    const double scale = exp((double)logit_scale);
    double highest = -DBL_MAX, sum = 0;
    for (size_t i = 0; i < n; i++) {
        cosine[i] = (float)dot(image, labels + i * embed, embed);
        highest = fmax(highest, scale * cosine[i]);
    }
    /* Relative to the highest logit no exponential overflows, and the sum is at least 1. */
    for (size_t i = 0; i < n; i++)
        sum += exp(scale * cosine[i] - highest);
    for (size_t i = 0; i < n; i++)
        score[i] = (float)(exp(scale * cosine[i] - highest) / sum);
}
