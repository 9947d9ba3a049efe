/* answer_attention.c - shares of a cosine as JSON, and as a map over the picture. */
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/answer.h"
#include "server/api/attention.h"

/* A map's side is at least this, if a whole enlargement of the picture gets it there. */
#define MAP_SIDE 384u

uint32_t attention_side(const struct limoe_info *model) {
    return model->image_size / model->patch;
}

static size_t patches_of(const struct limoe_info *model) {
    return (size_t)attention_side(model) * attention_side(model);
}

size_t attention_shares_size(const struct limoe_info *model) {
    return (patches_of(model) + 1) * model->embed;
}

static size_t map_side(const struct limoe_info *model) {
    const size_t size = model->image_size;
    return size && size < MAP_SIDE ? (MAP_SIDE + size - 1) / size * size : size;
}

static size_t map_bytes(const struct limoe_info *model) {
    return map_side(model) * map_side(model) * 3;
}

size_t attention_size(const struct limoe_info *model, const struct attention_request *request) {
    const size_t shares = attention_shares_size(model) * sizeof(float);
    /* The map, and its file, which is no larger by much. */
    if (request->png)
        return shares + map_bytes(model) * 2 + map_bytes(model) / 4 + 65536;
    return shares + patches_of(model) * sizeof(float) + 256 + request->n * (128 + patches_of(model) * 16);
}

void attention_shares(const struct attention *a, size_t text, float *cosine, float *rest, float *share) {
    const size_t embed = a->model->embed;
    const float *vector = a->embeddings + (1 + text) * embed;
    const struct limoe_scoring scoring = {.kind = LIMOE_SOFTMAX};
    float score;
    limoe_scores(a->embeddings, vector, 1, embed, &scoring, cosine, &score);
    limoe_explain(a->shares, patches_of(a->model), embed, vector, share, rest);
}

/* ---- numbers */

static void write_grid(struct buffer *out, const float *share, size_t side) {
    for (size_t y = 0; y < side; y++) {
        buffer_string(out, y ? ",[" : "[");
        for (size_t x = 0; x < side; x++) {
            if (x)
                buffer_string(out, ",");
            buffer_json_float(out, share[y * side + x]);
        }
        buffer_string(out, "]");
    }
}

void attention_answer(struct buffer *out, const struct attention *a, const struct usage *usage) {
    const uint32_t side = attention_side(a->model);
    float *share = malloc(patches_of(a->model) * sizeof *share), cosine, rest;
    if (!share) {
        out->failed = true;
        return;
    }
    buffer_string(out, "{\"object\":\"attention\",\"model\":");
    buffer_json_string(out, a->model->name);
    buffer_print(out, ",\"kind\":\"contribution\",\"method\":\"%s\",\"rows\":%u,\"columns\":%u,\"data\":[",
                 limoe_shares_name(a->model->shares), side, side);
    for (size_t i = 0; i < a->n; i++) {
        attention_shares(a, i, &cosine, &rest, share);
        buffer_print(out, "%s{\"object\":\"contribution\",\"index\":%zu,\"cosine\":", i ? "," : "", i);
        buffer_json_float(out, cosine);
        buffer_string(out, ",\"rest\":");
        buffer_json_float(out, rest);
        buffer_string(out, ",\"grid\":[");
        write_grid(out, share, side);
        buffer_string(out, "]}");
    }
    buffer_string(out, "],\"usage\":");
    answer_usage(out, usage);
    buffer_string(out, "}");
    free(share);
}

/* ---- a map */

/* Shares as colours are seen: what a patch has more than an equal share, by the largest such difference: -1 to 1. */
static void scale_shares(float *share, size_t n) {
    double mean = 0, most = 0;
    for (size_t i = 0; i < n; i++)
        mean += share[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(share[i] - mean));
    for (size_t i = 0; i < n; i++)
        share[i] = most > 0 ? (float)((share[i] - mean) / most) : 0;
}

/* The value at a place of the map between four patches' middles; x and y are in patches. */
static float between(const float *share, size_t side, double x, double y) {
    const double last = (double)side - 1;
    const double cx = fmin(fmax(x - 0.5, 0), last), cy = fmin(fmax(y - 0.5, 0), last);
    const size_t x0 = (size_t)cx, y0 = (size_t)cy;
    const size_t x1 = x0 + 1 < side ? x0 + 1 : x0, y1 = y0 + 1 < side ? y0 + 1 : y0;
    const double fx = cx - (double)x0, fy = cy - (double)y0;
    const double top = share[y0 * side + x0] * (1 - fx) + share[y0 * side + x1] * fx;
    const double bottom = share[y1 * side + x0] * (1 - fx) + share[y1 * side + x1] * fx;
    return (float)(top * (1 - fy) + bottom * fy);
}

/* The picture becomes grey, so that colour means the map alone: red is more than an equal share, blue is less. What is
 * dark becomes lighter, or no colour would be seen on it. */
static void mix(const uint8_t *pixel, float value, uint8_t *out) {
    static const float more[3] = {225, 35, 25}, less[3] = {25, 90, 225};
    const float grey = 48 + (0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2]) * (207.0f / 255);
    const float strength = 0.7f * fabsf(value);
    for (int c = 0; c < 3; c++) {
        const float colour = value > 0 ? more[c] : less[c];
        out[c] = (uint8_t)(grey + (colour - grey) * strength + 0.5f);
    }
}

static void draw(const struct attention *a, const float *share, uint8_t *map) {
    const size_t size = a->model->image_size, side = map_side(a->model), times = side / size;
    const double patch = (double)a->model->patch * (double)times;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            const float value = between(share, attention_side(a->model), ((double)x + 0.5) / patch,
                                        ((double)y + 0.5) / patch);
            mix(a->pixels + (y / times * size + x / times) * 3, value, map + (y * side + x) * 3);
        }
}

static bool write_png(struct buffer *out, const uint8_t *map, size_t side) {
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)side,
                       .height = (png_uint_32)side,
                       .format = PNG_FORMAT_RGB};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    void *file = malloc(size);
    const bool good = file && png_image_write_to_memory(&image, file, &size, 0, map, 0, NULL);
    if (good)
        buffer_bytes(out, file, size);
    free(file);
    return good && !out->failed;
}

bool attention_draw(struct buffer *out, const struct attention *a) {
    const size_t patches = patches_of(a->model);
    float *share = malloc(patches * sizeof *share), cosine, rest;
    uint8_t *map = malloc(map_bytes(a->model));
    bool good = share && map;
    if (good) {
        attention_shares(a, 0, &cosine, &rest, share);
        scale_shares(share, patches);
        draw(a, share, map);
        good = write_png(out, map, map_side(a->model));
    }
    free(share);
    free(map);
    return good;
}
