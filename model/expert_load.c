/* expert_load.c - reads a measured load. The caller owns what comes out; no threads. */
#include "model/expert_load.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/strict_json.h"

#define MAX_FILE (16u << 20)
#define FORMAT   "limoe-load-1"

static enum limoe_status read_layer(const cJSON *item, const char *where, uint32_t layer, uint32_t experts,
                                    uint64_t *load, struct limoe_error *err) {
    char found[STRICT_JSON_DESCRIPTION];
    if (!cJSON_IsArray(item))
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"load\"[%u] is %s; an array is accepted", where, layer,
                          strict_json_describe(item, found));
    const int n = cJSON_GetArraySize(item);
    if (n < 0 || (uint32_t)n != experts)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"load\"[%u] has %d numbers; the model has %u experts",
                          where, layer, n, experts);
    const cJSON *rows;
    uint32_t expert = 0;
    cJSON_ArrayForEach(rows, item) {
        int64_t value;
        if (!strict_json_integer(rows, 0, INT64_C(1) << 53, &value))
            return limoe_fail(err, LIMOE_CORRUPT,
                              "%s: \"load\"[%u][%u] is %s; an integer from 0 to 2^53 is accepted", where,
                              layer, expert, strict_json_describe(rows, found));
        load[expert++] = (uint64_t)value;
    }
    return LIMOE_OK;
}

static enum limoe_status read_root(const cJSON *root, const char *where, uint32_t layers, uint32_t experts,
                                   uint64_t *load, struct limoe_error *err) {
    char found[STRICT_JSON_DESCRIPTION];
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(root, "format");
    const cJSON *by_layer = cJSON_GetObjectItemCaseSensitive(root, "load");
    const cJSON *item;
    cJSON_ArrayForEach(item, root) {
        if (item != format && item != by_layer)
            return limoe_fail(err, LIMOE_CORRUPT,
                              "%s: the key %s is not known; \"format\" and \"load\" are accepted", where,
                              strict_json_quote(item->string, found));
    }
    if (!cJSON_IsString(format) || strcmp(format->valuestring, FORMAT) != 0)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"format\" is %s; \"" FORMAT "\" is accepted", where,
                          strict_json_describe(format, found));
    if (!cJSON_IsArray(by_layer))
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"load\" is %s; an array is accepted", where,
                          strict_json_describe(by_layer, found));
    const int n = cJSON_GetArraySize(by_layer);
    if (n < 0 || (uint32_t)n != layers)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: \"load\" has %d layers; the model has %u", where, n,
                          layers);
    uint32_t layer = 0;
    cJSON_ArrayForEach(item, by_layer) {
        enum limoe_status status =
            read_layer(item, where, layer, experts, load + (size_t)layer * experts, err);
        if (status)
            return status;
        layer++;
    }
    return LIMOE_OK;
}

enum limoe_status expert_load_parse(const void *json, size_t size, const char *where, uint32_t layers,
                                    uint32_t experts, uint64_t **load, struct limoe_error *err) {
    cJSON *root = NULL;
    uint64_t *rows = NULL;
    *load = NULL;
    enum limoe_status status = strict_json_parse(json, size, where, &root, err);
    if (status)
        goto out;
    rows = calloc((size_t)layers * experts + 1, sizeof *rows);
    status = rows ? read_root(root, where, layers, experts, rows, err)
                  : limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %u layers", where, layers);
    if (status)
        goto out;
    *load = rows;
    rows = NULL;
out:
    free(rows);
    cJSON_Delete(root);
    return status;
}

enum limoe_status expert_load_read(const char *path, uint32_t layers, uint32_t experts, uint64_t **load,
                                   struct limoe_error *err) {
    const char *slash = strrchr(path, '/');
    uint8_t *bytes = NULL;
    size_t size = 0;
    *load = NULL;
    enum limoe_status status = file_read_path(path, MAX_FILE, &bytes, &size, err);
    if (status == LIMOE_OK)
        status = expert_load_parse(bytes, size, slash ? slash + 1 : path, layers, experts, load, err);
    free(bytes);
    return status;
}
