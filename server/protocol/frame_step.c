/* frame_step.c - STEPs: which items, and by which tails. */
#include <math.h>

#include "base/error.h"
#include "server/protocol/frame.h"
#include "server/protocol/frame_parts.h"

#define STEP_HEAD_BYTES 8
#define ITEM_BYTES      12
#define TAIL_BYTES      (TAIL_KEY_DIGEST + sizeof(float))

/* Flags of an item. */
#define SHARES UINT16_C(1)
#define AGAIN  UINT16_C(2)

uint64_t frame_longest_step(const struct frame_shape *shape) {
    return STEP_HEAD_BYTES + shape->items * (ITEM_BYTES + TAIL_BYTES) + shape->rows * sizeof(int32_t) +
           most_images(shape) * shape->image_bytes;
}

/* ---- out */

/* The number of the key in the table, where it is put if it is not there. Those of a job are one after the other, so the
 * last is looked at first. */
static uint32_t number_of(const struct tail_key *key, struct tail_key *tails, size_t *n) {
    for (size_t i = *n; i > 0; i--)
        if (tail_key_equal(&tails[i - 1], key))
            return (uint32_t)i;
    tails[*n] = *key;
    return (uint32_t)++ * n;
}

static bool is_again(const struct limoe_item *item) {
    const struct limoe_item *before = item - 1;
    return item->modality == before->modality && item->length == before->length &&
           item->pixels == before->pixels && item->tokens == before->tokens && !item->shares &&
           !before->shares;
}

struct frame_step frame_plan_step(const struct limoe_item *items, const struct tail_key *const *keys,
                                  size_t n, const struct frame_room *room) {
    struct frame_step step = {.items = items, .wants = room->wants, .tails = room->tails, .n = n};
    for (size_t i = 0; i < n; i++) {
        const struct tail_key *key = keys ? keys[i] : NULL;
        room->wants[i] = (struct frame_want){.shares = items[i].shares,
                                             .again = i > 0 && is_again(&items[i]),
                                             .tail = key ? number_of(key, room->tails, &step.n_tails) : 0};
        step.rows += items[i].length;
    }
    return step;
}

static size_t ids_bytes(const struct limoe_item *item) {
    return item->modality == LIMOE_TEXT ? item->length * sizeof(int32_t) : 0;
}

size_t frame_step_head_bytes(const struct frame_step *step) {
    size_t bytes = STEP_HEAD_BYTES + step->n * ITEM_BYTES + step->n_tails * TAIL_BYTES;
    for (size_t i = 0; i < step->n; i++)
        bytes += step->wants[i].again ? 0 : ids_bytes(&step->items[i]);
    return bytes;
}

size_t frame_step_most_head_bytes(const struct limoe_item *items, size_t n) {
    size_t bytes = STEP_HEAD_BYTES + n * (ITEM_BYTES + TAIL_BYTES);
    for (size_t i = 0; i < n; i++)
        bytes += ids_bytes(&items[i]);
    return bytes;
}

uint64_t frame_step_bytes(const struct frame_shape *shape, const struct frame_step *step) {
    uint64_t bytes = frame_step_head_bytes(step);
    for (size_t i = 0; i < step->n; i++)
        if (step->items[i].modality == LIMOE_IMAGE && !step->wants[i].again)
            bytes += shape->image_bytes;
    return bytes;
}

void frame_put_step(const struct frame_step *step, uint8_t *head) {
    put_u32(&head, (uint32_t)step->n);
    put_u32(&head, (uint32_t)step->n_tails);
    for (size_t i = 0; i < step->n; i++) {
        const struct frame_want *want = &step->wants[i];
        const uint16_t words[2] = {(uint16_t)step->items[i].modality,
                                   (uint16_t)((want->shares ? SHARES : 0) | (want->again ? AGAIN : 0))};
        put(&head, words, sizeof words);
        put_u32(&head, step->items[i].length);
        put_u32(&head, want->tail);
    }
    for (size_t i = 0; i < step->n_tails; i++) {
        put(&head, step->tails[i].sha256, TAIL_KEY_DIGEST);
        put(&head, &step->tails[i].strength, sizeof step->tails[i].strength);
    }
    for (size_t i = 0; i < step->n; i++)
        if (step->items[i].modality == LIMOE_TEXT && !step->wants[i].again)
            put(&head, step->items[i].tokens, ids_bytes(&step->items[i]));
}

/* ---- in */

static enum limoe_status check_item(const struct frame_shape *shape, uint64_t index, uint32_t modality,
                                    uint32_t length, struct limoe_error *err) {
    if (modality >= LIMOE_MODALITIES)
        return limoe_fail(err, LIMOE_CORRUPT, "item %llu of a STEP has the unknown modality %u",
                          (unsigned long long)index, modality);
    const uint32_t most = modality == LIMOE_IMAGE ? shape->image_tokens : shape->text_length;
    const uint32_t least = modality == LIMOE_IMAGE && most ? most : 1; /* 1 to 0: none is taken */
    if (!within(length, least, most))
        return limoe_fail(err, LIMOE_CORRUPT, "item %llu of a STEP, %s, has %u tokens",
                          (unsigned long long)index, modality == LIMOE_IMAGE ? "an image" : "a text", length);
    return LIMOE_OK;
}

