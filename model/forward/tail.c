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

static enum limoe_status reserve(struct tail_pack *p, size_t sequences, struct limoe_error *err) {
    if (p->place && sequences <= p->room)
        return LIMOE_OK;
    tail_pack_free(p);
    p->pack.start = calloc(sequences + 1, sizeof *p->pack.start);
    p->place = calloc(sequences + 1, sizeof *p->place);
    if (!p->pack.start || !p->place) {
        tail_pack_free(p);
        limoe_fail(err, LIMOE_NO_MEMORY, "no memory for tails of %zu sequences", sequences);
        return LIMOE_NO_MEMORY;
    }
    p->room = sequences;
    return LIMOE_OK;
}

enum limoe_status tail_pack_all(struct tail_pack *p, const struct step *step, struct limoe_error *err) {
    const size_t n = pack_sequences(&step->pack);
    enum limoe_status status = reserve(p, n, err);
    if (status)
        return status;
    uint32_t *const start = p->pack.start;
    p->pack = step->pack;
    p->pack.start = start;
    for (size_t i = 0; i <= n; i++)
        start[i] = step->pack.start[i];
    for (size_t i = 0; i < n; i++)
        p->place[i] = (uint32_t)i;
    return LIMOE_OK;
}

static void append(struct tail_pack *p, const struct tail_pack *from, size_t sequence) {
    const uint32_t was = from->place[sequence];
    const uint32_t rows = from->pack.start[was + 1] - from->pack.start[was];
    const size_t at = pack_sequences(&p->pack);
    p->place[sequence] = (uint32_t)at;
    p->pack.start[at + 1] = p->pack.start[at] + rows;
    if (was < from->pack.images) {
        p->pack.images++;
        p->pack.image_rows += rows;
    } else {
        p->pack.texts++;
        p->pack.text_rows += rows;
    }
}

void tail_pack_some(struct tail_pack *p, const struct tail_pack *from, size_t sequences,
                    const struct step_output *output, size_t n) {
    p->pack = (struct pack){.start = p->pack.start};
    p->pack.start[0] = 0;
    for (size_t i = 0; i < sequences; i++)
        p->place[i] = TAIL_NOT_HERE;
    for (size_t i = 0; i < n; i++)
        p->place[output[i].sequence] = 0;
    for (size_t i = 0; i < sequences; i++)
        if (p->place[i] != TAIL_NOT_HERE)
            append(p, from, i);
}

void tail_pack_free(struct tail_pack *p) {
    free(p->pack.start);
    free(p->place);
    *p = (struct tail_pack){0};
}

/* Sequences that are neighbours on both sides travel together. */
void tail_gather(struct kernels *k, const struct tail_pack *to, const struct tail_pack *from,
                 size_t sequences, size_t row_bytes, void *out, const void *in) {
    size_t next = 0, first = 0, rows = 0; /* rows from `first` on of `from`, for row `next` on of `to` */
    for (size_t i = 0; i < sequences; i++) {
        if (to->place[i] == TAIL_NOT_HERE)
            continue;
        const uint32_t *const start = from->pack.start + from->place[i];
        if (start[0] != first + rows) {
            k->ops->copy(k, (char *)out + next * row_bytes, (const char *)in + first * row_bytes,
                         rows * row_bytes);
            next += rows;
            first = start[0];
            rows = 0;
        }
        rows += start[1] - start[0];
    }
    k->ops->copy(k, (char *)out + next * row_bytes, (const char *)in + first * row_bytes, rows * row_bytes);
}
