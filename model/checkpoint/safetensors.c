/* safetensors.c - a checkpoint: one file or shards, and its tensors by name.
 *
 * struct safetensors owns the files' descriptors and names, and the tensors' names. Tensors are kept sorted
 * by name, so that finding one is a binary search and a name in two shards lies beside itself. */
#include "model/checkpoint/safetensors.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/safetensors_header.h"
#include "model/checkpoint/strict_json.h"

#define SINGLE     "model.safetensors"
#define INDEX      "model.safetensors.index.json"
#define MAX_INDEX  (64u << 20)
#define MAX_SHARDS 512u /* each stays open while weights are read */

struct file {
    int fd;
    char *name;
};

struct safetensors {
    char name[64]; /* for messages */
    struct tensor_list list;
    struct file *file; /* [files] */
    uint32_t files;
    const uint8_t *memory; /* the one file's bytes, of safetensors_open_memory */
};

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static void sort(struct safetensors *st) {
    if (st->list.count > 0)
        qsort(st->list.item, st->list.count, sizeof *st->list.item, compare_names);
}

static struct safetensors *create(const char *name, size_t files, struct limoe_error *err) {
    struct safetensors *st = calloc(1, sizeof *st);
    struct file *file = calloc(files + 1, sizeof *file);
    if (!st || !file) {
        free(st);
        free(file);
        limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory to open it", name);
        return NULL;
    }
    snprintf(st->name, sizeof st->name, "%s", name);
    st->file = file;
    return st;
}

/* Opens one more file and reads its header. */
static enum limoe_status add_file(struct safetensors *st, const char *dir, const char *name,
                                  struct limoe_error *err) {
    struct safetensors_source source = {.where = name, .file = st->files};
    struct file *f = &st->file[st->files];
    uint8_t prefix[SAFETENSORS_PREFIX], *header = NULL;
    size_t size = 0, length = 0;
    enum limoe_status status = file_open(dir, name, &f->fd, &size, err);
    if (status != LIMOE_OK)
        return status;
    st->files++;
    source.size = size;
    f->name = strdup(name);
    if (!f->name)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory to open it", name);
    status = file_read_at(f->fd, name, 0, prefix, size < sizeof prefix ? 0 : sizeof prefix, err);
    if (status == LIMOE_OK)
        status = safetensors_header_length(&source, prefix, &length, err);
    if (status != LIMOE_OK)
        return status;
    header = malloc(length + 1);
    if (!header)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for a header of %zu bytes", name, length);
    status = file_read_at(f->fd, name, SAFETENSORS_PREFIX, header, length, err);
    if (status == LIMOE_OK)
        status = safetensors_read_header(&source, header, length, &st->list, err);
    free(header);
    return status;
}

enum limoe_status safetensors_open_file(const char *dir, const char *name, struct safetensors **out,
                                        struct limoe_error *err) {
    *out = NULL;
    struct safetensors *st = create(name, 1, err);
    if (!st)
        return LIMOE_NO_MEMORY;
    enum limoe_status status = add_file(st, dir, name, err);
    if (status != LIMOE_OK) {
        safetensors_close(st);
        return status;
    }
    sort(st);
    *out = st;
    return LIMOE_OK;
}

/* ---- shards */

/* One line of the index's weight_map; the strings are the JSON tree's. */
struct entry {
    const char *tensor, *file;
};

static int compare_tensors(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->tensor, ((const struct entry *)b)->tensor);
}

static int compare_files(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->file, ((const struct entry *)b)->file);
}

/* A shard must lie in the directory itself: an index must not make this program read files elsewhere. */
static bool is_plain_file_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strlen(name) < 256;
}

static enum limoe_status read_entries(const cJSON *map, struct entry *entry, struct limoe_error *err) {
    char name[STRICT_JSON_DESCRIPTION], found[STRICT_JSON_DESCRIPTION];
    const cJSON *item;
    size_t n = 0;
    cJSON_ArrayForEach(item, map) {
        if (!cJSON_IsString(item) || !is_plain_file_name(item->valuestring)) {
            return limoe_fail(
                err, LIMOE_CORRUPT,
                INDEX ": \"weight_map\" says that %s is in %s; the name of a file in the same directory "
                      "is accepted",
                strict_json_quote(item->string, name), strict_json_describe(item, found));
        }
        entry[n++] = (struct entry){.tensor = item->string, .file = item->valuestring};
    }
    return LIMOE_OK;
}

/* Whether the shard's tensors, `list` from `first` on, are where the index says. entry[n] is sorted by
 * tensor. */
