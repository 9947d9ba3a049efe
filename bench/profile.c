/* profile.c - an instance of the kernels that times another's operations. */
#include "bench/profile.h"

#include <stdlib.h>

#include "base/error.h"
#include "bench/timing.h"

/* An operation and its extent; a number that it has not is 0. */
struct operation {
    const char *name;
    size_t rows, in, out, groups;
};

struct event {
    struct operation what;
    double start, seconds;
};

struct profile {
    struct event *event; /* [count], room for `room` */
    size_t count, room;
    bool full; /* there was no memory for more */
};

struct profiled {
    struct kernels base;
    struct kernels *inner;
    struct profile *profile;
    const uint32_t *start; /* [sequences + 1], as sequences() said */
    size_t sequences;
    struct limoe_error failure; /* the first, reported by sync() */
};

/* A packed matrix of the inner instance, and its shape, which is the backend's secret. */
struct kernels_matrix {
    struct kernels_matrix *inner;
    uint32_t groups, out, in;
};

static struct profiled *of(struct kernels *k) {
    return (struct profiled *)k;
}

static bool has_room(struct profile *p) {
    if (p->count < p->room)
        return true;
    const size_t room = p->room ? 2 * p->room : 4096;
    struct event *more = p->full ? NULL : realloc(p->event, room * sizeof *more);
    if (!more) {
        p->full = true;
        return false;
    }
    p->event = more;
    p->room = room;
    return true;
}

/* Waits for what was queued since `start`, and notes it. */
static void note(struct profiled *p, double start, struct operation what) {
    struct limoe_error err;
    if (p->inner->ops->sync(p->inner, &err) && !p->failure.status)
        p->failure = err;
    if (has_room(p->profile))
        p->profile->event[p->profile->count++] = (struct event){what, start, now() - start};
}

/* ---- memory and weights: handed through */

static void destroy(struct kernels *k) {
    if (!k)
        return;
    of(k)->inner->ops->destroy(of(k)->inner);
    free(k);
}

static void *alloc(struct kernels *k, size_t bytes) {
    return of(k)->inner->ops->alloc(of(k)->inner, bytes);
}

static void release(struct kernels *k, void *p) {
    of(k)->inner->ops->release(of(k)->inner, p);
}

static void upload(struct kernels *k, void *to, const void *host, size_t bytes) {
    of(k)->inner->ops->upload(of(k)->inner, to, host, bytes);
}

static void download(struct kernels *k, void *host, const void *from, size_t bytes) {
    of(k)->inner->ops->download(of(k)->inner, host, from, bytes);
}

static enum limoe_status pack(struct kernels *k, struct kernels_tensor weight, struct kernels_tensor bias,
                              uint32_t groups, uint32_t out, uint32_t in, struct kernels_matrix **packed,
                              struct limoe_error *err) {
    struct kernels *inner = of(k)->inner;
    struct kernels_matrix *m = malloc(sizeof *m);
    *packed = NULL;
    if (!m)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a matrix's shape");
    *m = (struct kernels_matrix){.groups = groups, .out = out, .in = in};
    enum limoe_status status = inner->ops->pack(inner, weight, bias, groups, out, in, &m->inner, err);
    if (status)
        free(m);
    else
        *packed = m;
    return status;
}

static void matrix_free(struct kernels *k, struct kernels_matrix *m) {
    if (m)
        of(k)->inner->ops->matrix_free(of(k)->inner, m->inner);
    free(m);
}

static float *upload_vector(struct kernels *k, struct kernels_tensor t, size_t n) {
    return of(k)->inner->ops->upload_vector(of(k)->inner, t, n);
}

static enum limoe_status load_table(struct kernels *k, struct kernels_tensor t, uint32_t rows, uint32_t width,
                                    struct kernels_table **table, struct limoe_error *err) {
    return of(k)->inner->ops->load_table(of(k)->inner, t, rows, width, table, err);
}

static void table_free(struct kernels *k, struct kernels_table *t) {
    of(k)->inner->ops->table_free(of(k)->inner, t);
}

static void sequences(struct kernels *k, const uint32_t *host_start, size_t n) {
    of(k)->start = host_start;
    of(k)->sequences = n;
    of(k)->inner->ops->sequences(of(k)->inner, host_start, n);
}

