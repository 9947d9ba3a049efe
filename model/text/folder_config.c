/* folder_config.c - small files, by strict_json.h. Keys that are not asked for are not looked at: these files hold
 * much that concerns other programs. */
#include "model/text/folder_config.h"

#include <string.h>

#include "base/error.h"
#include "model/checkpoint/strict_json.h"

#define OPEN_CLIP_LENGTH 77 /* open_clip's DEFAULT_CONTEXT_LENGTH */

static const cJSON *member(const cJSON *object, const char *name) {
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* ---- open_clip_config.json */

static enum limoe_status read_clean(const cJSON *kwargs, struct folder_config *config,
                                    struct limoe_error *err) {
    static const struct {
        const char *name;
        enum clean clean;
    } names[] = {
        {"whitespace", CLEAN_WHITESPACE}, {"lower", CLEAN_LOWER}, {"canonicalize", CLEAN_CANONICALIZE}};
    char found[STRICT_JSON_DESCRIPTION];
    config->clean = config->hugging_face ? CLEAN_WHITESPACE : CLEAN_LOWER;
    const cJSON *item;
    cJSON_ArrayForEach(item, kwargs) {
        if (strcmp(item->string, "clean") != 0) {
            return limoe_fail(err, LIMOE_UNSUPPORTED,
                              OPEN_CLIP_CONFIG ": \"tokenizer_kwargs\" has %s; \"clean\" is accepted",
                              strict_json_quote(item->string, found));
        }
        size_t i = 0;
        while (i < sizeof names / sizeof *names &&
               !(cJSON_IsString(item) && strcmp(item->valuestring, names[i].name) == 0))
            i++;
        if (i == sizeof names / sizeof *names) {
            return limoe_fail(err, LIMOE_UNSUPPORTED,
                              OPEN_CLIP_CONFIG ": \"clean\" is %s; accepted: whitespace, lower, canonicalize",
                              strict_json_describe(item, found));
        }
        config->clean = names[i].clean;
    }
    return LIMOE_OK;
}

static enum limoe_status read_text_cfg(const cJSON *root, struct folder_config *config,
                                       struct limoe_error *err) {
    char found[STRICT_JSON_DESCRIPTION];
    const cJSON *text = member(member(root, "model_cfg"), "text_cfg");
    if (!cJSON_IsObject(text)) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          OPEN_CLIP_CONFIG ": \"model_cfg\".\"text_cfg\" is %s; an object is "
                                           "accepted",
                          strict_json_describe(text, found));
    }
    const cJSON *name = member(text, "hf_tokenizer_name"), *length = member(text, "context_length");
    const cJSON *kwargs = member(text, "tokenizer_kwargs"), *mode = member(text, "tokenizer_mode");
    if (mode && !cJSON_IsNull(mode)) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          OPEN_CLIP_CONFIG ": \"tokenizer_mode\" is %s; none is accepted",
                          strict_json_describe(mode, found));
    }
    if (name && !cJSON_IsNull(name) && !cJSON_IsString(name)) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          OPEN_CLIP_CONFIG ": \"hf_tokenizer_name\" is %s; a string is accepted",
                          strict_json_describe(name, found));
    }
    if (kwargs && !cJSON_IsNull(kwargs) && !cJSON_IsObject(kwargs)) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          OPEN_CLIP_CONFIG ": \"tokenizer_kwargs\" is %s; an object is accepted",
                          strict_json_describe(kwargs, found));
    }
    int64_t tokens = OPEN_CLIP_LENGTH;
    if (length && !strict_json_integer(length, 1, 1 << 20, &tokens)) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          OPEN_CLIP_CONFIG ": \"context_length\" is %s; accepted: 1 to 1048576",
                          strict_json_describe(length, found));
    }
    config->open_clip = true;
    config->context_length = (uint32_t)tokens;
    config->hugging_face = name && cJSON_IsString(name) && name->valuestring[0] != '\0';
    return read_clean(kwargs, config, err);
}

static enum limoe_status read_open_clip(const struct file_bytes *file, struct folder_config *config,
                                        struct limoe_error *err) {
    cJSON *root = NULL;
    if (!file->at)
        return limoe_fail(err, LIMOE_NOT_FOUND, OPEN_CLIP_CONFIG ": is not there");
    enum limoe_status status = strict_json_parse(file->at, file->size, OPEN_CLIP_CONFIG, &root, err);
    if (status == LIMOE_OK)
        status = read_text_cfg(root, config, err);
    cJSON_Delete(root);
    return status;
}

/* ---- life */

static enum limoe_status parse(const struct file_bytes *file, const char *name, cJSON **root,
                               struct limoe_error *err) {
    return file->at ? strict_json_parse(file->at, file->size, name, root, err) : LIMOE_OK;
}