static enum limoe_status check_shard(const struct tensor_list *list, size_t first, const char *file,
                                     const struct entry *entry, size_t n, struct limoe_error *err) {
    for (size_t i = first; i < list->count; i++) {
        struct entry key = {.tensor = list->item[i].name};
        const struct entry *found = bsearch(&key, entry, n, sizeof *entry, compare_tensors);
        if (!found || strcmp(found->file, file) != 0) {
            return limoe_fail(err, LIMOE_CORRUPT,
                              INDEX ": tensor \"%.100s\" is in %.100s, but \"weight_map\" says %s%.100s",
                              key.tensor, file, found ? "it is in " : "nothing of it",
                              found ? found->file : "");
        }
    }
    return LIMOE_OK;
}

/* Every shard holds what the map says, so a tensor that the map names and no shard holds shows
 * in the counts. */
static enum limoe_status check_complete(const struct safetensors *st, const struct entry *entry, size_t n,
                                        struct limoe_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (!safetensors_find(st, entry[i].tensor)) {
            return limoe_fail(err, LIMOE_CORRUPT,
                              INDEX ": \"weight_map\" says that tensor \"%.100s\" is in %.100s, which "
                                    "has no such tensor",
                              entry[i].tensor, entry[i].file);
        }
    }
    return LIMOE_OK;
}

static enum limoe_status open_map(const char *dir, const cJSON *map, struct safetensors **out,
                                  struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    struct safetensors *st = NULL;
    size_t n = (size_t)cJSON_GetArraySize(map), shards = 0;
    struct entry *by_tensor = calloc(n + 1, sizeof *by_tensor);
    struct entry *by_file = calloc(n + 1, sizeof *by_file);
    if (!by_tensor || !by_file) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, INDEX ": no memory for %zu tensors", n);
        goto out;
    }
    status = read_entries(map, by_tensor, err);
    if (status != LIMOE_OK)
        goto out;
    memcpy(by_file, by_tensor, n * sizeof *by_file);
    qsort(by_tensor, n, sizeof *by_tensor, compare_tensors);
    qsort(by_file, n, sizeof *by_file, compare_files);
    for (size_t i = 0; i < n; i++)
        shards += i == 0 || strcmp(by_file[i - 1].file, by_file[i].file) != 0;
    if (n == 0 || shards > MAX_SHARDS) {
        status = limoe_fail(err, LIMOE_CORRUPT,
                            INDEX ": \"weight_map\" names %zu tensors in %zu files; 1 to %u files "
                                  "are accepted",
                            n, shards, MAX_SHARDS);
        goto out;
    }
    st = create(INDEX, shards, err);
    if (!st) {
        status = LIMOE_NO_MEMORY;
        goto out;
    }
    for (size_t i = 0; i < n && status == LIMOE_OK; i++) {
        if (i > 0 && strcmp(by_file[i - 1].file, by_file[i].file) == 0)
            continue;
        size_t first = st->list.count;
        status = add_file(st, dir, by_file[i].file, err);
        if (status == LIMOE_OK)
            status = check_shard(&st->list, first, by_file[i].file, by_tensor, n, err);
    }
    if (status != LIMOE_OK)
        goto out;
    sort(st);
    status = check_complete(st, by_tensor, n, err);
    if (status != LIMOE_OK)
        goto out;
    *out = st;
    st = NULL;
out:
    safetensors_close(st);
    free(by_file);
    free(by_tensor);
    return status;
}

static enum limoe_status open_shards(const char *dir, struct safetensors **out, struct limoe_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    cJSON *root = NULL;
    enum limoe_status status = file_read(dir, INDEX, MAX_INDEX, &bytes, &size, err);
    if (status != LIMOE_OK)
        return status;
    status = strict_json_parse(bytes, size, INDEX, &root, err);
    if (status != LIMOE_OK)
        goto out;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(root, "weight_map");
    if (!cJSON_IsObject(map)) {
        char found[STRICT_JSON_DESCRIPTION];
        status = limoe_fail(err, LIMOE_CORRUPT, INDEX ": \"weight_map\" is %s; an object is accepted",
                            strict_json_describe(map, found));
        goto out;
    }
    status = open_map(dir, map, out, err);
out:
    cJSON_Delete(root);
    free(bytes);
    return status;
}

/* ---- the interface */

enum limoe_status safetensors_open(const char *dir, struct safetensors **out, struct limoe_error *err) {
    bool single = file_exists(dir, SINGLE), shards = file_exists(dir, INDEX);
    if (single && shards) {
        return limoe_fail(err, LIMOE_CORRUPT,
                          "%.300s holds both " SINGLE " and " INDEX "; one of them is accepted", dir);
    }
    return shards ? open_shards(dir, out, err) : safetensors_open_file(dir, SINGLE, out, err);
}

