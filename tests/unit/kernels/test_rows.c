/* Operations on rows: embedding the input, LayerNorm, the activations' accuracy, reading the answer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/number.h"
#include "tests/unit/kernels/fixture.h"
#include "tests/unit/kernels/host_ops.h"

static const uint32_t row_counts[] = {0, 1, 2, 3, 15, 16, 17, 33, 100};
static const uint32_t widths[] = {1, 3, 7, 16, 17, 31, 64, 65, 192, 200};
enum { ROWS = 100, WIDTHS = sizeof widths / sizeof *widths };

static void check_layernorm(const struct fixture *f) {
    struct random_stream s = {1};
    for (size_t i = 0; i < WIDTHS; i++) {
        uint32_t width = widths[i];
        size_t n = (size_t)ROWS * width;
        float *x = random_floats(&s, n, 3), *weight = random_floats(&s, width, 2);
        float *bias = random_floats(&s, width, 1);
        for (size_t r = 0; r < ROWS; r++) /* odd rows far from zero, where the mean has few digits to spare */
            for (size_t c = 0; r % 2 && c < width; c++)
                x[r * width + c] += 200;
        float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got),
              *one = malloc(n * sizeof *one);
        float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
        host_layernorm(f->reference, x, weight, bias, 1e-6f, ROWS, width, a, want);
        host_layernorm(f->tested, x, weight, bias, 1e-6f, ROWS, width, b, got);
        for (size_t r = 0; r < ROWS; r++) {
            float absolute = r % 2 ? 1e-3f : 2e-5f;
            size_t at = r * width;
            assert_close(f, "layernorm float32", got + at, want + at, width, absolute, 1e-6f);
            assert_close(f, "layernorm act", b + at, a + at, width, absolute, act_error(f));
        }
        host_layernorm(f->tested, x, weight, bias, 1e-6f, ROWS, width, NULL, one);
        assert_same_bits(f, "layernorm, float32 alone", one, got, n * sizeof *one);
        memcpy(one, x, n * sizeof *one);
        host_layernorm(f->tested, one, weight, bias, 1e-6f, ROWS, width, a, one);
        assert_same_bits(f, "layernorm in place", one, got, n * sizeof *one);
        assert_same_bits(f, "layernorm in place, act", a, b, n * sizeof *a);
        for (size_t j = 0; j < sizeof row_counts / sizeof *row_counts; j++) {
            uint32_t rows = row_counts[j], first = random_below(&s, ROWS - rows + 1);
            host_layernorm(f->tested, x + (size_t)first * width, weight, bias, 1e-6f, rows, width, NULL, one);
            assert_same_bits(f, "layernorm of some rows", one, got + (size_t)first * width,
                             (size_t)rows * width * sizeof *one);
        }
        free(a);
        free(b);
        free(x);
        free(weight);
        free(bias);
        free(want);
        free(got);
        free(one);
    }
}

static void layernorm_agrees(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_layernorm);
}

