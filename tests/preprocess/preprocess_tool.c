/* preprocess_tool.c - shows the Python tests what a folder's own description makes of pictures.
 *
 *   preprocess_tool hugging_face DIR FILE…   by DIR's preprocessor_config.json or processor_config.json
 *   preprocess_tool open_clip DIR FILE…      by DIR's open_clip_config.json
 *
 * "SIZE\n", then for each file SIZE x SIZE x 3 bytes and as many float32. An error goes to stderr as
 * "status: message", with exit status 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint/file.h"
#include "model/checkpoint/preprocess_config.h"
#include "model/checkpoint/strict_json.h"

#define MAX_FILE (64u << 20)

static enum limoe_status load_open_clip(const char *dir, struct preprocess_config *config,
                                        struct limoe_error *err) {
    static const char name[] = "open_clip_config.json";
    uint8_t *bytes = NULL;
    size_t size = 0;
    cJSON *root = NULL;
    enum limoe_status status = file_read(dir, name, MAX_FILE, &bytes, &size, err);
    if (status == LIMOE_OK)
        status = strict_json_parse(bytes, size, name, &root, err);
    if (status == LIMOE_OK)
        status = preprocess_read_open_clip(root, name, config, err);
    cJSON_Delete(root);
    free(bytes);
    return status;
}

static enum limoe_status show(const char *path, const struct preprocess_config *config,
                              struct limoe_error *err) {
    const struct limoe_image_settings settings = {.preprocess = config->picture};
    const size_t n = 3 * (size_t)config->picture.size * config->picture.size;
    uint8_t *bytes = NULL, *pixels = malloc(n);
    float *numbers = malloc(n * sizeof *numbers);
    size_t size = 0;
    enum limoe_status status = file_read_path(path, MAX_FILE, &bytes, &size, err);
    if (status == LIMOE_OK)
        status = limoe_process_image_by(&settings, bytes, size, pixels, err);
    if (status == LIMOE_OK) {
        for (size_t i = 0; i < n; i++)
            numbers[i] = ((float)pixels[i] / 255.0f - config->mean[i % 3]) / config->std[i % 3];
        fwrite(pixels, 1, n, stdout);
        fwrite(numbers, sizeof *numbers, n, stdout);
    }
    free(numbers);
    free(pixels);
    free(bytes);
    return status;
}

int main(int argc, char **argv) {
    struct preprocess_config config;
    struct limoe_error err;
    if (argc < 3 || (strcmp(argv[1], "hugging_face") != 0 && strcmp(argv[1], "open_clip") != 0)) {
        fprintf(stderr, "usage: preprocess_tool hugging_face|open_clip DIR FILE…\n");
        return 2;
    }
    enum limoe_status status =
        argv[1][0] == 'h' ? preprocess_load_hugging_face(argv[2], PREPROCESS_CLIP, NULL, &config, &err)
                          : load_open_clip(argv[2], &config, &err);
    if (status == LIMOE_OK)
        printf("%u\n", config.picture.size);
    for (int i = 3; i < argc && status == LIMOE_OK; i++)
        status = show(argv[i], &config, &err);
    if (status != LIMOE_OK)
        fprintf(stderr, "%s: %s\n", limoe_status_name(status), err.message);
    return status != LIMOE_OK;
}
