/* backward_linear.c - y = x W^T + b and the activation behind it. */
#include <math.h>

#include "kernels/reference/backward.h"
#include "kernels/reference/reference.h"

/* dx[r][i] = sum over o of dy[r][o] W[o][i] */
static void input_gradient(const struct backward_matrix *m, uint32_t group, const float *dy, size_t first,
                           size_t last, float *dx) {
    const float *weight = m->weight + (size_t)group * m->out * m->in;
    for (size_t r = first; r < last; r++)
        for (uint32_t i = 0; i < m->in; i++) {
            double sum = 0;
            for (uint32_t o = 0; o < m->out; o++)
                sum += (double)dy[r * m->out + o] * (double)weight[(size_t)o * m->in + i];
            dx[r * m->in + i] = (float)sum;
        }
}

/* dW[o][i] += sum over r of dy[r][o] x[r][i] */
static void weight_gradient(const struct backward_matrix *m, uint32_t group, const float *x, const float *dy,
                            size_t first, size_t last) {
    float *dweight = m->dweight + (size_t)group * m->out * m->in;
    for (uint32_t o = 0; o < m->out; o++)
        for (uint32_t i = 0; i < m->in; i++) {
            double sum = 0;
            for (size_t r = first; r < last; r++)
                sum += (double)dy[r * m->out + o] * (double)x[r * m->in + i];
            dweight[(size_t)o * m->in + i] += (float)sum;
        }
}

static void bias_gradient(const struct backward_matrix *m, uint32_t group, const float *dy, size_t first,
                          size_t last) {
    for (uint32_t o = 0; o < m->out; o++) {
        double sum = 0;
        for (size_t r = first; r < last; r++)
            sum += (double)dy[r * m->out + o];
        m->dbias[(size_t)group * m->out + o] += (float)sum;
    }
}

void reference_backward_linear(struct kernels *k, const struct backward_matrix *m, const uint32_t *offset,
                               const float *x, const float *dy, size_t rows, float *dx) {
    (void)k;
    for (uint32_t g = 0; g < (offset ? m->groups : 1); g++) {
        const size_t first = offset ? offset[g] : 0, last = offset ? offset[g + 1] : rows;
        if (dx)
            input_gradient(m, g, dy, first, last, dx);
        if (m->dweight)
            weight_gradient(m, g, x, dy, first, last);
        if (m->dbias)
            bias_gradient(m, g, dy, first, last);
    }
}

static double logistic(double x) {
    return 1 / (1 + exp(-x));
}

/* With s the logistic function and t = 2 sqrt(2/pi) (v + 0.044715 v^3), the tanh form is v s(t). */
static double activated(double v, enum kernels_epilogue kind) {
    switch (kind) {
    case KERNELS_GELU_TANH:
        return v * logistic(2 * sqrt(2 / M_PI) * (v + 0.044715 * v * v * v));
    case KERNELS_GELU_ERF:
        return v / 2 * (1 + erf(v / sqrt(2)));
    case KERNELS_QUICK_GELU:
        return v * logistic(1.702 * v);
    case KERNELS_STORE:
    case KERNELS_STORE_F32:
    case KERNELS_ADD_F32:
        break;
    }
    return v;
}

/* Of v s(t(v)): s + v s (1 - s) t'. */
static double gated_slope(double v, double t, double slope) {
    const double s = logistic(t);
    return s + v * s * logistic(-t) * slope;
}

static double slope(double v, enum kernels_epilogue kind) {
    const double c = 2 * sqrt(2 / M_PI);
    switch (kind) {
    case KERNELS_GELU_TANH:
        return gated_slope(v, c * (v + 0.044715 * v * v * v), c * (1 + 3 * 0.044715 * v * v));
    case KERNELS_GELU_ERF: /* Phi(v) + v phi(v) */
        return (1 + erf(v / sqrt(2))) / 2 + v * exp(-v * v / 2) / sqrt(2 * M_PI);
    case KERNELS_QUICK_GELU:
        return gated_slope(v, 1.702 * v, 1.702);
    case KERNELS_STORE:
    case KERNELS_STORE_F32:
    case KERNELS_ADD_F32:
        break;
    }
    return 1;
}

void reference_activate(struct kernels *k, enum kernels_epilogue kind, const float *v, size_t n, float *y) {
    (void)k;
    for (size_t i = 0; i < n; i++)
        y[i] = (float)activated((double)v[i], kind);
}

void reference_backward_activation(struct kernels *k, enum kernels_epilogue kind, const float *v,
                                   const float *dy, size_t n, float *dv) {
    (void)k;
    for (size_t i = 0; i < n; i++)
        dv[i] = (float)((double)dy[i] * slope((double)v[i], kind));
}