static void check_pool(const struct fixture *f) {
    static const uint32_t start[] = {0, 1, 3, 6, 21, 37, 54, 100};
    static const enum kernels_pooling pooling[] = {KERNELS_POOL_MEAN, KERNELS_POOL_REST, KERNELS_POOL_FIRST,
                                                   KERNELS_POOL_LAST};
    enum { N = sizeof start / sizeof *start - 1 };
    struct random_stream s = {2};
    for (size_t i = 0; i < WIDTHS; i++) {
        uint32_t width = widths[i];
        float *x = random_floats(&s, (size_t)ROWS * width, 1);
        const size_t n = (size_t)N * width;
        float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
        for (size_t p = 0; p < sizeof pooling / sizeof *pooling; p++) {
            float *act = malloc(n * sizeof *act), *f32 = malloc(n * sizeof *f32);
            host_pool(f->reference, pooling[p], x, start, N, width, act, f32);
            host_pool(f->tested, pooling[p], x, start, N, width, a, b);
            /* One order of additions for all: equal to the last bit but for what a subnormal may lose. */
            assert_close(f, "pool, act", a, act, n, 1e-30f, 0);
            assert_close(f, "pool, float32", b, f32, n, 1e-30f, 0);
            host_pool(f->tested, pooling[p], x, start, N, width, act, NULL);
            host_pool(f->tested, pooling[p], x, start, N, width, NULL, f32);
            assert_same_bits(f, "pool, act alone", act, a, n * sizeof *act);
            assert_same_bits(f, "pool, float32 alone", f32, b, n * sizeof *f32);
            for (size_t q = 0; q < N; q++) {
                const bool alone = start[q + 1] - start[q] < 3; /* one row, or one beside the first */
                size_t row = pooling[p] == KERNELS_POOL_FIRST ? start[q] : start[q + 1] - 1;
                if (pooling[p] == KERNELS_POOL_FIRST || pooling[p] == KERNELS_POOL_LAST ||
                    (pooling[p] == KERNELS_POOL_REST && alone))
                    assert_close(f, "pool, a row", b + q * width, x + row * width, width, 0, 0);
            }
            free(act);
            free(f32);
        }

        /* Unit vectors, one row all zero. */
        float *z = random_floats(&s, (size_t)N * width, 5);
        memset(z + width, 0, width * sizeof *z);
        memcpy(a, z, N * width * sizeof *a);
        host_normalize(f->reference, z, N, width);
        host_normalize(f->tested, a, N, width);
        assert_close(f, "normalize", a, z, (size_t)N * width, 0, 1e-6f);
        free(z);
        free(a);
        free(b);
        free(x);
    }
}

static void pooling_and_unit_vectors_agree(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_pool);
}

/* What act makes of a float32, by the mean of a single row: ties to even, the greatest to infinity, and no NaN to
 * anything else, as the carry of rounding one up would. */
static void check_act(const struct fixture *f) {
    static const struct {
        uint32_t bits;
        uint16_t bf16;
    } cases[] = {{0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
                 {0x3f817fff, 0x3f81}, {0x3f818000, 0x3f82}, {0xbf818000, 0xbf82}, {0xbf808000, 0xbf80},
                 {0x00800000, 0x0080}, {0x3fffffff, 0x4000}, {0x7f7f7fff, 0x7f7f}, {0x7f7f8000, 0x7f80},
                 {0xff7fffff, 0xff80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80}};
    enum { CASES = sizeof cases / sizeof *cases, NANS = 8, WIDTH = CASES + NANS };
    static const uint32_t start[] = {0, 1}, nan[] = {0x7fffffff, 0xffffffff, 0x7fc00000, 0x7fff8000};
    float x[WIDTH], act[WIDTH], f32[WIDTH];
    for (size_t i = 0; i < WIDTH; i++)
        x[i] = float_from_bits(i < CASES ? cases[i].bits : nan[(i - CASES) % 4]);
    host_pool(f->tested, KERNELS_POOL_MEAN, x, start, 1, WIDTH, act, f32);
    for (size_t i = 0; i < WIDTH; i++) {
        const float want = f->bf16 && i < CASES ? bf16_to_float(cases[i].bf16) : x[i];
        if (i < CASES ? act[i] != want || f32[i] != x[i] : !isnan(act[i]) || !isnan(f32[i]))
            fail_msg("%s, %s: %#x became %#x", f->isa, f->bf16 ? "bfloat16" : "float32", float_bits(x[i]),
                     float_bits(act[i]));
    }
}

static void act_is_rounded_to_even(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_act);
}

/* The layout itself, of the last picture: its lead is zeros, element (r * patch + c) * 3 + ch of its last patch
 * is its own pixel. */
static void check_layout(const struct fixture *f, const float *flat, const uint8_t *const *pixels, uint32_t n,
                         uint32_t size, uint32_t patch, uint32_t lead, const float *mean, const float *std) {
    uint32_t r = patch - 1, c = patch / 2, ch = 1, corner = size / patch * patch - patch;
    size_t patch_elements = (size_t)patch * patch * 3, picture = patches_elements(1, size, patch, lead);
    flat += (n - 1) * picture;
    for (size_t i = 0; i < lead * patch_elements; i++)
        assert_true(flat[i] == 0);
    float pixel = (float)pixels[n - 1][((size_t)(corner + r) * size + corner + c) * 3 + ch] / 255;
    size_t at = picture - patch_elements + ((size_t)r * patch + c) * 3 + ch;
    assert_true(fabsf(flat[at] - (pixel - mean[ch]) / std[ch]) < (f->bf16 ? 0.01f : 1e-6f));
}

