/* embed_bits.c - what the engine answers to a file of items, for tests that compare its bits: without a tokenizer and
 * without decoders.
 *
 * usage: embed_bits MODEL_DIRECTORY ITEMS OUT [DTYPE]
 *
 * ITEMS is a safetensors file as tests/golden/README.md has them: "pixels", "tokens", "lengths". OUT gets the embeddings,
 * float32 [items, embed], pictures first. DTYPE is what the engine computes in; default float32. The exit status is 1 with a message where the model is refused. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"

struct items {
    struct limoe_item *item;
    size_t count;
    char *bytes; /* the file, which the items point into */
    struct safetensors *file;
};

static void fail(const char *message) {
    fprintf(stderr, "embed_bits: %s\n", message);
    exit(1);
}

static char *read_all(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        fail("the items cannot be read");
    *size = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*size + 1);
    if (!bytes || fread(bytes, 1, *size, f) != *size)
        fail("the items cannot be read");
    fclose(f);
    return bytes;
}

static const struct tensor *find(const struct items *items, const char *name) {
    const struct tensor *t = safetensors_find(items->file, name);
    if (!t)
        fail("the items lack a tensor");
    return t;
}

static void open_items(const char *path, const struct config *config, struct items *items) {
    struct limoe_error err;
    size_t size;
    items->bytes = read_all(path, &size);
    if (safetensors_open_memory(items->bytes, size, path, &items->file, &err) != LIMOE_OK)
        fail(err.message);
    const struct tensor *pixels = find(items, "pixels"), *tokens = find(items, "tokens"),
                        *lengths = find(items, "lengths");
    const size_t images = pixels->shape[0], texts = tokens->shape[0], longest = tokens->shape[1];
    const size_t side = config->image.size, image_bytes = 3 * side * side;
    const int32_t *token = (const int32_t *)(items->bytes + tokens->offset),
                  *length = (const int32_t *)(items->bytes + lengths->offset);
    if (pixels->bytes != images * image_bytes)
        fail("the pictures are not of the model's size");
    items->count = images + texts;
    items->item = calloc(items->count + 1, sizeof *items->item);
    if (!items->item)
        fail("no memory");
    for (size_t i = 0; i < images; i++)
        items->item[i] =
            (struct limoe_item){.modality = LIMOE_IMAGE,
                                .length = config_image_tokens(config),
                                .pixels = (const uint8_t *)items->bytes + pixels->offset + i * image_bytes};
    for (size_t i = 0; i < texts; i++) {
        const bool attend = config->text.pad == CONFIG_ATTEND;
        items->item[images + i] =
            (struct limoe_item){.modality = LIMOE_TEXT,
                                .length = attend ? (uint32_t)longest : (uint32_t)length[i],
                                .tokens = token + i * longest};
    }
}

static enum limoe_dtype read_dtype(const char *name) {
    int dtype = LIMOE_FLOAT32;
    while (strcmp(name, limoe_dtype_name(dtype)) != 0)
        if (strcmp(limoe_dtype_name(dtype++), "unknown") == 0)
            fail("there is no such dtype");
    return dtype;
}

int main(int argc, char **argv) {
    struct limoe_error err;
    struct config config;
    struct items items = {0};
    struct limoe_model *model;
    const struct limoe_options options = {.dtype = read_dtype(argc == 5 ? argv[4] : "float32"), .threads = 1};
    if (argc != 4 && argc != 5)
        fail("usage: embed_bits MODEL_DIRECTORY ITEMS OUT [DTYPE]");
    if (config_load(argv[1], &config, NULL, &err) || limoe_model_open(argv[1], &options, &model, &err))
        fail(err.message);
    open_items(argv[2], &config, &items);
    const size_t embed = limoe_model_info(model)->embed;
    float *z = calloc(items.count * embed + 1, sizeof *z);
    if (!z)
        fail("no memory");
    if (limoe_model_embed(model, items.item, items.count, z, NULL, &err))
        fail(err.message);
    FILE *out = fopen(argv[3], "wb");
    if (!out || fwrite(z, sizeof *z, items.count * embed, out) != items.count * embed || fclose(out) != 0)
        fail("the embeddings cannot be written");
    limoe_model_close(model);
    safetensors_close(items.file);
    free(items.item);
    free(items.bytes);
    free(z);
    return 0;
}