static bool begin(struct kernels *k, const struct kernels_shape *shape) {
    (void)k;
    (void)shape;
    return false;
}

static void end(struct kernels *k) {
    (void)k;
}

static enum limoe_status sync(struct kernels *k, struct limoe_error *err) {
    struct profiled *p = of(k);
    if (!p->failure.status)
        return p->inner->ops->sync(p->inner, err);
    const struct limoe_error failure = p->failure;
    p->failure = (struct limoe_error){.status = LIMOE_OK};
    return limoe_fail(err, failure.status, "%s", failure.message);
}

/* ---- operations: timed */

/* Calls an operation of the inner instance with what follows its instance, and notes it as `...`. */
#define TIMED(k, op, arguments, ...)                                                                         \
    do {                                                                                                     \
        struct kernels *inner = of(k)->inner;                                                                \
        const double begun = now();                                                                          \
        inner->ops->op arguments;                                                                            \
        note(of(k), begun, (struct operation){#op, __VA_ARGS__});                                            \
    } while (0)

static void patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size, uint32_t patch,
                    uint32_t lead, const float mean[3], const float std[3], void *out) {
    const size_t side = size / patch;
    TIMED(k, patches, (inner, pixels, n, size, patch, lead, mean, std, out), n * (lead + side * side),
          (size_t)3 * patch * patch, (size_t)3 * patch * patch, 0);
}

static void tile_rows(struct kernels *k, const float *rows, uint32_t period, size_t n, uint32_t width,
                      float *x) {
    TIMED(k, tile_rows, (inner, rows, period, n, width, x), n * period, width, width, 0);
}

static void embed_tokens(struct kernels *k, const struct kernels_table *table, const float *position,
                         const int32_t *id, const uint32_t *position_id, size_t n, float *x) {
    TIMED(k, embed_tokens, (inner, table, position, id, position_id, n, x), n, 0, 0, 0);
}

static void linear(struct kernels *k, const struct kernels_matrix *m, const void *in, size_t rows,
                   enum kernels_epilogue epilogue, void *y) {
    TIMED(k, linear, (inner, m->inner, in, rows, epilogue, y), rows, m->in, m->out, 1);
}

/* How many groups have rows; offset[groups + 1] where the host can read it. */
static size_t used_groups(const struct profiled *p, const uint32_t *offset, uint32_t groups) {
    size_t used = 0;
    if (p->inner->kind != KERNELS_CPU)
        return groups;
    for (uint32_t g = 0; g < groups; g++)
        used += offset[g + 1] > offset[g];
    return used;
}

static void grouped_linear(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset,
                           const void *in, size_t rows, enum kernels_epilogue epilogue, void *y) {
    TIMED(k, grouped_linear, (inner, m->inner, offset, in, rows, epilogue, y), rows, m->in, m->out,
          used_groups(of(k), offset, m->groups));
}

static void layernorm(struct kernels *k, const float *x, const float *weight, const float *bias, float eps,
                      size_t rows, uint32_t width, void *out_act, float *out_f32) {
    TIMED(k, layernorm, (inner, x, weight, bias, eps, rows, width, out_act, out_f32), rows, width, width, 0);
}

static size_t rows_of(const struct profiled *p) {
    return p->sequences ? p->start[p->sequences] : 0;
}

/* The rows that a row attends to, on the average. */
static size_t attended(const struct profiled *p, enum kernels_mask mask) {
    size_t pairs = 0, rows = rows_of(p);
    for (size_t i = 0; i < p->sequences; i++) {
        const size_t length = p->start[i + 1] - p->start[i];
        pairs += mask == KERNELS_CAUSAL ? length * (length + 1) / 2 : length * length;
    }
    return rows ? (pairs + rows / 2) / rows : 0;
}

static void attention(struct kernels *k, const void *qkv, uint32_t width, uint32_t heads,
                      enum kernels_mask mask, const struct kernels_qk_norm *norm, void *out) {
    TIMED(k, attention, (inner, qkv, width, heads, mask, norm, out), rows_of(of(k)), attended(of(k), mask),
          width, 0);
}

static void attention_pool(struct kernels *k, const float *query, const void *kv, uint32_t width,
                           uint32_t heads, void *out) {
    TIMED(k, attention_pool, (inner, query, kv, width, heads, out), rows_of(of(k)), 2 * (size_t)width, width,
          0);
}

static void router_logits(struct kernels *k, const float *x, const float *w, size_t rows, uint32_t width,
                          uint32_t experts, float *logits) {
    TIMED(k, router_logits, (inner, x, w, rows, width, experts, logits), rows, width, experts, 0);
}

static void gate(struct kernels *k, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
                 bool renormalize, int32_t *expert, float *weight) {
    TIMED(k, gate, (inner, logits, rows, experts, top_k, renormalize, expert, weight), rows, experts, top_k,
          0);
}

static void gate_entropy(struct kernels *k, const float *logits, size_t rows, uint32_t experts,
                         float *entropy) {
    TIMED(k, gate_entropy, (inner, logits, rows, experts, entropy), rows, experts, 1, 0);
}

static void plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
                 struct kernels_plan made) {
    TIMED(k, plan, (inner, expert, rows, experts, top_k, made), rows, top_k, top_k, 0);
}

