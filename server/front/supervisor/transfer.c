/* transfer.c - gathers a step's items and divides them among ranks; scatters what the ranks answer. */
#include "server/front/supervisor/transfer.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "server/front/supervisor/share.h"

static size_t load_size(const struct frame_shape *shape) {
    return (size_t)shape->layers * LIMOE_MODALITIES * shape->experts;
}

bool transfer_init(struct transfer *transfer, const struct frame_shape *shape, uint32_t ranks) {
    *transfer = (struct transfer){.shape = *shape, .ranks = ranks};
    struct transfer_sum *sum = &transfer->sum;
    transfer->items = calloc(shape->items, sizeof *transfer->items);
    transfer->ordered = calloc(shape->items, sizeof *transfer->ordered);
    transfer->tails = calloc(shape->items, sizeof(void *));
    transfer->ordered_tails = calloc(shape->items, sizeof(void *));
    transfer->wants = calloc(shape->items, sizeof *transfer->wants);
    transfer->table = calloc(shape->items, sizeof *transfer->table);
    transfer->keys = calloc(shape->items, sizeof *transfer->keys);
    transfer->laden = calloc(ranks, sizeof *transfer->laden);
    transfer->captions = calloc(shape->items, sizeof *transfer->captions);
    transfer->over = calloc(FRAME_MOST_OVER, sizeof *transfer->over);
    transfer->parts = calloc(shape->items + 1, sizeof *transfer->parts);
    sum->load = calloc(load_size(shape) + 1, sizeof *sum->load); /* + 1: a dense model has no layers */
    sum->rows_sent = calloc(shape->layers + 1, sizeof *sum->rows_sent);
    sum->bytes_sent = calloc(shape->layers + 1, sizeof *sum->bytes_sent);
    sum->exchange_ns = calloc(shape->layers + 1, sizeof *sum->exchange_ns);
    sum->entropy = calloc((size_t)shape->layers * LIMOE_MODALITIES + 1, sizeof *sum->entropy);
    sum->tokens = calloc(ranks, sizeof *sum->tokens);
    sum->gpu_used = calloc(ranks, sizeof *sum->gpu_used);
    sum->gpu_total = calloc(ranks, sizeof *sum->gpu_total);
    return transfer->items && transfer->ordered && transfer->tails && transfer->ordered_tails &&
           transfer->wants && transfer->table && transfer->keys && transfer->laden && transfer->captions &&
           transfer->over && transfer->parts && sum->load && sum->rows_sent && sum->bytes_sent &&
           sum->exchange_ns && sum->entropy && sum->tokens && sum->gpu_used && sum->gpu_total;
}

void transfer_free(struct transfer *transfer) {
    struct transfer_sum *sum = &transfer->sum;
    void *const all[] = {transfer->items, transfer->ordered, transfer->tails,    transfer->ordered_tails,
                         transfer->wants, transfer->table,   transfer->keys,     transfer->parts,
                         transfer->head,  sum->load,         sum->rows_sent,     sum->bytes_sent,
                         sum->entropy,    sum->tokens,       sum->exchange_ns,   transfer->laden,
                         sum->gpu_used,   sum->gpu_total,    transfer->captions, transfer->over};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    *transfer = (struct transfer){0};
}

/* ---- out */

static bool wants_routing(const struct queue_step *step) {
    for (size_t i = 0; i < step->n_slices; i++)
        if (step->slices[i].job->expert)
            return true;
    return false;
}

static void gather_items(struct transfer *transfer, const struct queue_slice *slice) {
    const struct tail_key *const *tails = slice->job->tails;
    const size_t n = transfer->n;
    memcpy(transfer->items + n, slice->job->items + slice->first, slice->count * sizeof *transfer->items);
    for (size_t k = 0; k < slice->count; k++)
        transfer->tails[n + k] = tails ? tails[slice->first + k] : NULL;
    transfer->n += slice->count;
}

