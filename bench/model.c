/* model.c - how long a model takes for a batch of pictures, once it is open.
 *
 *     bench/model --model DIR [--dtype float32|bfloat16] [--threads N] [--batch N] [--seconds S]
 *
 * Prints one JSON object: the median and the 90th percentile of single calls made within --seconds, in
 * milliseconds, and pictures per second at the median. Pictures are noise and differ from call to call, as in
 * train/peer.py, which times the same model in PyTorch.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limoe.h"
#include "timing.h"

enum { MAX_CALLS = 1 << 20, WARM_UP = 20, SETS = 8 };

struct arguments {
    const char *model;
    struct limoe_options options;
    size_t batch;
    double seconds;
};

static int usage(void) {
    fputs(
        "usage: bench/model --model DIR [--dtype float32|bfloat16] [--threads N] [--batch N] [--seconds S]\n",
        stderr);
    return 2;
}

static bool read_number(const char *text, double min, double max, double *out) {
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && *out >= min && *out <= max;
}

static bool read_dtype(const char *text, enum limoe_dtype *out) {
    *out = strcmp(text, "float32") == 0    ? LIMOE_FLOAT32
           : strcmp(text, "bfloat16") == 0 ? LIMOE_BFLOAT16
                                           : LIMOE_DTYPE_AUTO;
    return *out != LIMOE_DTYPE_AUTO;
}

static bool read_arguments(int argc, char **argv, struct arguments *a) {
    static const struct option known[] = {
        {"model", required_argument, NULL, 'm'},   {"dtype", required_argument, NULL, 'd'},
        {"threads", required_argument, NULL, 't'}, {"batch", required_argument, NULL, 'b'},
        {"seconds", required_argument, NULL, 's'}, {0}};
    *a = (struct arguments){.batch = 1, .seconds = 5};
    int option;
    double number;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'm':
            a->model = optarg;
            break;
        case 'd':
            if (!read_dtype(optarg, &a->options.dtype))
                return false;
            break;
        case 't':
            if (!read_number(optarg, 1, 1024, &number))
                return false;
            a->options.threads = (uint32_t)number;
            break;
        case 'b':
            if (!read_number(optarg, 1, 4096, &number))
                return false;
            a->batch = (size_t)number;
            break;
        case 's':
            if (!read_number(optarg, 0.1, 3600, &a->seconds))
                return false;
            break;
        default:
            return false;
        }
    }
    return a->model && optind == argc;
}

/* n pictures of noise in one allocation, which items[0].pixels names. */
static bool make_items(const struct limoe_info *info, size_t n, struct limoe_item *items) {
    const size_t bytes = (size_t)info->image_size * info->image_size * 3;
    uint8_t *pixels = malloc(n * bytes);
    if (!pixels)
        return false;
    srand(1);
    for (size_t i = 0; i < n * bytes; i++)
        pixels[i] = (uint8_t)(rand() >> 8);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct limoe_item){LIMOE_IMAGE, info->image_tokens, pixels + i * bytes, NULL};
    return true;
}

/* items [SETS, batch], embeddings [batch, embed], ms [MAX_CALLS]. */
static enum limoe_status measure(struct limoe_model *model, const struct arguments *a,
                                 const struct limoe_item *items, float *embeddings, double *ms,
                                 struct limoe_error *err) {
    size_t calls = 0;
    double end = 0;
    for (size_t i = 0; i <= WARM_UP || (calls < MAX_CALLS && now() < end); i++) {
        double start = now();
        enum limoe_status status =
            limoe_model_embed(model, items + i % SETS * a->batch, a->batch, embeddings, NULL, err);
        if (status)
            return status;
        if (i >= WARM_UP)
            ms[calls++] = (now() - start) * 1e3;
        else
            end = now() + a->seconds;
    }
    qsort(ms, calls, sizeof *ms, by_value);
    printf("{\"model\": \"%s\", \"backend\": \"%s\", \"dtype\": \"%s\", \"threads\": %u, \"batch\": %zu, "
           "\"calls\": %zu, \"median_ms\": %.4f, \"p90_ms\": %.4f, \"images_per_s\": %.1f}\n",
           limoe_model_info(model)->name, limoe_model_backend(model),
           limoe_dtype_name(limoe_model_dtype(model)), limoe_model_threads(model), a->batch, calls,
           ms[calls / 2], ms[calls * 9 / 10], 1e3 * (double)a->batch / ms[calls / 2]);
    return LIMOE_OK;
}

int main(int argc, char **argv) {
    struct arguments a;
    struct limoe_error err;
    struct limoe_model *model = NULL;
    int exit_status = 1;
    if (!read_arguments(argc, argv, &a))
        return usage();
    if (limoe_model_open(a.model, &a.options, &model, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    struct limoe_item *items = calloc(SETS * a.batch, sizeof *items);
    float *embeddings = calloc(a.batch * limoe_model_info(model)->embed, sizeof *embeddings);
    double *ms = malloc(MAX_CALLS * sizeof *ms);
    if (!items || !embeddings || !ms || !make_items(limoe_model_info(model), SETS * a.batch, items))
        fputs("no memory\n", stderr);
    else if (measure(model, &a, items, embeddings, ms, &err))
        fprintf(stderr, "%s\n", err.message);
    else
        exit_status = 0;
    if (items)
        free((void *)items[0].pixels);
    free(items);
    free(embeddings);
    free(ms);
    limoe_model_close(model);
    return exit_status;
}
