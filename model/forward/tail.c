/* tail.c - who goes on with which tail, and the way there. The encoder owns the packs; no threads. */
#include "model/forward/tail.h"

#include <stdlib.h>

#include "base/error.h"

/* By the block at which they leave the trunk, then by tail, then by sequence. */
static int compare(const struct step_output *a, const struct step_output *b, enum limoe_modality modality) {
    const struct limoe_tail *s = a->tail, *t = b->tail;
    if (!s != !t)
        return s ? -1 : 1;
    if (s && s->start[modality] != t->start[modality])
        return s->start[modality] < t->start[modality] ? -1 : 1;
    if (s && s->number != t->number)
        return s->number < t->number ? -1 : 1;
    return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

static int compare_in_image_tower(const void *a, const void *b) {
    return compare(a, b, LIMOE_IMAGE);
}

static int compare_in_text_tower(const void *a, const void *b) {
    return compare(a, b, LIMOE_TEXT);
}

void tail_sort(struct step_output *output, size_t n, enum limoe_modality modality) {
    qsort(output, n, sizeof *output,
          modality == LIMOE_IMAGE ? compare_in_image_tower : compare_in_text_tower);
}

size_t tail_run(const struct step_output *output, size_t n) {
    size_t run = 1;
    while (run < n && output[run].tail == output->tail)
        run++;
    return run;
}

uint32_t tail_fork(const struct limoe_item *item) {
    uint32_t fork = UINT32_MAX;
    for (uint32_t i = 0; i < item->n_tails; i++)
        if (item->tails[i] && item->tails[i]->start[item->modality] < fork)
            fork = item->tails[i]->start[item->modality];
    return fork;
}

/* ---- packs */

enum limoe_status tail_pack_reserve(struct tail_pack *p, const struct step *step, struct limoe_error *err) {
    const size_t n = pack_sequences(&step->pack);
    if (!p->place || n > p->room) {
        tail_pack_free(p);
        p->pack.start = calloc(n + 1, sizeof *p->pack.start);
        p->place = calloc(n + 1, sizeof *p->place);
        if (!p->pack.start || !p->place) {
            tail_pack_free(p);
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for tails of %zu sequences", n);
        }
        p->room = n;
    }
    tail_pack_some(p, step, NULL, 0, 0);
    return LIMOE_OK;
}

static void append(struct tail_pack *p, const struct step *step, size_t sequence) {
    const uint32_t rows = step->pack.start[sequence + 1] - step->pack.start[sequence];
    const size_t at = pack_sequences(&p->pack);
    p->place[sequence] = (uint32_t)at;
    p->pack.start[at + 1] = p->pack.start[at] + rows;
    if (sequence < step->pack.images) {
        p->pack.images++;
        p->pack.image_rows += rows;
    } else {
        p->pack.texts++;
        p->pack.text_rows += rows;
    }
}

void tail_pack_some(struct tail_pack *p, const struct step *step, const struct step_output *output, size_t n,
                    uint32_t block) {
    const size_t sequences = pack_sequences(&step->pack);
    p->pack = (struct pack){.start = p->pack.start};
    p->pack.start[0] = 0;
    for (size_t i = 0; i < sequences; i++)
        p->place[i] = TAIL_NOT_HERE;
    for (size_t i = 0; i < n; i++)
        if (step->trunk[output[i].sequence].enter <= block)
            p->place[output[i].sequence] = 0;
    for (size_t i = 0; i < sequences; i++)
        if (p->place[i] != TAIL_NOT_HERE)
            append(p, step, i);
}

void tail_pack_free(struct tail_pack *p) {
    free(p->pack.start);
    free(p->place);
    *p = (struct tail_pack){0};
}

/* ---- rows */

/* A block reads h, as the one before it has left it, with post_norm alone. */
struct tail_rows tail_rows(const struct config_tower *tower, const struct kernels *k, void *x, void *h) {
    return (struct tail_rows){.x = x,
                              .h = h,
                              .x_bytes = tower->width * sizeof(float),
                              .h_bytes = tower->post_norm ? tower->width * k->act_size : 0};
}

/* `n` rows from row `from` on of `in` become those from row `to` on of `out`. */
static void copy(struct kernels *k, const struct tail_rows *out, size_t to, const struct tail_rows *in,
                 size_t from, size_t n) {
    k->ops->copy(k, out->x + to * out->x_bytes, in->x + from * in->x_bytes, n * out->x_bytes);
    if (out->h_bytes)
        k->ops->copy(k, out->h + to * out->h_bytes, in->h + from * in->h_bytes, n * out->h_bytes);
}

/* Sequences that are neighbours on both sides travel together. */
void tail_gather(struct kernels *k, const struct tail_pack *to, const struct tail_pack *from,
                 size_t sequences, const struct tail_rows *out, const struct tail_rows *in) {
    size_t next = 0, first = 0, rows = 0; /* rows from `first` on of `from`, for row `next` on of `to` */
    for (size_t i = 0; i < sequences; i++) {
        if (to->place[i] == TAIL_NOT_HERE || from->place[i] == TAIL_NOT_HERE)
            continue;
        const uint32_t *const there = to->pack.start + to->place[i];
        const uint32_t here = from->pack.start[from->place[i]];
        if (there[0] != next + rows || here != first + rows) {
            copy(k, out, next, in, first, rows);
            next = there[0];
            first = here;
            rows = 0;
        }
        rows += there[1] - there[0];
    }
    copy(k, out, next, in, first, rows);
}

static bool enters(const struct step_trunk *trunk, uint32_t block) {
    return trunk->in && trunk->enter == block;
}

bool tail_enters(const struct step *step, uint32_t block) {
    for (size_t i = 0; i < pack_sequences(&step->pack); i++)
        if (enters(&step->trunk[i], block))
            return true;
    return false;
}

void tail_take_in(struct kernels *k, const struct step *step, const struct tail_pack *p, uint32_t block,
                  const struct tail_rows *rows) {
    for (size_t i = 0; i < pack_sequences(&step->pack); i++) {
        const struct step_trunk *trunk = &step->trunk[i];
        if (!enters(trunk, block) || p->place[i] == TAIL_NOT_HERE)
            continue;
        const uint32_t *const start = p->pack.start + p->place[i];
        const size_t n = start[1] - start[0];
        k->ops->upload(k, rows->x + start[0] * rows->x_bytes, trunk->in, n * rows->x_bytes);
        if (rows->h_bytes)
            k->ops->upload(k, rows->h + start[0] * rows->h_bytes, (const char *)trunk->in + n * rows->x_bytes,
                           n * rows->h_bytes);
    }
}

void tail_keep(struct kernels *k, const struct step *step, const struct tail_pack *p, uint32_t block,
               const struct tail_rows *rows) {
    for (size_t i = 0; i < pack_sequences(&step->pack); i++) {
        const struct step_trunk *trunk = &step->trunk[i];
        if (!trunk->keep || trunk->fork != block || p->place[i] == TAIL_NOT_HERE)
            continue;
        const uint32_t *const start = p->pack.start + p->place[i];
        const size_t n = start[1] - start[0];
        k->ops->download(k, trunk->keep, rows->x + start[0] * rows->x_bytes, n * rows->x_bytes);
        if (rows->h_bytes)
            k->ops->download(k, (char *)trunk->keep + n * rows->x_bytes, rows->h + start[0] * rows->h_bytes,
                             n * rows->h_bytes);
    }
}
