/* embed.c - texts and a picture to vectors, by liblimoe alone.
 *
 *     cc -o embed embed.c $(pkg-config --cflags --libs limoe)
 *     ./embed models/pictograms examples/cat.png "a cat" "a rocket"
 *
 * Prints each text's cosine with the picture.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <limoe.h>

/* The whole file; *size bytes, to be freed. NULL: it cannot be read. */
static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    size_t room = 0;
    *size = 0;
    while (file && !feof(file) && !ferror(file)) {
        if (*size == room) {
            unsigned char *larger = realloc(bytes, room = 2 * room + 65536);
            if (!larger)
                break;
            bytes = larger;
        }
        *size += fread(bytes + *size, 1, room - *size, file);
    }
    const int whole = file && feof(file);
    if (file)
        fclose(file);
    if (!whole) {
        free(bytes);
        bytes = NULL;
    }
    return bytes;
}

static int fail(const struct limoe_error *err) {
    fprintf(stderr, "embed: %s\n", err->message);
    return 1;
}

/* A processor turns pictures and texts into items; a model turns items into vectors, many at a time. */
static int run(const struct limoe_processor *processor, struct limoe_model *model, const char *picture,
               char *const texts[], size_t n) {
    const struct limoe_info *info = limoe_processor_info(processor);
    struct limoe_error err;
    size_t size;
    unsigned char *bytes = read_file(picture, &size);
    unsigned char *pixels = malloc((size_t)3 * info->image_size * info->image_size);
    int32_t *tokens = malloc(n * info->text_length * sizeof *tokens);
    float *vectors = malloc((n + 1) * info->embed * sizeof *vectors);
    struct limoe_item *items = calloc(n + 1, sizeof *items);
    int status = 1;
    if (!bytes || !pixels || !tokens || !vectors || !items) {
        fprintf(stderr, "embed: %s cannot be read, or there is no memory\n", picture);
        goto out;
    }
    items[0] = (struct limoe_item){.modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels};
    if (limoe_process_image(processor, bytes, size, pixels, &err) != LIMOE_OK) {
        status = fail(&err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        struct limoe_item *item = &items[i + 1];
        item->modality = LIMOE_TEXT;
        item->tokens = tokens + i * info->text_length;
        if (limoe_process_text(processor, texts[i], strlen(texts[i]), tokens + i * info->text_length,
                               &item->length, &err) != LIMOE_OK) {
            status = fail(&err);
            goto out;
        }
    }
    if (limoe_model_embed(model, items, n + 1, vectors, NULL, &err) != LIMOE_OK) {
        status = fail(&err);
        goto out;
    }
    for (size_t i = 1; i <= n; i++) {
        double cosine = 0;
        for (size_t j = 0; j < info->embed; j++)
            cosine += (double)vectors[j] * vectors[i * info->embed + j];
        printf("%6.3f  %s\n", cosine, texts[i - 1]);
    }
    status = 0;
out:
    free(items);
    free(vectors);
    free(tokens);
    free(pixels);
    free(bytes);
    return status;
}

int main(int argc, char **argv) {
    struct limoe_processor *processor = NULL;
    struct limoe_model *model = NULL;
    struct limoe_error err;
    if (argc < 4) {
        fprintf(stderr, "usage: embed MODEL PICTURE TEXT...\n");
        return 2;
    }
    int status = limoe_processor_open(argv[1], NULL, &processor, &err) != LIMOE_OK ||
                         limoe_model_open(argv[1], &(struct limoe_options){0}, &model, &err) != LIMOE_OK
                     ? fail(&err)
                     : run(processor, model, argv[2], argv + 3, (size_t)argc - 3);
    limoe_model_close(model);
    limoe_processor_close(processor);
    return status;
}