static void gather_captions(struct transfer *transfer, const struct queue_slice *slice) {
    for (size_t k = slice->first; k < slice->first + slice->count; k++) {
        struct job_caption *caption = &slice->job->captions[k];
        caption->sent = true;
        transfer->captions[transfer->n_captions++] =
            (struct frame_caption){.id = caption->id,
                                   .step = caption->step,
                                   .options = caption->options,
                                   .pixels = caption->begun ? NULL : slice->job->items[k].pixels};
    }
}

/* Sets transfer's items, tails and captions to the step's. */
static void gather(struct transfer *transfer, const struct queue_step *step) {
    transfer->n = transfer->n_captions = 0;
    for (size_t i = 0; i < step->n_slices; i++)
        if (step->slices[i].job->captions)
            gather_captions(transfer, &step->slices[i]);
        else
            gather_items(transfer, &step->slices[i]);
}

/* Sets flight->rank, which says who gets which item. */
static bool divide(struct transfer *transfer, struct flight *flight) {
    const size_t n = transfer->n;
    if (transfer->ranks == 1)
        return true;
    if (n > flight->rank_room) {
        free(flight->rank);
        flight->rank = malloc(n * sizeof *flight->rank);
        flight->rank_room = flight->rank ? n : 0;
        if (!flight->rank)
            return false;
    }
    share_items(transfer->items, n, transfer->ranks, transfer->keys, flight->rank, transfer->laden);
    return true;
}

static bool make_head_room(struct transfer *transfer, size_t size) {
    if (size <= transfer->head_room)
        return true;
    free(transfer->head);
    transfer->head = malloc(size);
    transfer->head_room = transfer->head ? size : 0;
    return transfer->head;
}

static bool is_for(const struct flight *flight, size_t item, uint32_t rank) {
    return flight->rank ? flight->rank[item] == rank : rank == 0;
}

/* One rank's STEP: its items, of all n, to `items`, and theirs to `tails`; its captions; its head to `head`; its parts to
 * `parts`. */
struct portion {
    struct limoe_item *items;
    const struct tail_key **tails;
    struct frame_captions captions;
    struct frame_step step;
    struct iovec *parts;
    uint8_t *head;
    size_t n_items, n_parts, head_bytes;
};

static bool has_captions(const struct frame_captions *captions) {
    return captions->n || captions->n_over;
}

static size_t captions_bytes(const struct frame_captions *captions) {
    return has_captions(captions) ? frame_captions_head_bytes(captions) : 0;
}

static void add_part(struct portion *portion, const uint8_t *bytes, uint64_t size) {
    portion->parts[portion->n_parts++] = (struct iovec){(void *)bytes, size};
}

static void make_portion(const struct transfer *transfer, const struct flight *flight, uint32_t rank,
                         struct portion *portion) {
    for (size_t i = 0; i < transfer->n; i++)
        if (is_for(flight, i, rank)) {
            portion->tails[portion->n_items] = transfer->tails[i];
            portion->items[portion->n_items++] = transfer->items[i];
        }
    const struct frame_room room = {.wants = transfer->wants, .tails = transfer->table};
    const size_t captions = captions_bytes(&portion->captions);
    portion->step = frame_plan_step(portion->items, portion->tails, portion->n_items, &room);
    portion->head_bytes = captions + frame_step_head_bytes(&portion->step);
    if (captions)
        frame_put_captions(&portion->captions, portion->head);
    frame_put_step(&portion->step, portion->head + captions);
    add_part(portion, portion->head, portion->head_bytes);
    for (size_t i = 0; i < portion->n_items; i++)
        if (portion->items[i].modality == LIMOE_IMAGE && !transfer->wants[i].again)
            add_part(portion, portion->items[i].pixels, transfer->shape.image_bytes);
    for (size_t i = 0; i < portion->captions.n; i++)
        if (portion->captions.captions[i].pixels)
            add_part(portion, portion->captions.captions[i].pixels, transfer->shape.image_bytes);
}