enum limoe_status safetensors_open_memory(const void *bytes, size_t size, const char *where,
                                          struct safetensors **out, struct limoe_error *err) {
    struct safetensors *st = create(where, 0, err);
    if (!st)
        return LIMOE_NO_MEMORY;
    const struct safetensors_source source = {.where = where, .size = size};
    size_t length = 0;
    st->memory = bytes;
    enum limoe_status status = safetensors_header_length(&source, bytes, &length, err);
    if (status == LIMOE_OK)
        status = safetensors_read_header(&source, st->memory + SAFETENSORS_PREFIX, length, &st->list, err);
    if (status != LIMOE_OK) {
        safetensors_close(st);
        return status;
    }
    sort(st);
    *out = st;
    return LIMOE_OK;
}

void safetensors_close(struct safetensors *st) {
    if (!st)
        return;
    tensor_list_free(&st->list);
    for (uint32_t i = 0; i < st->files; i++) {
        free(st->file[i].name);
        close(st->file[i].fd);
    }
    free(st->file);
    free(st);
}

const char *safetensors_name(const struct safetensors *st) {
    return st->name;
}

const char *safetensors_metadata(const struct safetensors *st, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(st->list.metadata, key);
    return item ? item->valuestring : NULL;
}

size_t safetensors_count(const struct safetensors *st) {
    return st->list.count;
}

const struct tensor *safetensors_at(const struct safetensors *st, size_t i) {
    return &st->list.item[i];
}

const struct tensor *safetensors_find(const struct safetensors *st, const char *name) {
    struct tensor key = {.name = name};
    return st->list.count ? bsearch(&key, st->list.item, st->list.count, sizeof key, compare_names) : NULL;
}

/* "[768, 192]" */
static const char *print_shape(const uint64_t *shape, uint32_t rank, char to[STRICT_JSON_DESCRIPTION * 3]) {
    size_t room = STRICT_JSON_DESCRIPTION * 3, used = 1;
    to[0] = '[';
    for (uint32_t i = 0; i < rank; i++) {
        int n = snprintf(to + used, room - used, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)shape[i]);
        used += (size_t)n;
    }
    snprintf(to + used, room - used, "]");
    return to;
}

enum limoe_status safetensors_expect_shape(const struct safetensors *st, const struct tensor *t,
                                           uint32_t rank, const uint64_t *shape, struct limoe_error *err) {
    char expected[STRICT_JSON_DESCRIPTION * 3], found[STRICT_JSON_DESCRIPTION * 3];
    if (t->rank == rank && (rank == 0 || memcmp(t->shape, shape, rank * sizeof *shape) == 0))
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_CORRUPT, "%s: tensor \"%s\" has the shape %s; %s is expected", st->name,
                      t->name, print_shape(t->shape, t->rank, found), print_shape(shape, rank, expected));
}

enum limoe_status safetensors_expect(const struct safetensors *st, const char *name, uint32_t rank,
                                     const uint64_t *shape, const struct tensor **out,
                                     struct limoe_error *err) {
    char expected[STRICT_JSON_DESCRIPTION * 3];
    const struct tensor *t = safetensors_find(st, name);
    if (!t) {
        return limoe_fail(err, LIMOE_CORRUPT, "%s: tensor \"%s\" is missing; F32, BF16 or F16 %s is expected",
                          st->name, name, print_shape(shape, rank, expected));
    }
    enum limoe_status status = safetensors_expect_shape(st, t, rank, shape, err);
    if (status != LIMOE_OK)
        return status;
    if (t->dtype == TENSOR_I8 || t->dtype == TENSOR_OTHER) {
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%s: tensor \"%s\" is %s; F32, BF16 or F16 is accepted",
                          st->name, name, t->dtype_name);
    }
    *out = t;
    return LIMOE_OK;
}

enum limoe_status safetensors_read(const struct safetensors *st, const struct tensor *t, void *to,
                                   struct limoe_error *err) {
    return safetensors_read_part(st, t, 0, t->bytes, to, err);
}

enum limoe_status safetensors_read_part(const struct safetensors *st, const struct tensor *t, size_t offset,
                                        size_t bytes, void *to, struct limoe_error *err) {
    if (st->memory) {
        memcpy(to, st->memory + t->offset + offset, bytes);
        return LIMOE_OK;
    }
    const struct file *f = &st->file[t->file];
    return file_read_at(f->fd, f->name, t->offset + offset, to, bytes, err);
}
