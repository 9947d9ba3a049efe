/* optimizer.c - AdamW element by element, and half a cosine. */
#include "kernels/optimizer.h"

#include <math.h>

void adamw_step(const struct adamw *how, size_t n, const float *g, float *w, float *m, float *v) {
    const double t = (double)how->step;
    const float kept = (float)(1 - how->rate * how->decay);
    const float b1 = (float)how->beta1, b2 = (float)how->beta2;
    const float c1 = (float)(1 - how->beta1), c2 = (float)(1 - how->beta2), eps = (float)how->eps;
    const float pace = (float)(how->rate / (1 - pow(how->beta1, t)));
    const float spread = (float)sqrt(1 - pow(how->beta2, t));
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        v[i] = b2 * v[i] + c2 * g[i] * g[i];
        w[i] = w[i] * kept - pace * m[i] / (sqrtf(v[i]) / spread + eps);
    }
}

double cosine_rate(uint64_t step, uint64_t steps, uint64_t warm, double peak, double least) {
    const double pi = 3.14159265358979323846;
    if (step > steps)
        return least;
    if (step <= warm)
        return peak * (double)step / (double)warm;
    return least + (peak - least) * (1 + cos(pi * (double)(step - warm) / (double)(steps - warm))) / 2;
}