static bool stage_portion(const struct transfer *transfer, const struct flight *flight,
                          const struct portion *portion, struct member *rank) {
    const struct frame_captions *captions = &portion->captions;
    const struct frame_header header = {
        .type = FRAME_STEP,
        .flags =
            (wants_routing(&flight->step) ? FRAME_ROUTED : 0) | (has_captions(captions) ? FRAME_CAPTIONS : 0),
        .length = captions_bytes(captions) + frame_step_bytes(&transfer->shape, &portion->step) +
                  frame_captions_pixel_bytes(&transfer->shape, captions),
        .id = flight->id,
    };
    return link_stage(&rank->link, &header, portion->parts, portion->n_parts);
}

bool transfer_stage(struct transfer *transfer, struct flight *flight, struct membership *membership,
                    struct over *over) {
    gather(transfer, &flight->step);
    const struct frame_captions captions = {.captions = transfer->captions,
                                            .n = transfer->n_captions,
                                            .over = transfer->over,
                                            .n_over = over_look(over, transfer->over, FRAME_MOST_OVER)};
    size_t head_bytes = captions_bytes(&captions) + frame_step_most_head_bytes(transfer->items, transfer->n) +
                        (transfer->ranks - 1) * frame_step_most_head_bytes(NULL, 0);
    if (!divide(transfer, flight) || !make_head_room(transfer, head_bytes))
        return false;
    struct portion portion = {.items = transfer->ordered,
                              .tails = transfer->ordered_tails,
                              .captions = captions,
                              .parts = transfer->parts,
                              .head = transfer->head};
    uint32_t staged = 0;
    for (; staged < transfer->ranks; staged++) {
        make_portion(transfer, flight, staged, &portion);
        if (!stage_portion(transfer, flight, &portion, &membership->rank[staged]))
            break;
        portion = (struct portion){.items = portion.items + portion.n_items,
                                   .tails = portion.tails + portion.n_items,
                                   .parts = portion.parts, /* the link has its own */
                                   .head = portion.head + portion.head_bytes};
    }
    if (staged == transfer->ranks) {
        over_told(over, captions.n_over);
        return true;
    }
    while (staged > 0)
        link_unstage(&membership->rank[--staged].link);
    return false;
}

/* ---- in */

/* Items of one slice that one rank has, one after the other: `count` from the job's item `first`, their
 * tokens from the job's row `row`. */
struct run {
    struct job *job;
    size_t first, count;
    uint64_t row, rows;
};

/* Copies the run's rows, which begin at `row` of the result's, into the job's own arrays. */
static void copy_routing(const struct frame_shape *shape, const struct frame_result *result,
                         const struct run *run, uint64_t row) {
    size_t count = run->rows * shape->top_k;
    for (uint32_t layer = 0; layer < shape->layers; layer++) {
        size_t from = (layer * result->rows + row) * shape->top_k;
        size_t to = (layer * run->job->rows + run->row) * shape->top_k;
        memcpy(run->job->expert + to, result->expert + from, count * sizeof *run->job->expert);
        memcpy(run->job->gate + to, result->gate + from, count * sizeof *run->job->gate);
    }
}

/* Copies the shares of the run's items that asked for them; *split of the result's went before. */
static void copy_shares(const struct frame_shape *shape, const struct frame_result *result,
                        const struct run *run, size_t *split) {
    const size_t size = frame_shares_size(shape);
    for (size_t i = 0; i < run->count; i++) {
        float *to = run->job->items[run->first + i].shares;
        if (to)
            memcpy(to, result->shares + (*split)++ * size, size * sizeof *to);
    }
}

/* Where the copying from a result is. */
struct copying {
    size_t item; /* of the result, as are row and split */
    uint64_t row;
    size_t split; /* items with shares */
};

static void copy_run(const struct frame_shape *shape, const struct frame_result *result,
                     const struct run *run, struct copying *at) {
    memcpy(run->job->embeddings + run->first * shape->embed, result->embeddings + at->item * shape->embed,
           run->count * shape->embed * sizeof *result->embeddings);
    if (run->job->expert)
        copy_routing(shape, result, run, at->row);
    copy_shares(shape, result, run, &at->split);
    at->item += run->count;
    at->row += run->rows;
}

