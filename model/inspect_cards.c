/* inspect_cards.c - limoe_inspect_cards, limoe_fewest_ranks: what ranks take of their GPUs' memory. No threads.
 *
 * Nothing is estimated here. What an engine reserves is reserved, on an instance that has no memory and counts
 * (kernels/counting.h), in the order in which an engine does it, for the largest step that it can get.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "experts/sharded.h"
#include "kernels/counting.h"
#include "kernels/cuda_sizes.h"
#include "model/agree.h"
#include "model/checkpoint/digests.h"
#include "model/forward/workspace.h"
#include "model/inspect.h"

/* For what no count here sees: CUDA's context with its kernels, and with several ranks NCCL's channels. Both differ from
 * card to card and from driver to driver; these are above what is usual. */
#define CONTEXT_BYTES (UINT64_C(1) << 30)
#define NCCL_BYTES    (UINT64_C(1) << 30)

#define MOST_TOKENS (1u << 20) /* as of limoe serve */

/* The largest step: of one rank, and of all. */
struct step {
    size_t rows;        /* of a rank's own */
    size_t assignments; /* that a rank may have to send, receive or compute, all together */
    uint32_t *start;    /* [rows + 1]: each a sequence, of which there are the most tiles */
};

struct counted {
    const struct inspection *in;
    const struct inspected_ranks *ranks;
    struct step step;
    uint32_t *held; /* [ranks, layers]: experts that each holds */
};

/* ---- the step */

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t longest_item(const struct config *c) {
    const size_t image = config_image_tokens(c);
    return image > c->text.length ? image : c->text.length;
}

/* An engine cuts a step into steps of its own, but with "moe.capacity", where all rows are one. */
static enum limoe_status size_step(struct counted *c, uint64_t tokens, struct limoe_error *err) {
    const struct config *config = &c->in->config;
    const uint32_t ranks = c->ranks->public.ranks, top_k = config->moe.layers ? config->moe.top_k : 1;
    const size_t item = longest_item(config), all = tokens > item ? tokens : item;
    const size_t own =
        config->moe.capacity != 0 ? all : least(all, item > CUDA_STEP_ROWS ? item : CUDA_STEP_ROWS);
    c->step.rows = own;
    c->step.assignments = least(all, own * ranks) * top_k;
    c->step.start = malloc((own + 1) * sizeof *c->step.start);
    if (!c->step.start)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to count a step of %zu tokens", own);
    for (size_t i = 0; i <= own; i++)
        c->step.start[i] = (uint32_t)i;
    return LIMOE_OK;
}

/* ---- one rank */

static uint32_t most_held(const struct counted *c, uint32_t rank) {
    const uint32_t layers = c->ranks->public.layers;
    uint32_t most = 0;
    for (uint32_t l = 0; l < layers; l++)
        most = c->held[(size_t)rank * layers + l] > most ? c->held[(size_t)rank * layers + l] : most;
    return most;
}

static uint32_t most_copies(const struct limoe_placement *p) {
    uint32_t most = 0;
    for (uint32_t l = 0; l < p->layers; l++) {
        const uint32_t *first = p->first + (size_t)l * p->experts;
        most = first[p->experts] - first[0] > most ? first[p->experts] - first[0] : most;
    }
    return most;
}

/* The tables of a step that the backend makes for itself. */
static void prepare_step(const struct counted *c, struct kernels *k, uint32_t rank) {
    const struct config *config = &c->in->config;
    const struct kernels_plan none = {0};
    const bool alone = c->ranks->public.ranks == 1;
    k->ops->sequences(k, c->step.start, c->step.rows);
    if (config_has(config, LIMOE_IMAGE))
        k->ops->patches(k, NULL, 1, config->image.size, config->image.patch, config->image.class_token,
                        config->image.mean, config->image.std, NULL);
    if (!config->moe.layers)
        return;
    k->ops->plan(k, NULL, c->step.rows, alone ? config->moe.experts : most_copies(&c->ranks->public),
                 config->moe.top_k, none);
    if (!alone)
        k->ops->plan(k, NULL, c->step.assignments, most_held(c, rank), 1, none);
}

/* What the exchange's staging grows to, from the ranks' first agreement to a step. */
static void stage(size_t bytes, size_t *room) {
    *room = bytes > *room ? exchange_staging(bytes) : *room;
}