static void check_patches(const struct fixture *f) {
    static const struct {
        uint32_t size, patch, lead, n;
    } shapes[] = {{6, 2, 0, 1},  {15, 5, 0, 3},  {64, 8, 0, 5},  {28, 14, 1, 2}, {6, 2, 3, 4},
                  {17, 5, 0, 3}, {41, 14, 2, 2}, {33, 32, 1, 2}, {70, 32, 1, 3}, {384, 14, 0, 1}};
    const float mean[] = {0.5f, 0.25f, 0.4f}, std[] = {0.5f, 0.3f, 0.2f};
    struct random_stream s = {3};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        uint32_t size = shapes[i].size, patch = shapes[i].patch, lead = shapes[i].lead, n = shapes[i].n;
        size_t bytes = (size_t)size * size * 3, elements = patches_elements(n, size, patch, lead);
        uint8_t *pixels[5];
        for (uint32_t p = 0; p < n; p++) {
            pixels[p] = malloc(bytes);
            for (size_t b = 0; b < bytes; b++)
                pixels[p][b] = (uint8_t)random_below(&s, 256);
        }
        const uint8_t *const *in = (const uint8_t *const *)pixels;
        void *want = host_patches(f->reference, in, n, size, patch, lead, mean, std);
        void *got = host_patches(f->tested, in, n, size, patch, lead, mean, std);
        assert_same_bits(f, "patches", got, want, elements * f->tested->act_size);
        float *flat = get_act(f->reference, got, elements); /* both are the host's by now */
        check_layout(f, flat, in, n, size, patch, lead, mean, std);
        free(flat);
        free(want);
        free(got);
        for (uint32_t p = 0; p < n; p++)
            free(pixels[p]);
    }
}

static void patches_agree(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_patches);
}

/* Pictures larger than what goes to a device at once (8 MiB); most of each is not read, for time's sake. */
static void check_large_pictures(const struct fixture *f) {
    enum { SIZE = 1700, PATCH = 851, PICTURES = 2, BYTES = SIZE * SIZE * 3 };
    const float mean[] = {0.5f, 0.25f, 0.4f}, std[] = {0.5f, 0.3f, 0.2f};
    if (!f->elsewhere || !f->bf16)
        return; /* the host's memory has no such bound, and the dtype no part in it */
    struct random_stream s = {5};
    uint8_t *pixels = malloc((size_t)PICTURES * BYTES);
    const uint8_t *in[PICTURES];
    for (size_t i = 0; i < (size_t)PICTURES * BYTES; i++)
        pixels[i] = (uint8_t)random_below(&s, 256);
    for (size_t i = 0; i < PICTURES; i++)
        in[i] = pixels + i * BYTES;
    void *want = host_patches(f->reference, in, PICTURES, SIZE, PATCH, 1, mean, std);
    void *got = host_patches(f->tested, in, PICTURES, SIZE, PATCH, 1, mean, std);
    assert_same_bits(f, "patches of large pictures", got, want,
                     patches_elements(PICTURES, SIZE, PATCH, 1) * f->tested->act_size);
    free(got);
    free(want);
    free(pixels);
}

static void patches_of_large_pictures_agree(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_large_pictures);
}