/* Shares are of an image that stands alone and goes by the model as it is; what is there again has one before it. */
static bool may_want(const struct limoe_item *items, const struct frame_want *wants, uint64_t i,
                     uint64_t tails) {
    const struct frame_want *want = &wants[i];
    if (want->tail > tails ||
        (want->shares && (items[i].modality != LIMOE_IMAGE || want->tail || want->again)))
        return false;
    return !want->again || (i > 0 && !wants[i - 1].shares && items[i - 1].modality == items[i].modality &&
                            items[i - 1].length == items[i].length);
}

static enum limoe_status get_item(const struct frame_shape *shape, const uint8_t **at, uint64_t i,
                                  uint64_t tails, const struct frame_room *room, struct limoe_error *err) {
    uint16_t words[2];
    get(at, words, sizeof words);
    const uint32_t length = get_u32(at), tail = get_u32(at);
    const enum limoe_status status = check_item(shape, i, words[0], length, err);
    if (status)
        return status;
    room->items[i] = (struct limoe_item){.modality = (enum limoe_modality)words[0], .length = length};
    room->wants[i] =
        (struct frame_want){.shares = words[1] & SHARES, .again = words[1] & AGAIN, .tail = tail};
    if (words[1] & ~(SHARES | AGAIN) || !may_want(room->items, room->wants, i, tails))
        return limoe_fail(err, LIMOE_CORRUPT, "item %llu of a STEP of %llu tails has flags %x and tail %u",
                          (unsigned long long)i, (unsigned long long)tails, words[1], tail);
    return LIMOE_OK;
}

static enum limoe_status get_tails(const uint8_t **at, uint64_t n, struct tail_key *tails,
                                   struct limoe_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        get(at, tails[i].sha256, TAIL_KEY_DIGEST);
        get(at, &tails[i].strength, sizeof tails[i].strength);
        if (!(tails[i].strength > 0 && tails[i].strength <= 1))
            return limoe_fail(err, LIMOE_CORRUPT, "tail %llu of a STEP has the strength %g",
                              (unsigned long long)i, (double)tails[i].strength);
    }
    return LIMOE_OK;
}

/* Points the items to their ids, which begin here, and to their pixels behind them. */
static void point(const struct frame_shape *shape, const uint8_t *ids, const uint8_t *pixels,
                  const struct frame_room *room, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        struct limoe_item *item = &room->items[i];
        if (room->wants[i].again) {
            item->tokens = item[-1].tokens;
            item->pixels = item[-1].pixels;
        } else if (item->modality == LIMOE_TEXT) {
            item->tokens = (const void *)ids;
            ids += ids_bytes(item);
        } else {
            item->pixels = pixels;
            pixels += shape->image_bytes;
        }
    }
}

enum limoe_status frame_get_step(const struct frame_shape *shape, const uint8_t *payload, uint64_t length,
                                 const struct frame_room *room, struct frame_step *out,
                                 struct limoe_error *err) {
    if (length < STEP_HEAD_BYTES)
        return limoe_fail(err, LIMOE_CORRUPT, "a STEP of %llu bytes", (unsigned long long)length);
    const uint8_t *at = payload;
    const uint64_t count = get_u32(&at), tails = get_u32(&at);
    if (count > shape->items || tails > count ||
        length - STEP_HEAD_BYTES < count * ITEM_BYTES + tails * TAIL_BYTES)
        return limoe_fail(err, LIMOE_CORRUPT,
                          "a STEP of %llu bytes with %llu items and %llu tails; at most %llu can be",
                          (unsigned long long)length, (unsigned long long)count, (unsigned long long)tails,
                          (unsigned long long)shape->items);
    struct frame_step step = {
        .items = room->items, .wants = room->wants, .tails = room->tails, .n = count, .n_tails = tails};
    enum limoe_status status;
    for (uint64_t i = 0; i < count; i++) {
        if ((status = get_item(shape, &at, i, tails, room, err)))
            return status;
        step.rows += room->items[i].length;
    }
    if ((status = get_tails(&at, tails, room->tails, err)))
        return status;
    const uint64_t expected = frame_step_bytes(shape, &step);
    if (step.rows > shape->rows || length != expected)
        return limoe_fail(
            err, LIMOE_CORRUPT,
            "a STEP of %llu bytes and %llu tokens whose items need %llu; at most %llu tokens can be",
            (unsigned long long)length, (unsigned long long)step.rows, (unsigned long long)expected,
            (unsigned long long)shape->rows);
    point(shape, at, payload + frame_step_head_bytes(&step), room, count);
    *out = step;
    return LIMOE_OK;
}
