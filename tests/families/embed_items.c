/* embed_items.c - a model folder of any size against what its own library answered.
 *
 * usage: embed_items DIR [--dtype float32|bfloat16]
 *
 * DIR is a model folder with an items.safetensors beside it, as tests/golden/README.md describes. Prints how long opening
 * took, the largest difference and the worst cosine of its pictures and of its texts; exit status 1 where a cosine is
 * below 0.99999 (float32) or 0.999 (bfloat16). tests/families/full.py makes such folders and runs this. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"

struct items {
    struct safetensors *file;
    void *pixels;
    int32_t *tokens, *lengths;
    float *embedding; /* [count, embed] */
    struct limoe_item *item;
    size_t images, count;
};

static int fail(const struct limoe_error *err) {
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

static void *read_tensor(const struct items *in, const char *name, const struct tensor **t) {
    struct limoe_error err;
    *t = safetensors_find(in->file, name);
    if (!*t) {
        fprintf(stderr, "items.safetensors: no tensor \"%s\"\n", name);
        exit(1);
    }
    void *to = malloc((*t)->bytes + 1);
    if (!to || safetensors_read(in->file, *t, to, &err) != LIMOE_OK)
        exit(fail(&err));
    return to;
}

static void read_items(const char *dir, const struct config *config, struct items *in) {
    struct limoe_error err;
    const struct tensor *pixels, *tokens, *other;
    if (safetensors_open_file(dir, "items.safetensors", &in->file, &err) != LIMOE_OK)
        exit(fail(&err));
    in->pixels = read_tensor(in, "pixels", &pixels);
    in->tokens = read_tensor(in, "tokens", &tokens);
    in->lengths = read_tensor(in, "lengths", &other);
    in->embedding = read_tensor(in, "embedding", &other);
    in->images = pixels->shape[0];
    in->count = in->images + tokens->shape[0];
    in->item = calloc(in->count, sizeof *in->item);
    if (!in->item)
        exit(1);
    for (size_t i = 0; i < in->count; i++) {
        const size_t t = i - in->images;
        const uint8_t *picture = (const uint8_t *)in->pixels + i * (pixels->bytes / in->images);
        in->item[i] = i < in->images
                          ? (struct limoe_item){LIMOE_IMAGE, config_image_tokens(config), picture, NULL}
                          : (struct limoe_item){LIMOE_TEXT, (uint32_t)in->lengths[t], NULL,
                                                in->tokens + t * tokens->shape[1]};
    }
}

/* Items first .. last - 1. */
static double compare(const char *what, const struct items *in, const float *z, size_t embed, size_t first,
                      size_t last) {
    double difference = 0, worst = 1;
    for (size_t i = first; i < last; i++) {
        double dot = 0;
        for (size_t j = i * embed; j < (i + 1) * embed; j++) {
            dot += (double)z[j] * in->embedding[j];
            difference = fmax(difference, fabs((double)z[j] - in->embedding[j]));
        }
        worst = fmin(worst, dot);
    }
    printf("  %zu %s: largest difference %.1e, worst cosine %.7f\n", last - first, what, difference, worst);
    return worst;
}

int main(int argc, char **argv) {
    struct limoe_options options = {.dtype = LIMOE_FLOAT32};
    struct limoe_error err;
    struct limoe_model *model;
    struct config config;
    struct items in = {0};
    if (argc == 4 && strcmp(argv[2], "--dtype") == 0 && strcmp(argv[3], "bfloat16") == 0)
        options.dtype = LIMOE_BFLOAT16;
    else if (argc != 2 && !(argc == 4 && strcmp(argv[3], "float32") == 0)) {
        fprintf(stderr, "usage: %s DIR [--dtype float32|bfloat16]\n", argv[0]);
        return 2;
    }
    if (config_load(argv[1], &config, NULL, &err) != LIMOE_OK)
        return fail(&err);
    read_items(argv[1], &config, &in);
    const int64_t begun = clock_now();
    if (limoe_model_open(argv[1], &options, &model, &err) != LIMOE_OK)
        return fail(&err);
    const int64_t opened = clock_now();
    const struct limoe_info *info = limoe_model_info(model);
    float *z = malloc(in.count * info->embed * sizeof *z);
    if (!z || limoe_model_embed(model, in.item, in.count, z, NULL, &err) != LIMOE_OK)
        return fail(&err);
    printf("%s, %s, %.1f M parameters, %.1f GB: opened in %.2f s\n", info->architecture,
           limoe_model_backend(model), (double)info->total_parameters / 1e6, (double)info->weight_bytes / 1e9,
           (double)(opened - begun) / (double)CLOCK_SECOND);
    const double pictures = compare("pictures", &in, z, info->embed, 0, in.images);
    const double texts = compare("texts", &in, z, info->embed, in.images, in.count);
    limoe_model_close(model);
    return fmin(pictures, texts) < (options.dtype == LIMOE_FLOAT32 ? 0.99999 : 0.999);
}
