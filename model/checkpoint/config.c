/* config.c - which way a folder describes its model, and what holds for every model. No state, no threads. */
#include "model/checkpoint/config.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/config_format.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/preprocess_config.h"
#include "model/checkpoint/strict_json.h"

#define MAX_FILE (1u << 20)

static const char transformers_file[] = "config.json", open_clip_file[] = "open_clip_config.json",
                  preprocess_file[] = "preprocessor_config.json", processor_file[] = "processor_config.json";

/* A config.json is limoe's by "format", transformers' by "model_type", open_clip's by "model_cfg". */
static void read_any(const struct fields *f, struct config *config) {
    f->report->strict = true;
    if (fields_find(f, "format")) {
        config_read_limoe(f, config);
        return;
    }
    f->report->strict = false;
    if (fields_find(f, "model_cfg"))
        config_read_open_clip(f, config);
    else if (!fields_find(f, "model_type"))
        fields_fail(f, LIMOE_CORRUPT,
                    "\"format\" is missing; \"limoe-1\" or \"limoe-2\" is accepted, or transformers' "
                    "\"model_type\", or "
                    "open_clip's \"model_cfg\"");
    else
        config_read_transformers(f, config);
}

/* A modality whose vectors are not projected has them as wide as the embedding. */
static void check_width(const struct fields *f, const struct config *config, enum limoe_modality modality,
                        bool projection) {
    const uint32_t width = config->tower[modality].width;
    if (config_has(config, modality) && !projection && width != config->embed)
        fields_fail(f, LIMOE_CORRUPT,
                    "%s are %u numbers and embeddings %u, without a projection from one to the other",
                    modality == LIMOE_IMAGE ? "pictures" : "texts", width, config->embed);
}

static void check_pool(const struct fields *f, const struct config *config) {
    const enum config_pool image = config->tower[LIMOE_IMAGE].pool, text = config->tower[LIMOE_TEXT].pool;
    if ((image == CONFIG_POOL_REST || image == CONFIG_POOL_FIRST) && !config->image.class_token)
        fields_fail(f, LIMOE_CORRUPT, "pictures are pooled by a class token, which they do not have");
    if (text == CONFIG_POOL_REST || text == CONFIG_POOL_ATTENTION)
        fields_fail(f, LIMOE_UNSUPPORTED,
                    "texts are pooled as pictures are; the mean, the first and the last are accepted");
    if (image == CONFIG_POOL_LAST || config->tower[LIMOE_IMAGE].causal)
        fields_fail(f, LIMOE_UNSUPPORTED,
                    "pictures are read as texts are, from their first patch to their last");
}

static void check(const struct fields *f, const struct config *config) {
    if (f->report->status != LIMOE_OK)
        return;
    if (config_blocks(config) > CONFIG_MAX_BLOCKS)
        fields_fail(f, LIMOE_CORRUPT, "the towers have %u blocks together; at most %u are accepted",
                    config_blocks(config), CONFIG_MAX_BLOCKS);
    if (config->image.patch > config->image.size)
        fields_fail(f, LIMOE_CORRUPT, "patches of %u pixels in pictures of %u", config->image.patch,
                    config->image.size);
    else if (config_image_tokens(config) > CONFIG_MAX_IMAGE_TOKENS)
        fields_fail(f, LIMOE_CORRUPT,
                    "pictures of %u pixels in patches of %u make %u tokens; at most %u are accepted",
                    config->image.size, config->image.patch, config_image_tokens(config),
                    CONFIG_MAX_IMAGE_TOKENS);
    check_width(f, config, LIMOE_IMAGE, config->image.projection);
    check_width(f, config, LIMOE_TEXT, config->text.projection);
    check_pool(f, config);
}

/* What another library's folder says about pictures. */
static enum limoe_status set_preprocess(const struct preprocess_config *preprocess, const char *where,
                                        struct config *config, struct limoe_error *err) {
    if (preprocess->picture.size != config->image.size)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "%s: pictures are made %u pixels wide, and the model reads %u", where,
                          preprocess->picture.size, config->image.size);
    config->image.picture = preprocess->picture;
    memcpy(config->image.mean, preprocess->mean, sizeof config->image.mean);
    memcpy(config->image.std, preprocess->std, sizeof config->image.std);
    return LIMOE_OK;
}

enum limoe_status config_parse(const char *json, size_t size, const char *where, struct config *config,
                               struct limoe_error *err) {
    cJSON *root = NULL;
    struct limoe_error own;
    enum limoe_status status = strict_json_parse(json, size, where, &root, err);
    if (status != LIMOE_OK)
        return status;
    struct fields_report report = {.where = where, .err = err ? err : &own};
    const struct fields f = {&report, root, ""};
    memset(config, 0, sizeof *config);
    read_any(&f, config);
    check(&f, config);
    if (report.status == LIMOE_OK && config->format >= CONFIG_OPEN_CLIP) {
        struct preprocess_config preprocess;
        report.status = preprocess_read_open_clip(root, where, &preprocess, report.err);
        if (report.status == LIMOE_OK)
            report.status = set_preprocess(&preprocess, where, config, report.err);
    }
    cJSON_Delete(root);
    return report.status;
}

/* The folder's own name, where the config has none: what requests call the model. Characters that a name may not
 * have become '-'. */
static void name_by_folder(const char *dir, struct config *config) {
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    char path[PATH_MAX];
    const char *name = realpath(dir, path) ? strrchr(path, '/') + 1 : "";
    name += strspn(name, ".-");
    snprintf(config->name, sizeof config->name, "%s", *name ? name : "model");
    for (char *c = config->name; *c; c++)
        if (!strchr(safe, *c))
            *c = '-';
}