static void check_embed(const struct fixture *f) {
    enum { VOCAB = 11, WIDTH = 21, N = 13, POSITIONS = 4 };
    struct random_stream s = {4};
    /* Stored in each format, at an odd address. */
    const enum kernels_storage storage[] = {KERNELS_F32, KERNELS_BF16, KERNELS_F16};
    unsigned char raw[VOCAB * WIDTH * 4 + 1];
    for (int t = 0; t < 3; t++) {
        for (size_t i = 0; i < VOCAB * WIDTH; i++) {
            float v = random_float(&s);
            uint16_t half = (uint16_t)random_below(&s, 0x7c00); /* finite in both 16-bit formats */
            if (storage[t] == KERNELS_F32)
                memcpy(raw + 1 + 4 * i, &v, 4);
            else
                memcpy(raw + 1 + 2 * i, &half, 2);
        }
        float *position = random_floats(&s, POSITIONS * WIDTH, 1), want[N * WIDTH], got[N * WIDTH];
        int32_t id[N];
        uint32_t position_id[N];
        for (int i = 0; i < N; i++) {
            id[i] = (int32_t)random_below(&s, VOCAB);
            position_id[i] = random_below(&s, POSITIONS);
        }
        struct kernels *both[] = {f->reference, f->tested};
        float *x[] = {want, got};
        for (int k = 0; k < 2; k++) {
            struct kernels_table *table;
            struct limoe_error err;
            assert_int_equal(both[k]->ops->load_table(both[k], (struct kernels_tensor){raw + 1, storage[t]},
                                                      VOCAB, WIDTH, &table, &err),
                             LIMOE_OK);
            host_embed_tokens(both[k], table, position, POSITIONS, id, position_id, N, WIDTH, x[k]);
            both[k]->ops->table_free(both[k], table);
        }
        assert_same_bits(f, "embed_tokens", got, want, sizeof want);
        if (storage[t] == KERNELS_F32) {
            float v;
            memcpy(&v, raw + 1 + ((size_t)id[2] * WIDTH + 5) * 4, 4);
            assert_true(got[2 * WIDTH + 5] == v + position[position_id[2] * WIDTH + 5]);
        }
        host_tile_rows(f->reference, position, POSITIONS, 3, WIDTH, want);
        host_tile_rows(f->tested, position, POSITIONS, 3, WIDTH, got);
        assert_same_bits(f, "tile_rows", got, want, 3 * POSITIONS * WIDTH * sizeof *got);
        assert_same_bits(f, "tile_rows", got + 2 * POSITIONS * WIDTH, position,
                         POSITIONS * WIDTH * sizeof *got);
        free(position);
    }
}

static void embedding_agrees(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_embed);
}

/* The activations over their whole range, against double precision: within 3 units in the last place of
 * |v|, which bounds |y|. The matrix is the identity, so v is the input. */
static void check_activations(const struct fixture *f) {
    enum { N = 4801 };
    if (f->bf16)
        return; /* the same arithmetic, rounded */
    float one = 1, x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = (float)(i - N / 2) / 200;
    x[0] = -1e4f;
    x[1] = 1e4f;
    x[2] = -1e-30f;
    struct kernels_matrix *m;
    struct limoe_error err;
    assert_int_equal(f->tested->ops->pack(f->tested, (struct kernels_tensor){&one, KERNELS_F32},
                                          (struct kernels_tensor){0}, 1, 1, 1, &m, &err),
                     LIMOE_OK);
    const enum kernels_epilogue kinds[] = {KERNELS_GELU_TANH, KERNELS_GELU_ERF, KERNELS_QUICK_GELU};
    for (int e = 0; e < 3; e++) {
        float *in = put_floats(f->tested, x, N), *out = put_floats(f->tested, x, N);
        f->tested->ops->linear(f->tested, m, in, N, kinds[e], out);
        f->tested->ops->download(f->tested, y, out, sizeof y);
        f->tested->ops->release(f->tested, in);
        f->tested->ops->release(f->tested, out);
        for (int i = 0; i < N; i++) {
            double v = x[i], want;
            if (kinds[e] == KERNELS_GELU_TANH)
                want = v / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (v + 0.044715 * v * v * v)));
            else if (kinds[e] == KERNELS_GELU_ERF)
                want = v / 2 * erfc(-v / sqrt(2));
            else
                want = v / (1 + exp(-1.702 * v));
            double error = fabs(y[i] - want) / (fabs(v) + 1e-300);
            if (!(error <= 3 * 0x1p-24))
                fail_msg("%s: activation %d of %.9g is %.9g, not %.17g", f->isa, e, v, (double)y[i], want);
        }
    }
    f->tested->ops->matrix_free(f->tested, m);
}

static void activations_are_accurate(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_activations);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layernorm_agrees),
        cmocka_unit_test(act_is_rounded_to_even),
        cmocka_unit_test(pooling_and_unit_vectors_agree),
        cmocka_unit_test(patches_agree),
        cmocka_unit_test(patches_of_large_pictures_agree),
        cmocka_unit_test(embedding_agrees),
        cmocka_unit_test(activations_are_accurate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
