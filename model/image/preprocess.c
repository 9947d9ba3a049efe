/* preprocess.c - a file's bytes to a square of pixels.
 *
 * A picture whose reader has it row by row is resized as its rows come, as it lies in the file: it is
 * never there as a whole. One that is there, or is not filtered, is turned upright first. The caller owns
 * the square; no threads. */
#include "model/image/formats.h"

#include <stdlib.h>

#include "model/image/placement.h"
#include "model/image/scaler.h"

/* A sink that fills the square. */
struct square {
    struct image_sink sink; /* first, so that it is this, too */
    const struct limoe_preprocess *how;
    uint8_t *pixels; /* [how->size, how->size, 3] */
    struct image_shape shape;
    struct scaler scaler;
    uint8_t *rows; /* [held, shape.width, shape.channels]: row y is at y % held */
    uint32_t row, held;
    struct image whole; /* of a picture that is not filtered; else empty */
};

/* So that no side below overflows 32 bits. */
static enum limoe_status check(const struct limoe_preprocess *how, struct limoe_error *err) {
    const bool sized = how->resize == LIMOE_EXACT || how->resize == LIMOE_SHORTEST;
    if (how->size == 0 || how->size > IMAGE_MAX_SIDE ||
        (sized && (how->width == 0 || how->width > IMAGE_MAX_SIDE)) ||
        (how->resize == LIMOE_EXACT && (how->height == 0 || how->height > IMAGE_MAX_SIDE))) {
        return limoe_fail(
            err, LIMOE_INVALID,
            "a square of %u pixels a side from pictures resized to %u x %u; 1 to %u are accepted", how->size,
            how->width, how->height, IMAGE_MAX_SIDE);
    }
    return LIMOE_OK;
}

static void fill_margin(const struct image_scaling *window, const struct limoe_preprocess *how,
                        uint8_t *pixels) {
    const size_t size = how->size;
    if (window->columns < size || window->rows < size)
        for (size_t i = 0; i < size * size; i++)
            memcpy(pixels + 3 * i, how->margin, 3);
}

/* Of the square, the pixel that shows the window's first. */
static uint8_t *window_start(const struct placement *p, const struct limoe_preprocess *how, uint8_t *pixels) {
    return pixels + 3 * ((size_t)p->y * how->size + p->x);
}

/* ---- row by row */

static enum limoe_status begin_rows(struct square *square, const struct placement *p,
                                    struct limoe_error *err) {
    const struct image_shape *shape = &square->shape;
    enum limoe_status status =
        scaler_begin(&square->scaler, shape, &p->scaling, window_start(p, square->how, square->pixels),
                     3 * (size_t)square->how->size, err);
    if (status != LIMOE_OK)
        return status;
    square->sink.first_column = axis_begin(&square->scaler.along);
    square->sink.end_column = axis_end(&square->scaler.along);
    square->held = scaler_held(&square->scaler);
    square->rows = malloc((size_t)shape->width * shape->channels * square->held);
    if (!square->rows) {
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %u rows of %u pixels", square->held,
                          shape->width);
    }
    return LIMOE_OK;
}

static enum limoe_status begin(struct image_sink *sink, const char *format, const struct input *input,
                               const struct image_shape *shape, struct limoe_error *err) {
    struct square *square = (struct square *)sink;
    const bool turned = orientation_turns(shape->orientation);
    const uint32_t width = turned ? shape->height : shape->width;
    const uint32_t height = turned ? shape->width : shape->height;
    enum limoe_status status = image_check(format, input, shape->width, shape->height, err);
    if (status != LIMOE_OK)
        return status;
    square->shape = *shape;
    sink->end_column = shape->width;
    const struct placement p = image_place(width, height, square->how);
    if (!scaling_filters(width, height, &p.scaling)) {
        return image_allocate(format, input, shape->width, shape->height, shape->channels, &square->whole,
                              err);
    }
    fill_margin(&p.scaling, square->how, square->pixels);
    return begin_rows(square, &p, err);
}

static uint8_t *room(struct image_sink *sink) {
    const struct square *square = (const struct square *)sink;
    const size_t stride = (size_t)square->shape.width * square->shape.channels;
    return square->whole.pixels ? square->whole.pixels + square->row * stride
                                : square->rows + square->row % square->held * stride;
}

static void take(struct image_sink *sink) {
    struct square *square = (struct square *)sink;
    uint8_t *row = room(sink);
    square->row++;
    if (square->whole.pixels)
        return;
    if (square->shape.channels == 4)
        image_flatten_pixels(row, square->shape.width,
                             square->how->drop_alpha ? NULL : square->how->background);
    scaler_take(&square->scaler, row);
}

/* ---- as a whole */

/* Fills the square with the picture as it lies in its file. */
static enum limoe_status fill(struct image *image, unsigned orientation, const struct limoe_preprocess *how,
                              uint8_t *pixels, struct limoe_error *err) {
    enum limoe_status status = image_orient(image, orientation, err);
    if (status != LIMOE_OK)
        return status;
    image_flatten(image, how->drop_alpha ? NULL : how->background);
    const struct placement p = image_place(image->width, image->height, how);
    fill_margin(&p.scaling, how, pixels);
    return image_scale(image, &p.scaling, window_start(&p, how, pixels), 3 * (size_t)how->size, err);
}

/* ---- either */

static enum limoe_status read_into_square(const struct image_format *format, const struct input *input,
                                          const struct limoe_preprocess *how, uint8_t *pixels,
                                          struct limoe_error *err) {
    struct square square = {
        .sink = {.begin = begin, .room = room, .take = take}, .how = how, .pixels = pixels};
    unsigned orientation = 1;
    enum limoe_status status = format->stream ? format->stream(input, &square.sink, err)
                                              : format->read(input, &square.whole, &orientation, err);
    if (format->stream)
        orientation = square.shape.orientation;
    if (status == LIMOE_OK && square.whole.pixels)
        status = fill(&square.whole, orientation, how, pixels, err);
    image_free(&square.whole);
    free(square.rows);
    scaler_end(&square.scaler);
    return status;
}

enum limoe_status image_preprocess(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                                   const struct limoe_preprocess *how, uint8_t *pixels,
                                   struct limoe_error *err) {
    struct input input;
    const struct image_format *format;
    enum limoe_status status = check(how, err);
    if (status == LIMOE_OK)
        status = image_open(bytes, size, limits, &input, &format, err);
    return status == LIMOE_OK ? read_into_square(format, &input, how, pixels, err) : status;
}