/* What OpenCLIP says about pictures, of a folder whose config is another. */
static enum limoe_status load_open_clip_preprocess(const char *dir, struct fingerprint *fingerprint,
                                                   struct preprocess_config *preprocess,
                                                   struct limoe_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    cJSON *root = NULL;
    enum limoe_status status = file_read(dir, open_clip_file, MAX_FILE, &bytes, &size, err);
    if (status == LIMOE_OK)
        status = strict_json_parse(bytes, size, open_clip_file, &root, err);
    if (status == LIMOE_OK)
        status = preprocess_read_open_clip(root, open_clip_file, preprocess, err);
    if (status == LIMOE_OK && fingerprint)
        fingerprint_add(fingerprint, open_clip_file, bytes, size);
    cJSON_Delete(root);
    free(bytes);
    return status;
}

/* transformers keeps it in a file of its own. A limoe-2 may have the file of the model that it was made from, which
 * then counts for more than its own config's few words. */
static enum limoe_status load_preprocess(const char *dir, struct config *config,
                                         struct fingerprint *fingerprint, struct limoe_error *err) {
    struct preprocess_config preprocess;
    const bool own = config->format == CONFIG_LIMOE_2;
    const bool clip = config->image.class_token; /* which SigLIP has none of */
    const bool open_clip = own && file_exists(dir, open_clip_file);
    const bool transformers = config->format >= CONFIG_CLIP && config->format < CONFIG_OPEN_CLIP;
    const bool hugging_face =
        transformers || (own && (file_exists(dir, preprocess_file) || file_exists(dir, processor_file)));
    if (!config_has(config, LIMOE_IMAGE) || (!open_clip && !hugging_face))
        return LIMOE_OK;
    enum limoe_status status =
        open_clip ? load_open_clip_preprocess(dir, fingerprint, &preprocess, err)
                  : preprocess_load_hugging_face(dir, clip ? PREPROCESS_CLIP : PREPROCESS_SIGLIP, fingerprint,
                                                 &preprocess, err);
    return status ? status
                  : set_preprocess(&preprocess, open_clip ? open_clip_file : preprocess_file, config, err);
}

/* A folder may be both libraries': then transformers' weights decide. */
static const char *config_file(const char *dir) {
    const bool own =
        file_exists(dir, transformers_file) &&
        (file_exists(dir, "model.safetensors") || file_exists(dir, "model.safetensors.index.json"));
    return !own && file_exists(dir, open_clip_file) ? open_clip_file : transformers_file;
}

enum limoe_status config_load(const char *dir, struct config *config, struct fingerprint *fingerprint,
                              struct limoe_error *err) {
    const char *name = config_file(dir);
    uint8_t *bytes = NULL;
    size_t size = 0;
    enum limoe_status status = file_read(dir, name, MAX_FILE, &bytes, &size, err);
    if (status != LIMOE_OK)
        return status;
    status = config_parse((const char *)bytes, size, name, config, err);
    if (status == LIMOE_OK && !*config->name)
        name_by_folder(dir, config);
    if (status == LIMOE_OK && fingerprint)
        fingerprint_add(fingerprint, name, bytes, size);
    free(bytes);
    return status ? status : load_preprocess(dir, config, fingerprint, err);
}

const char *config_file_name(const struct config *config) {
    return config->format >= CONFIG_OPEN_CLIP ? open_clip_file : transformers_file;
}

bool config_has(const struct config *config, enum limoe_modality modality) {
    return config->tower[modality].blocks > 0;
}

bool config_has_scores(const struct config *config) {
    return config_has(config, LIMOE_IMAGE) && config_has(config, LIMOE_TEXT);
}

bool config_has_decoder(const struct config *config) {
    return config->decoder.tower.blocks > 0;
}

uint32_t config_patches(const struct config *config) {
    const uint32_t side = config->image.patch ? config->image.size / config->image.patch : 0;
    return side * side;
}

uint32_t config_image_tokens(const struct config *config) {
    return config_patches(config) + config->image.class_token;
}

uint32_t config_first_block(const struct config *config, enum limoe_modality tower) {
    return config->towers == 2 && tower == LIMOE_TEXT ? config->tower[LIMOE_IMAGE].blocks : 0;
}

uint32_t config_blocks(const struct config *config) {
    return config->tower[LIMOE_IMAGE].blocks + (config->towers == 2 ? config->tower[LIMOE_TEXT].blocks : 0);
}

enum limoe_modality config_block_tower(const struct config *config, uint32_t block) {
    return config->towers == 2 && block >= config->tower[LIMOE_IMAGE].blocks ? LIMOE_TEXT : LIMOE_IMAGE;
}

uint32_t config_first_layer(const struct config *config, enum limoe_modality tower) {
    uint32_t layer = 0;
    while (layer < config->moe.layers && config->moe.block[layer] < config_first_block(config, tower))
        layer++;
    return layer;
}

uint32_t config_layers(const struct config *config, enum limoe_modality modality) {
    const uint32_t end = config->towers == 2 && modality == LIMOE_IMAGE
                             ? config_first_layer(config, LIMOE_TEXT)
                             : config->moe.layers;
    return end - config_first_layer(config, modality);
}

bool config_is_moe(const struct config *config, uint32_t block) {
    for (uint32_t i = 0; i < config->moe.layers && config->moe.block[i] <= block; i++)
        if (config->moe.block[i] == block)
            return true;
    return false;
}
