/* shortlist.c - rows in 8 bits, and what they leave out. No state, any thread.
 *
 * A row b is scale × q and a rest, an image a likewise in 12 bits: a · b = â · b̂ + a · (b − b̂) + (a − â) · b̂, of which the first is an
 * integer product and the others are at most ‖a‖‖b − b̂‖ and ‖a − â‖‖b̂‖ (Cauchy and Schwarz). With as many rows as are wanted above a
 * cosine for certain, one that is below it for certain is none of them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/dot.h"
#include "limoe_shortlist.h"

#define MOST_LEVELS 127    /* of a row: 8 bits */
#define IMAGE_STEPS 2047   /* of an image, where a sum has room for them */
#define LEAST       1e-30f /* the largest of a row's, below which it has no levels */
#define BLOCK       1024   /* rows whose sums are held at once */
#define SLACK       4e-6f  /* of the lengths' product: what rounding to float adds */

struct shortlist_row {
    float scale, rest, length; /* ‖b − b̂‖, ‖b̂‖ */
};

struct limoe_shortlist {
    const float *rows; /* [n, embed] */
    size_t n, embed, width;
    struct shortlist_row *row; /* [n] */
    int8_t *levels;            /* [n, width]: zeros behind each row */
};

static size_t width_of(size_t embed) {
    return (embed + DOT_INT8_STEP - 1) / DOT_INT8_STEP * DOT_INT8_STEP;
}

size_t limoe_shortlist_bytes(size_t n, size_t embed) {
    return sizeof(struct limoe_shortlist) + n * (width_of(embed) + sizeof(struct shortlist_row));
}

static float largest(const float *x, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* A row that is no row of numbers is a candidate always. */
static void shorten(const float *x, size_t n, int8_t *levels, struct shortlist_row *out) {
    const float most = largest(x, n), scale = most / MOST_LEVELS;
    const bool told = most > LEAST && isfinite(scale);
    double rest = 0, length = 0;
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        finite &= isfinite(x[i]) != 0;
        levels[i] = told && finite ? (int8_t)lrintf(x[i] / scale) : 0;
        const double part = (double)(told ? scale : 0) * levels[i];
        rest += (x[i] - part) * (x[i] - part);
        length += part * part;
    }
    *out = (struct shortlist_row){.scale = told && finite ? scale : 0,
                                  .rest = finite ? (float)sqrt(rest) : INFINITY,
                                  .length = finite ? (float)sqrt(length) : 0};
}

enum limoe_status limoe_shortlist_new(const float *rows, size_t n, size_t embed, struct limoe_shortlist **out,
                                      struct limoe_error *err) {
    const size_t width = width_of(embed);
    struct limoe_shortlist *list = calloc(1, sizeof *list);
    struct shortlist_row *row = calloc(n, sizeof *row);
    int8_t *levels = calloc(n, width);
    if (!list || !row || !levels) {
        free(list);
        free(row);
        free(levels);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a shortlist of %zu rows", n);
    }
    *list = (struct limoe_shortlist){
        .rows = rows, .n = n, .embed = embed, .width = width, .row = row, .levels = levels};
    for (size_t i = 0; i < n; i++)
        shorten(rows + i * embed, embed, levels + i * width, &row[i]);
    *out = list;
    return LIMOE_OK;
}

void limoe_shortlist_free(struct limoe_shortlist *list) {
    if (!list)
        return;
    free(list->row);
    free(list->levels);
    free(list);
}

/* ---- an image */

struct image {
    int16_t *levels; /* [width] */
    double scale, rest, length;
};

/* False: no memory. */
static bool shorten_image(const struct limoe_shortlist *list, const float *x, struct image *out) {
    const double room = (double)INT32_MAX / MOST_LEVELS / (double)list->width;
    const double steps = floor(fmin(IMAGE_STEPS, room)), most = largest(x, list->embed);
    double rest = 0, length = 0;
    *out = (struct image){.levels = calloc(list->width, sizeof *out->levels),
                          .scale = most > LEAST ? most / steps : 1};
    for (size_t i = 0; out->levels && i < list->embed; i++) {
        const double level = isfinite(x[i] / out->scale) ? rint(x[i] / out->scale) : 0;
        const double left = x[i] - level * out->scale;
        out->levels[i] = (int16_t)level;
        rest += left * left;
        length += (double)x[i] * x[i];
    }
    out->rest = sqrt(rest);
    out->length = sqrt(length);
    return out->levels != NULL;
}

/* ---- the highest */

struct highest {
    size_t *index;
    float *value; /* [count] of at most k, descending */
    size_t k, count;
};

/* Most are below the lowest that is kept, so that inserting costs little. What is no number is not kept. */
static void offer(struct highest *kept, size_t index, float value) {
    if (isnan(value) || (kept->count == kept->k && value <= kept->value[kept->count - 1]))
        return;
    size_t at = kept->count < kept->k ? kept->count++ : kept->count - 1;
    for (; at > 0 && value > kept->value[at - 1]; at--) {
        kept->index[at] = kept->index[at - 1];
        kept->value[at] = kept->value[at - 1];
    }
    kept->index[at] = index;
    kept->value[at] = value;
}

/* The most that each cosine may be, to above[n]; *lowest: k of them are this for certain. index and value [k] are room. */
static void bound(const struct limoe_shortlist *list, const struct image *image, struct highest *certain,
                  float *above, double *lowest) {
    const float scale = (float)image->scale, length = (float)image->length, left = (float)image->rest;
    int32_t sum[BLOCK];
    float below[BLOCK];
    for (size_t first = 0; first < list->n; first += BLOCK) {
        const size_t n = list->n - first < BLOCK ? list->n - first : BLOCK;
        dot_rows_int8(image->levels, list->levels + first * list->width, n, list->width, sum);
        for (size_t i = 0; i < n; i++) {
            const struct shortlist_row *row = &list->row[first + i];
            const float about = scale * row->scale * (float)sum[i];
            const float rest =
                length * row->rest + left * row->length + SLACK * length * (row->length + row->rest);
            above[first + i] = about + rest;
            below[i] = about - rest;
        }
        for (size_t i = 0; i < n; i++)
            offer(certain, first + i, below[i]);
    }
    *lowest = certain->count == certain->k ? certain->value[certain->count - 1] : -INFINITY;
}

enum limoe_status limoe_shortlist_find(const struct limoe_shortlist *list, const float *image, size_t k,
                                       size_t *index, float *cosine, size_t *found, struct limoe_error *err) {
    struct image short_image = {.levels = NULL};
    float *above = malloc((list->n + 1) * sizeof *above);
    struct highest kept = {.index = index, .value = cosine, .k = k};
    double lowest;
    if (!above || k == 0 || !shorten_image(list, image, &short_image)) {
        free(above);
        *found = 0;
        return k == 0 ? LIMOE_OK : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu cosines", list->n);
    }
    bound(list, &short_image, &kept, above, &lowest);
    kept.count = 0;
    for (size_t i = 0; i < list->n; i++) {
        float one;
        if (above[i] < lowest)
            continue;
        dot_rows(image, list->rows + i * list->embed, 1, list->embed, &one);
        offer(&kept, i, one);
    }
    free(above);
    free(short_image.levels);
    *found = kept.count;
    return LIMOE_OK;
}
