/* views.c - some pictures at a time, drawn and passed through the model, whose threads are used. */
#include "model/tuning/views.h"

#include <stdlib.h>
#include <string.h>

#include "base/draws.h"
#include "base/error.h"
#include "model/model.h"
#include "model/tuning/crops.h"

enum { SOME = 64 }; /* pictures at a time */

static size_t picture_bytes(const struct views *v) {
    return (size_t)3 * v->pictures->size * v->pictures->size;
}

enum limoe_status views_create(struct limoe_model *model, const struct pictures *pictures, uint64_t seed,
                               bool flip, struct views *out, struct limoe_error *err) {
    *out = (struct views){.model = model, .pictures = pictures, .seed = seed, .flip = flip};
    out->pixels = malloc(SOME * picture_bytes(out));
    return out->pixels ? LIMOE_OK : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for views of pictures");
}

void views_free(struct views *v) {
    free(v->pixels);
    *v = (struct views){0};
}

size_t views_row_floats(const struct views *v) {
    const struct limoe_info *info = limoe_model_info(v->model);
    return (size_t)info->image_tokens * info->tower[LIMOE_IMAGE].width;
}

static void draw(const struct views *v, uint32_t picture, uint32_t view, uint8_t *to) {
    const struct pictures *p = v->pictures;
    const struct draws_place place = {.seed = v->seed, .use = DRAWS_CROP, .item = picture, .epoch = view};
    float u[CROPS_DRAWS];
    if (view == VIEWS_WHOLE) {
        memcpy(to, p->whole + picture * picture_bytes(v), picture_bytes(v));
        return;
    }
    draws_uniform(&place, CROPS_DRAWS, u);
    crops_augment(p->large + (size_t)3 * picture * p->side * p->side, p->side, p->size, v->flip, u, to);
}

/* At most SOME. */
static void prepare(const struct views *v, const uint32_t *picture, size_t n, uint32_t view,
                    struct limoe_item *item) {
    for (size_t i = 0; i < n; i++) {
        uint8_t *pixels = v->pixels + i * picture_bytes(v);
        draw(v, picture[i], view, pixels);
        item[i] = (struct limoe_item){
            .modality = LIMOE_IMAGE, .length = limoe_model_info(v->model)->image_tokens, .pixels = pixels};
    }
}

enum limoe_status views_rows(const struct views *v, const uint32_t *picture, size_t n, uint32_t view,
                             uint32_t block, float *rows, struct limoe_error *err) {
    struct limoe_item item[SOME];
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0, some; i < n && !status; i += some) {
        some = n - i < SOME ? n - i : SOME;
        prepare(v, picture + i, some, view, item);
        status = model_trunk(v->model, item, some, block, rows + i * views_row_floats(v), err);
    }
    return status;
}

enum limoe_status views_embed(const struct views *v, const uint32_t *picture, size_t n, uint32_t view,
                              float *z, struct limoe_error *err) {
    struct limoe_item item[SOME];
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0, some; i < n && !status; i += some) {
        some = n - i < SOME ? n - i : SOME;
        prepare(v, picture + i, some, view, item);
        status =
            limoe_model_embed(v->model, item, some, z + i * limoe_model_info(v->model)->embed, NULL, err);
    }
    return status;
}