static void dispatch(struct kernels *k, const void *in, struct kernels_plan made, uint32_t experts,
                     size_t max_slots, uint32_t width, void *out) {
    TIMED(k, dispatch, (inner, in, made, experts, max_slots, width, out), max_slots, width, width, 0);
}

static void combine(struct kernels *k, const void *y, struct kernels_plan made, const int32_t *expert,
                    const float *weight, size_t rows, uint32_t top_k, uint32_t width, float *x) {
    TIMED(k, combine, (inner, y, made, expert, weight, rows, top_k, width, x), rows, (size_t)top_k * width,
          width, 0);
}

static void pool(struct kernels *k, enum kernels_pooling pooling, const float *x, uint32_t width,
                 void *out_act, float *out_f32) {
    TIMED(k, pool, (inner, pooling, x, width, out_act, out_f32), rows_of(of(k)), width, width, 0);
}

static void normalize(struct kernels *k, float *z, size_t n, uint32_t width) {
    TIMED(k, normalize, (inner, z, n, width), n, width, width, 0);
}

static const struct kernels_ops ops = {
    .destroy = destroy,
    .alloc = alloc,
    .release = release,
    .upload = upload,
    .download = download,
    .pack = pack,
    .matrix_free = matrix_free,
    .upload_vector = upload_vector,
    .load_table = load_table,
    .table_free = table_free,
    .sequences = sequences,
    .begin = begin,
    .end = end,
    .patches = patches,
    .tile_rows = tile_rows,
    .embed_tokens = embed_tokens,
    .linear = linear,
    .grouped_linear = grouped_linear,
    .layernorm = layernorm,
    .attention = attention,
    .router_logits = router_logits,
    .gate = gate,
    .gate_entropy = gate_entropy,
    .plan = plan,
    .dispatch = dispatch,
    .combine = combine,
    .pool = pool,
    .attention_pool = attention_pool,
    .normalize = normalize,
    .sync = sync,
};

enum limoe_status profile_create(struct kernels *inner, struct profile **profile, struct kernels **out,
                                 struct limoe_error *err) {
    struct profiled *p = calloc(1, sizeof *p);
    *out = NULL;
    *profile = calloc(1, sizeof **profile);
    if (!p || !*profile) {
        free(p);
        free(*profile);
        *profile = NULL;
        inner->ops->destroy(inner);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a profile");
    }
    *p = (struct profiled){.base = *inner, .inner = inner, .profile = *profile};
    p->base.ops = &ops;
    *out = &p->base;
    return LIMOE_OK;
}

void profile_restart(struct profile *p) {
    p->count = 0;
}

bool profile_write(const struct profile *p, FILE *to) {
    fputs("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [", to);
    for (size_t i = 0; i < p->count; i++) {
        const struct event *e = &p->event[i];
        fprintf(to,
                "%s\n{\"name\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, \"dur\": %.3f, "
                "\"args\": {\"rows\": %zu, \"in\": %zu, \"out\": %zu, \"groups\": %zu}}",
                i ? "," : "", e->what.name, (e->start - p->event[0].start) * 1e6, e->seconds * 1e6,
                e->what.rows, e->what.in, e->what.out, e->what.groups);
    }
    fputs("\n]}\n", to);
    return !p->full && !ferror(to);
}

void profile_free(struct profile *p) {
    if (p)
        free(p->event);
    free(p);
}