static enum limoe_status stage_opening(const struct counted *c, size_t *room, struct limoe_error *err) {
    struct digests digests = {0};
    enum limoe_status status = digests_create(&c->in->config, &digests, err);
    if (status)
        return status;
    stage(agree_bytes(c->ranks->public.ranks), room);
    stage(digests.count * sizeof *digests.value, room);
    digests_free(&digests);
    return LIMOE_OK;
}

/* The towers' exchanges, which are there together. Adds the bytes of what they stage. */
static enum limoe_status reserve_exchange(const struct counted *c, struct kernels *k, uint32_t rank,
                                          uint64_t *staged, struct limoe_error *err) {
    const struct config *config = &c->in->config;
    const struct exchange x = {.rank = rank, .ranks = c->ranks->public.ranks, .on_gpus = true};
    size_t room = 0;
    enum limoe_status status = stage_opening(c, &room, err);
    for (uint32_t t = 0; t < config->towers && !status; t++) {
        const struct config_tower *tower = &config->tower[t];
        struct sharded *sharded;
        if (!config_layers(config, (enum limoe_modality)t))
            continue;
        if ((status = sharded_create(k, &x, &c->ranks->placement, tower->width, tower->mlp, config->moe.top_k,
                                     &sharded, err)))
            break;
        const uint64_t before = kernels_counting_bytes(k);
        status = sharded_reserve(sharded, c->step.rows, c->step.assignments, err);
        *staged += kernels_counting_bytes(k) - before;
        stage(sharded_counts_bytes(sharded), &room);
        sharded_destroy(sharded);
    }
    *staged += room;
    return status;
}

static enum limoe_status count_card(const struct counted *c, uint32_t rank, struct limoe_card *card,
                                    struct limoe_error *err) {
    const struct limoe_rank *weights = &c->ranks->public.rank[rank];
    const bool alone = c->ranks->public.ranks == 1;
    struct workspace work = {0};
    struct kernels *k;
    enum limoe_status status = kernels_counting_create(c->ranks->public.dtype, &k, err);
    if (status)
        return status;
    *card = (struct limoe_card){.dense_bytes = weights->dense_bytes,
                                .expert_bytes = weights->expert_bytes,
                                .set_aside_bytes = CONTEXT_BYTES + (alone ? 0 : NCCL_BYTES)};
    prepare_step(c, k, rank);
    card->staging_bytes = kernels_counting_bytes(k);
    const size_t rows = c->step.rows > k->step_rows ? c->step.rows : k->step_rows; /* encoder_create's */
    status = workspace_reserve(&work, k, &c->in->config, rows, rows, err);
    card->workspace_bytes = kernels_counting_bytes(k) - card->staging_bytes;
    if (!status && !alone)
        status = reserve_exchange(c, k, rank, &card->exchange_bytes, err);
    card->bytes = card->dense_bytes + card->expert_bytes + card->workspace_bytes + card->exchange_bytes +
                  card->staging_bytes + card->set_aside_bytes;
    workspace_release(&work, k);
    k->ops->destroy(k);
    return status;
}

/* ---- all ranks */

static bool list_held(struct counted *c) {
    const struct limoe_placement *p = &c->ranks->public;
    c->held = calloc((size_t)p->ranks * p->layers + 1, sizeof *c->held);
    for (uint32_t l = 0; c->held && l < p->layers; l++) {
        const uint32_t *first = p->first + (size_t)l * p->experts;
        for (uint32_t i = first[0]; i < first[p->experts]; i++)
            c->held[(size_t)p->owner[i] * p->layers + l]++;
    }
    return c->held;
}

/* Ranks that hold as many experts of each layer take as much. */
static enum limoe_status count_cards(const struct counted *c, struct limoe_cards *cards,
                                     struct limoe_error *err) {
    const size_t row = c->ranks->public.layers;
    for (uint32_t r = 0; r < cards->ranks; r++) {
        uint32_t like = 0;
        while (like < r && memcmp(c->held + like * row, c->held + r * row, row * sizeof *c->held) != 0)
            like++;
        if (like < r) {
            cards->card[r] = cards->card[like];
            continue;
        }
        enum limoe_status status = count_card(c, r, &cards->card[r], err);
        if (status)
            return status;
    }
    return LIMOE_OK;
}

