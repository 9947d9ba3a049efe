/* model.c - how long a model takes for a batch of pictures, once it is open.
 *
 *     bench/model --model DIR [--device D] [--dtype float32|bfloat16|int8] [--threads N] [--batch N] [--seconds S]
 *                 [--tokens N] [--mixed] [--profile FILE] [--observe]
 *
 * Prints one JSON object: milliseconds that opening took, the median and the 90th percentile of single calls
 * made within --seconds, in milliseconds, and pictures per second at the median; with --tokens, texts of so many
 * tokens in their place; with --mixed as well, of the two in turns. Up to 20 calls and up to --seconds before
 * that count for nothing. Pictures are noise and differ from call to call, as in train/peer.py, which times the
 * same model in PyTorch. "weights_bytes" is what the packed weights take. With --observe every second call asks
 * for the experts' load and the gates' entropy, as a server does; "observed_ratio" is the median of those calls
 * to the others'. --profile times each operation of the measured calls, too (bench/profile.h), and writes FILE.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/arguments.h"
#include "bench/profile.h"
#include "bench/timing.h"
#include "limoe.h"
#include "model/model.h"

enum { MAX_CALLS = 1 << 20, WARM_UP = 20, SETS = 7 }; /* SETS is odd: each kind of call meets each set */

static int usage(void) {
    fputs("usage: bench/model " ARGUMENTS_USAGE " [--profile FILE] [--observe]\n", stderr);
    return 2;
}

/* n pictures of noise in one allocation, which items[0].pixels names. */
static bool make_pictures(const struct limoe_info *info, size_t n, struct limoe_item *items) {
    const size_t bytes = (size_t)info->image_size * info->image_size * 3;
    uint8_t *pixels = malloc(n * bytes);
    if (!pixels)
        return false;
    for (size_t i = 0; i < n * bytes; i++)
        pixels[i] = (uint8_t)(rand() >> 8);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct limoe_item){
            .modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels + i * bytes};
    return true;
}

/* n texts of any tokens in one allocation, which items[0].tokens names. */
static bool make_texts(const struct limoe_info *info, size_t n, uint32_t length, struct limoe_item *items) {
    int32_t *tokens = malloc(n * length * sizeof *tokens);
    if (!tokens)
        return false;
    for (size_t i = 0; i < n * length; i++)
        tokens[i] = (int32_t)((unsigned)rand() % info->vocab);
    for (size_t i = 0; i < n; i++)
        items[i] =
            (struct limoe_item){.modality = LIMOE_TEXT, .length = length, .tokens = tokens + i * length};
    return true;
}

static void free_items(struct limoe_item *items) {
    if (items) {
        free((void *)items[0].pixels);
        free((void *)items[0].tokens);
    }
    free(items);
}

/* As many pictures and texts as the batches need; of both, in turns, where they are mixed. */
static bool make_items(const struct limoe_info *info, const struct arguments *a, struct limoe_item *items,
                       struct limoe_item *others) {
    const size_t n = SETS * a->batch;
    srand(1);
    if ((!a->tokens || a->mixed) && !make_pictures(info, n, items))
        return false;
    if (a->tokens && !make_texts(info, n, a->tokens, a->mixed ? others : items))
        return false;
    /* Swapped, so that items[0] and others[0] still name the memory. */
    for (size_t i = 1; a->mixed && i < n; i += 2) {
        const struct limoe_item picture = items[i];
        items[i] = others[i];
        others[i] = picture;
    }
    return true;
}

/* Samples of one kind of call. */
struct samples {
    double *ms; /* [MAX_CALLS] */
    size_t calls;
};

static double percentile(struct samples *s, size_t percent) {
    qsort(s->ms, s->calls, sizeof *s->ms, by_value);
    return s->ms[s->calls * percent / 100];
}

/* items [SETS, batch], embeddings [batch, embed]. Plain calls go to plain, the others to observed. */
static enum limoe_status measure(struct limoe_model *model, const struct arguments *a,
                                 const struct limoe_item *items, float *embeddings,
                                 const struct limoe_routing *routing, struct profile *profile,
                                 struct samples *plain, struct samples *observed, struct limoe_error *err) {
    const double warm = now() + a->seconds;
    double end = 0; /* of what is measured; 0 while the calls warm up */
    for (size_t i = 0; end == 0 || plain->calls == 0 || (plain->calls < MAX_CALLS && now() < end); i++) {
        bool observe = a->flag && i % 2;
        struct samples *to = observe ? observed : plain;
        double start = now();
        enum limoe_status status = limoe_model_embed(model, items + i % SETS * a->batch, a->batch, embeddings,
                                                     observe ? routing : NULL, err);
        if (status)
            return status;
        if (end > 0)
            to->ms[to->calls++] = (now() - start) * 1e3;
        else if (i + 1 >= WARM_UP || now() >= warm) {
            if (profile)
                profile_restart(profile);
            end = now() + a->seconds;
        }
    }
    return LIMOE_OK;
}

