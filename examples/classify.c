/* classify.c - which of some labels fits a picture, by liblimoe alone.
 *
 *     cc -o classify classify.c $(pkg-config --cflags --libs limoe)
 *     ./classify models/pictograms examples/cat.png cat dog bicycle
 *
 * A label is asked for in two templates, whose embeddings are ensembled, as `limoe classify` and the server
 * do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <limoe.h>

enum { MOST_BYTES = 32 << 20, PROMPT_BYTES = 1100 };

static const char *const templates[] = {"%s", "a picture of a %s"};
enum { TEMPLATES = sizeof templates / sizeof *templates };

static void check(enum limoe_status status, const struct limoe_error *err) {
    if (status == LIMOE_OK)
        return;
    fprintf(stderr, "classify: %s\n", err->message);
    exit(1);
}

static void *allocate(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) {
        fprintf(stderr, "classify: no memory\n");
        exit(1);
    }
    return p;
}

/* The picture's embedding [embed]. */
static void embed_picture(const struct limoe_processor *processor, struct limoe_model *model,
                          const char *path, float *out) {
    const struct limoe_info *info = limoe_processor_info(processor);
    struct limoe_error err;
    unsigned char *bytes = allocate(1, MOST_BYTES);
    unsigned char *pixels = allocate((size_t)info->image_size * info->image_size, 3);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    const size_t size = fread(bytes, 1, MOST_BYTES, file);
    fclose(file);
    check(limoe_process_image(processor, bytes, size, pixels, &err), &err);
    const struct limoe_item item = {.modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels};
    check(limoe_model_embed(model, &item, 1, out, NULL, &err), &err);
    free(pixels);
    free(bytes);
}

/* A label's embedding [embed]: the mean of its prompts', one of each template. */
static void embed_label(const struct limoe_processor *processor, struct limoe_model *model, const char *label,
                        float *out) {
    const struct limoe_info *info = limoe_processor_info(processor);
    struct limoe_error err;
    struct limoe_item items[TEMPLATES];
    int32_t *tokens = allocate((size_t)TEMPLATES * info->text_length, sizeof *tokens);
    float *prompts = allocate((size_t)TEMPLATES * info->embed, sizeof *prompts);
    for (size_t i = 0; i < TEMPLATES; i++) {
        char prompt[PROMPT_BYTES];
        int32_t *ids = tokens + i * info->text_length;
        snprintf(prompt, sizeof prompt, templates[i], label);
        items[i] = (struct limoe_item){.modality = LIMOE_TEXT, .tokens = ids};
        check(limoe_process_text(processor, prompt, strlen(prompt), ids, &items[i].length, &err), &err);
    }
    check(limoe_model_embed(model, items, TEMPLATES, prompts, NULL, &err), &err);
    limoe_ensemble(prompts, TEMPLATES, info->embed, out);
    free(prompts);
    free(tokens);
}

int main(int argc, char **argv) {
    struct limoe_processor *processor;
    struct limoe_model *model;
    struct limoe_error err;
    if (argc < 4) {
        fprintf(stderr, "usage: classify MODEL PICTURE LABEL...\n");
        return 2;
    }
    check(limoe_processor_open(argv[1], NULL, &processor, &err), &err);
    check(limoe_model_open(argv[1], &(struct limoe_options){0}, &model, &err), &err);
    const struct limoe_info *info = limoe_model_info(model);
    const size_t n = (size_t)argc - 3;
    float *picture = allocate(info->embed, sizeof *picture),
          *labels = allocate(n * info->embed, sizeof *labels);
    float *cosine = allocate(n, sizeof *cosine), *score = allocate(n, sizeof *score);
    embed_picture(processor, model, argv[2], picture);
    for (size_t i = 0; i < n; i++)
        embed_label(processor, model, argv[3 + i], labels + i * info->embed);
    limoe_scores(picture, labels, n, info->embed, &info->scoring, cosine, score);
    for (size_t i = 0; i < n; i++)
        printf("%6.2f %%  %s\n", 100.0 * (double)score[i], argv[3 + i]);
    free(score);
    free(cosine);
    free(labels);
    free(picture);
    limoe_model_close(model);
    limoe_processor_close(processor);
    return 0;
}