enum limoe_status folder_config_parse(struct folder_config *config, const struct folder_files *files,
                                      bool open_clip, struct limoe_error *err) {
    *config = (struct folder_config){0};
    enum limoe_status status;
    if ((status = parse(&files->tokenizer, TOKENIZER_CONFIG, &config->tokenizer, err)) ||
        (status = parse(&files->map, SPECIAL_TOKENS_MAP, &config->map, err)))
        return status;
    return open_clip ? read_open_clip(&files->open_clip, config, err)
                     : parse(&files->model, MODEL_CONFIG, &config->model, err);
}

void folder_config_free(struct folder_config *config) {
    cJSON_Delete(config->tokenizer);
    cJSON_Delete(config->map);
    cJSON_Delete(config->model);
    *config = (struct folder_config){0};
}

/* ---- what they say */

/* The value that counts, and in which file it is. */
static const cJSON *find_token(const struct folder_config *config, const char *name, const char **file) {
    const cJSON *item = NULL;
    *file = SPECIAL_TOKENS_MAP;
    if (!member(config->tokenizer, "added_tokens_decoder"))
        item = member(config->map, name);
    if (item)
        return item;
    *file = TOKENIZER_CONFIG;
    return member(config->tokenizer, name);
}

enum limoe_status folder_config_token(const struct folder_config *config, const char *name,
                                      const char *missing, const char **token, struct limoe_error *err) {
    const char *file;
    const cJSON *item = find_token(config, name, &file);
    *token = item ? NULL : missing;
    if (!item || cJSON_IsNull(item))
        return LIMOE_OK;
    const cJSON *text = cJSON_IsObject(item) ? member(item, "content") : item;
    if (!cJSON_IsString(text) || text->valuestring[0] == '\0') {
        char found[STRICT_JSON_DESCRIPTION];
        return limoe_fail(err, LIMOE_CORRUPT,
                          "%s: \"%s\" is %s; a string, or an object with \"content\", is accepted", file,
                          name, strict_json_describe(item, found));
    }
    *token = text->valuestring;
    return LIMOE_OK;
}

bool folder_config_normalized(const struct folder_config *config, const char *name) {
    const char *file;
    return cJSON_IsTrue(member(find_token(config, name, &file), "normalized"));
}

enum limoe_status folder_config_switch(const struct folder_config *config, const char *name, bool missing,
                                       bool *value, struct limoe_error *err) {
    const cJSON *item = member(config->tokenizer, name);
    *value = item && !cJSON_IsNull(item) ? cJSON_IsTrue(item) : missing;
    if (item && !cJSON_IsNull(item) && !cJSON_IsBool(item)) {
        char found[STRICT_JSON_DESCRIPTION];
        return limoe_fail(err, LIMOE_CORRUPT, TOKENIZER_CONFIG ": \"%s\" is %s; true or false is accepted",
                          name, strict_json_describe(item, found));
    }
    return LIMOE_OK;
}

static bool says(const cJSON *object, const char *name, const char *value) {
    const cJSON *item = member(object, name);
    return cJSON_IsString(item) && strncmp(item->valuestring, value, strlen(value)) == 0;
}

enum limoe_status folder_config_lower(const struct folder_config *config, bool *lower,
                                      struct limoe_error *err) {
    const enum limoe_status status = folder_config_switch(config, "do_lower_case", false, lower, err);
    *lower =
        !config->open_clip && (*lower || says(config->tokenizer, "tokenizer_class", "Siglip2Tokenizer") ||
                               says(config->model, "model_type", "siglip2"));
    return status;
}

enum limoe_status folder_config_length(const struct folder_config *config, uint32_t *length,
                                       struct limoe_error *err) {
    const cJSON *item = member(config->tokenizer, "model_max_length");
    *length = 0;
    if (!item || cJSON_IsNull(item))
        return LIMOE_OK;
    /* "No limit" is written as 1e30. */
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 1)) {
        char found[STRICT_JSON_DESCRIPTION];
        return limoe_fail(err, LIMOE_CORRUPT,
                          TOKENIZER_CONFIG ": \"model_max_length\" is %s; 1 or more is accepted",
                          strict_json_describe(item, found));
    }
    *length = item->valuedouble <= 1 << 20 ? (uint32_t)item->valuedouble : 0;
    return LIMOE_OK;
}

enum limoe_status folder_config_pad_left(const struct folder_config *config, bool missing, bool *left,
                                         struct limoe_error *err) {
    const cJSON *item = member(config->tokenizer, "padding_side");
    *left = missing;
    if (!item || cJSON_IsNull(item))
        return LIMOE_OK;
    *left = cJSON_IsString(item) && strcmp(item->valuestring, "left") == 0;
    if (!*left && !(cJSON_IsString(item) && strcmp(item->valuestring, "right") == 0)) {
        char found[STRICT_JSON_DESCRIPTION];
        return limoe_fail(err, LIMOE_CORRUPT,
                          TOKENIZER_CONFIG ": \"padding_side\" is %s; accepted: left, right",
                          strict_json_describe(item, found));
    }
    return LIMOE_OK;
}