static void report(const struct limoe_model *model, const struct arguments *a, double open_ms,
                   struct samples *plain, struct samples *observed) {
    double median = percentile(plain, 50);
    uint64_t dense_bytes, expert_bytes;
    limoe_model_memory(model, &dense_bytes, &expert_bytes, NULL);
    printf("{\"model\": \"%s\", \"backend\": \"%s\", \"dtype\": \"%s\", \"threads\": %u, \"batch\": %zu, "
           "\"open_ms\": %.1f, \"weights_bytes\": %" PRIu64
           ", \"calls\": %zu, \"median_ms\": %.4f, \"p90_ms\": %.4f, \"%s\": %.1f",
           limoe_model_info(model)->name, limoe_model_backend(model),
           limoe_dtype_name(limoe_model_dtype(model)), limoe_model_threads(model), a->batch, open_ms,
           dense_bytes + expert_bytes, plain->calls, median, percentile(plain, 90),
           a->mixed    ? "items_per_s"
           : a->tokens ? "texts_per_s"
                       : "images_per_s",
           1e3 * (double)a->batch / median);
    if (observed->calls)
        printf(", \"observed_ratio\": %.4f", percentile(observed, 50) / median);
    puts("}");
}

static enum limoe_status open_model(const struct arguments *a, struct profile **profile,
                                    struct limoe_model **model, struct limoe_error *err) {
    struct kernels *k;
    enum limoe_status status =
        kernels_create(a->options.device, a->options.dtype, a->options.threads, &k, err);
    if (!status && a->profile)
        status = profile_create(k, profile, &k, err);
    return status ? status : model_open_on(a->model, k, &a->options, model, err);
}

static bool write_profile(const struct profile *profile, const char *path) {
    FILE *file = fopen(path, "w");
    const bool whole = file && profile_write(profile, file);
    if (file && !fclose(file) && whole)
        return true;
    fprintf(stderr, "%s: the profile could not be written whole\n", path);
    return false;
}

int main(int argc, char **argv) {
    struct arguments a = {.batch = 1, .seconds = 5};
    struct limoe_error err;
    struct limoe_model *model = NULL;
    struct profile *profile = NULL;
    int exit_status = 1;
    if (!arguments_read(argc, argv, "observe", &a))
        return usage();
    const double start = now();
    if (open_model(&a, &profile, &model, &err)) {
        fprintf(stderr, "%s\n", err.message);
        profile_free(profile);
        return 1;
    }
    const double open_ms = (now() - start) * 1e3;
    struct limoe_item *items = calloc(SETS * a.batch, sizeof *items);
    struct limoe_item *others = calloc(SETS * a.batch, sizeof *others);
    float *embeddings = calloc(a.batch * limoe_model_info(model)->embed, sizeof *embeddings);
    const struct limoe_info *info = limoe_model_info(model);
    const size_t cells = (size_t)info->moe_layers * LIMOE_MODALITIES;
    struct limoe_routing routing = {.load = calloc(cells * info->experts + 1, sizeof *routing.load),
                                    .entropy = calloc(cells + 1, sizeof *routing.entropy)};
    struct samples plain = {.ms = malloc(MAX_CALLS * sizeof *plain.ms)};
    struct samples observed = {.ms = malloc(MAX_CALLS * sizeof *observed.ms)};
    if (!items || !others || !embeddings || !plain.ms || !observed.ms || !routing.load || !routing.entropy ||
        !make_items(info, &a, items, others))
        fputs("no memory\n", stderr);
    else if (measure(model, &a, items, embeddings, &routing, profile, &plain, &observed, &err))
        fprintf(stderr, "%s\n", err.message);
    else {
        report(model, &a, open_ms, &plain, &observed);
        exit_status = profile && !write_profile(profile, a.profile);
    }
    free_items(items);
    free_items(others);
    free(embeddings);
    free(observed.ms);
    free(plain.ms);
    free(routing.entropy);
    free(routing.load);
    limoe_model_close(model);
    profile_free(profile);
    return exit_status;
}