static enum limoe_status check_device(const struct counted *c, struct limoe_error *err) {
    const struct limoe_placement *p = &c->ranks->public;
    if (c->ranks->kind != KERNELS_CUDA)
        return limoe_fail(
            err, LIMOE_UNSUPPORTED,
            "the memory of GPUs is asked for, and these ranks are on CPUs; accepted: device cuda");
    if (p->ranks > 1 && c->in->config.moe.capacity != 0)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "\"%s\" has \"moe.capacity\"; it works on 1 rank, not on %u",
                          c->in->public.info.name, p->ranks);
    return LIMOE_OK;
}

enum limoe_status limoe_inspect_cards(const struct limoe_inspection *inspection,
                                      const struct limoe_placement *ranks, uint64_t step_tokens,
                                      struct limoe_cards **out, struct limoe_error *err) {
    struct counted c = {.in = inspection_of(inspection), .ranks = inspected_ranks_of(ranks)};
    struct limoe_cards *cards = NULL;
    const uint64_t tokens = step_tokens ? step_tokens : CUDA_STEP_ROWS;
    enum limoe_status status;
    *out = NULL;
    if ((status = check_device(&c, err)))
        return status;
    if (tokens > MOST_TOKENS)
        return limoe_fail(err, LIMOE_INVALID, "steps of %llu tokens; 1 to %u are accepted",
                          (unsigned long long)tokens, MOST_TOKENS);
    if ((status = size_step(&c, tokens, err)))
        goto out;
    cards = calloc(1, sizeof *cards);
    if (cards)
        *cards = (struct limoe_cards){
            .ranks = ranks->ranks, .step_tokens = tokens, .card = calloc(ranks->ranks, sizeof *cards->card)};
    status = cards && cards->card && list_held(&c)
                 ? count_cards(&c, cards, err)
                 : limoe_fail(err, LIMOE_NO_MEMORY, "no memory to count %u ranks", ranks->ranks);
out:
    free(c.held);
    free(c.step.start);
    if (status)
        limoe_cards_free(cards);
    else
        *out = cards;
    return status;
}

void limoe_cards_free(struct limoe_cards *cards) {
    if (!cards)
        return;
    free(cards->card);
    free(cards);
}

/* ---- the fewest ranks */

static bool weights_fit(const struct limoe_placement *p, uint64_t card_bytes) {
    for (uint32_t r = 0; r < p->ranks; r++)
        if (p->rank[r].dense_bytes + p->rank[r].expert_bytes > card_bytes)
            return false;
    return true;
}

static bool all_fit(const struct limoe_cards *cards, uint64_t card_bytes) {
    for (uint32_t r = 0; r < cards->ranks; r++)
        if (cards->card[r].bytes > card_bytes)
            return false;
    return true;
}

static enum limoe_status try_ranks(const struct limoe_inspection *inspection,
                                   const struct limoe_rank_options *options, uint64_t step_tokens,
                                   uint64_t card_bytes, bool *fits, struct limoe_error *err) {
    struct limoe_placement *placement;
    struct limoe_cards *cards = NULL;
    *fits = false;
    enum limoe_status status = limoe_inspect_ranks(inspection, options, &placement, err);
    if (status == LIMOE_INVALID && options->expert_bytes)
        return LIMOE_OK; /* too few for so many bytes of experts on each */
    if (status)
        return status;
    if (weights_fit(placement, card_bytes)) {
        status = limoe_inspect_cards(inspection, placement, step_tokens, &cards, err);
        *fits = cards && all_fit(cards, card_bytes);
        limoe_cards_free(cards);
    }
    limoe_placement_free(placement);
    return status;
}

enum limoe_status limoe_fewest_ranks(const struct limoe_inspection *inspection,
                                     const struct limoe_rank_options *options, uint64_t step_tokens,
                                     uint64_t card_bytes, uint32_t *ranks, struct limoe_error *err) {
    const struct config *config = &inspection_of(inspection)->config;
    const bool divisible = config->moe.layers && config->moe.capacity == 0;
    const uint32_t most = divisible ? config->moe.experts : 1; /* with more, some hold none */
    struct limoe_rank_options tried = *options;
    bool fits = false;
    *ranks = 0;
    for (tried.ranks = 1; !fits && tried.ranks <= most; tried.ranks++) {
        enum limoe_status status = try_ranks(inspection, &tried, step_tokens, card_bytes, &fits, err);
        if (status)
            return status;
        *ranks = fits ? tried.ranks : 0;
    }
    return LIMOE_OK;
}