static void copy_results(const struct frame_shape *shape, const struct frame_result *result, uint32_t rank,
                         const struct flight *flight) {
    struct copying at = {0};
    size_t item = 0; /* of the step */
    for (size_t i = 0; i < flight->step.n_slices; i++) {
        const struct queue_slice *slice = &flight->step.slices[i];
        struct run run = {.job = slice->job, .first = slice->first, .row = slice->first_row};
        if (slice->job->captions)
            continue;
        for (size_t k = 0; k < slice->count; k++, item++) {
            const uint32_t length = slice->job->items[slice->first + k].length;
            if (is_for(flight, item, rank)) {
                run.count++;
                run.rows += length;
                continue;
            }
            copy_run(shape, result, &run, &at);
            run.first += run.count + 1; /* behind this item, which is another's */
            run.row += run.rows + length;
            run.count = 0;
            run.rows = 0;
        }
        copy_run(shape, result, &run, &at);
    }
}

/* What a rank was given of a step. */
struct count {
    size_t items, split;
    uint64_t rows;
};

static struct count count_portion(const struct flight *flight, uint32_t rank) {
    struct count count = {0};
    size_t item = 0;
    for (size_t i = 0; i < flight->step.n_slices; i++) {
        const struct queue_slice *slice = &flight->step.slices[i];
        for (size_t k = 0; !slice->job->captions && k < slice->count; k++, item++)
            if (is_for(flight, item, rank)) {
                count.items++;
                count.split += slice->job->items[slice->first + k].shares != NULL;
                count.rows += slice->job->items[slice->first + k].length;
            }
    }
    return count;
}

static void add(uint64_t *sum, const uint64_t *more, size_t n) {
    for (size_t i = 0; i < n; i++)
        sum[i] += more[i];
}

static void add_result(struct transfer *transfer, uint32_t rank, const struct frame_result *result) {
    const struct frame_shape *shape = &transfer->shape;
    struct transfer_sum *sum = &transfer->sum;
    if (rank == 0) /* tails are of an engine of one */
        sum->tails = result->tails;
    if (result->compute_ns > sum->compute_ns)
        sum->compute_ns = result->compute_ns;
    sum->gpu_used[rank] = result->gpu_used;
    sum->gpu_total[rank] = result->gpu_total;
    if (result->status != LIMOE_OK) {
        if (sum->status == LIMOE_OK)
            memcpy(sum->message, result->message, sizeof sum->message);
        sum->status = sum->status == LIMOE_OK ? result->status : sum->status;
        return;
    }
    sum->tokens[rank] = result->rows;
    add(sum->load, result->load, load_size(shape));
    add(sum->rows_sent, result->rows_sent, shape->layers);
    add(sum->bytes_sent, result->bytes_sent, shape->layers);
    add(sum->exchange_ns, result->exchange_ns, shape->layers);
    for (size_t i = 0; i < (size_t)shape->layers * LIMOE_MODALITIES; i++)
        sum->entropy[i] += result->entropy[i];
}

void transfer_begin(struct transfer *transfer) {
    const struct frame_shape *shape = &transfer->shape;
    struct transfer_sum *sum = &transfer->sum;
    sum->status = LIMOE_OK;
    sum->message[0] = '\0';
    sum->compute_ns = 0;
    sum->tails = (struct frame_tails){0};
    memset(sum->load, 0, load_size(shape) * sizeof *sum->load);
    memset(sum->rows_sent, 0, shape->layers * sizeof *sum->rows_sent);
    memset(sum->bytes_sent, 0, shape->layers * sizeof *sum->bytes_sent);
    memset(sum->exchange_ns, 0, shape->layers * sizeof *sum->exchange_ns);
    memset(sum->entropy, 0, (size_t)shape->layers * LIMOE_MODALITIES * sizeof *sum->entropy);
    memset(sum->tokens, 0, transfer->ranks * sizeof *sum->tokens);
}

