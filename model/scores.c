/* scores.c - from embeddings to zero-shot scores. Pure functions; sums are made in double,
 * in a fixed order. */
#include <float.h>
#include <math.h>

#include "kernels/dot.h"
#include "limoe.h"

enum { KEPT = 1024 };

/* The mean's length does not matter, so the sum is normalised. Opposite prompts may cancel:
 * zero stays zero. */
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

static void softmax(const float *cosine, size_t n, double scale, float *score) {
    double highest = -DBL_MAX, sum = 0;
    for (size_t i = 0; i < n; i++)
        highest = fmax(highest, scale * cosine[i]);
    /* Relative to the highest logit no exponential overflows, and the sum is at least 1. The first are kept
     * for the second pass: an exponential costs as much as half a dot product of width 192. */
    double kept[KEPT];
    for (size_t i = 0; i < n; i++) {
        const double e = exp(scale * cosine[i] - highest);
        sum += e;
        if (i < KEPT)
            kept[i] = e;
    }
    for (size_t i = 0; i < n; i++)
        score[i] = (float)((i < KEPT ? kept[i] : exp(scale * cosine[i] - highest)) / sum);
}

void limoe_scores(const float *image, const float *labels, size_t n, size_t embed,
                  const struct limoe_scoring *scoring, float *cosine, float *score) {
    dot_rows(image, labels, n, embed, cosine);
    if (!score)
        return;
    const double scale = exp((double)scoring->scale);
    if (scoring->kind == LIMOE_SOFTMAX)
        softmax(cosine, n, scale, score);
    else
        for (size_t i = 0; i < n; i++)
            score[i] = (float)(1 / (1 + exp(-(scale * cosine[i] + scoring->bias))));
}

void limoe_explain(const float *shares, size_t patches, size_t embed, const float *text, float *share,
                   float *rest) {
    float none;
    dot_rows(text, shares, patches, embed, share);
    dot_rows(text, shares + patches * embed, 1, embed, &none);
    for (size_t i = 0; i < patches; i++)
        share[i] = (float)(share[i] + (double)none / (double)patches);
    if (rest)
        *rest = none;
}