/* ---- captions in */

/* What became of one, to its job. False: that cannot be. */
static bool take_caption(struct job_caption *caption, uint32_t written, const struct frame_captioned *in,
                         size_t first) {
    const uint32_t n = caption->options.n;
    caption->begun = written == 0;
    caption->done = written == n;
    for (size_t i = 0; caption->done && i < n; i++)
        frame_captioned_text(in, first + i, &caption->texts[i]);
    return written == 0 || written == n || written == FRAME_CAPTION_UNKNOWN;
}

/* *in is of a step of this rank. */
static bool take_captions(const struct frame_captioned *in, uint32_t rank, const struct flight *flight) {
    size_t at = 0, texts = 0;
    for (size_t i = 0; i < flight->step.n_slices && rank == 0; i++) {
        const struct queue_slice *slice = &flight->step.slices[i];
        for (size_t k = 0; slice->job->captions && k < slice->count; k++, at++) {
            const uint32_t written = at < in->n ? frame_captioned_written(in, at) : 0;
            if (at == in->n || !take_caption(&slice->job->captions[slice->first + k], written, in, texts))
                return false;
            texts += written == FRAME_CAPTION_UNKNOWN ? 0 : written;
        }
    }
    return at == in->n;
}

/* Divides a frame into the section of captions, empty where it has none, and the rest, which *header and *payload are then. */
static enum limoe_status split_frame(struct frame_header *header, const uint8_t **payload,
                                     struct frame_captioned *captioned, struct limoe_error *err) {
    uint64_t bytes = 0;
    *captioned = (struct frame_captioned){.n = 0};
    if (!(header->flags & FRAME_CAPTIONS))
        return LIMOE_OK;
    const enum limoe_status status = frame_get_captioned(*payload, header->length, captioned, &bytes, err);
    if (status)
        return status;
    header->length -= bytes;
    *payload += bytes;
    return LIMOE_OK;
}

/* Copies what the rank has computed to the jobs; LIMOE_CORRUPT if that is not what it was given. */
static enum limoe_status take_computed(const struct transfer *transfer, uint32_t rank,
                                       const struct flight *flight, const struct frame_captioned *captioned,
                                       const struct frame_result *result, struct limoe_error *err) {
    const struct count sent = count_portion(flight, rank);
    if (result->items != sent.items || result->rows != sent.rows || result->split != sent.split ||
        (wants_routing(&flight->step) && !result->expert))
        return limoe_fail(
            err, LIMOE_CORRUPT,
            "a RESULT of %llu items, %llu tokens and %llu shares%s for a step of %zu, %llu and %zu",
            (unsigned long long)result->items, (unsigned long long)result->rows,
            (unsigned long long)result->split, result->expert ? "" : " without routing", sent.items,
            (unsigned long long)sent.rows, sent.split);
    if (!take_captions(captioned, rank, flight))
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT of %zu captions, which are not the step's",
                          captioned->n);
    copy_results(&transfer->shape, result, rank, flight);
    return LIMOE_OK;
}

enum limoe_status transfer_receive(struct transfer *transfer, uint32_t rank, const struct link *link,
                                   const struct flight *flight, struct limoe_error *err) {
    struct frame_header header = link->frame;
    const uint8_t *payload = link->payload;
    struct frame_captioned captioned;
    struct frame_result result;
    enum limoe_status status = split_frame(&header, &payload, &captioned, err);
    if (!status)
        status = frame_get_result(&transfer->shape, &header, payload, &result, err);
    if (status != LIMOE_OK)
        return status;
    if (header.id != flight->id)
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT of step %llu where that of step %llu was due",
                          (unsigned long long)header.id, (unsigned long long)flight->id);
    if (result.status == LIMOE_OK &&
        (status = take_computed(transfer, rank, flight, &captioned, &result, err)))
        return status;
    add_result(transfer, rank, &result);
    return LIMOE_OK;
}
