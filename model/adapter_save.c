/* adapter_save.c - an adapter written anew: as a file of format limoe-adapter-1, or as PEFT's folder. Tensors are copied, byte for
 * byte, by other names. Owns nothing past a call. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "limoe.h"
#include "model/checkpoint/adapter.h"
#include "model/checkpoint/peft.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_write.h"
#include "model/new_directory.h"
#include "model/replacement.h"

enum { PIECE = 1 << 20 };

static const char ending[] = ".lora_A.weight"; /* of one of each module's two */

/* Tensors by the names that they will have. */
struct copy {
    const struct safetensors *from;
    struct safetensors_entry *entry; /* [count] */
    char *names;                     /* what the entries' names lie in; NULL: they are the adapter's own */
    size_t count;
    struct limoe_error *err;
};

static void copy_free(struct copy *c) {
    free(c->entry);
    free(c->names);
}

/* ---- names */

/* "blocks.0.fc1.lora_A.weight" with the prefix before it. */
static enum limoe_status add_prefix(struct copy *c, const char *prefix) {
    size_t room = 1, at = 0;
    for (size_t i = 0; i < c->count; i++)
        room += strlen(prefix) + strlen(c->entry[i].name) + 1;
    c->names = malloc(room);
    if (!c->names)
        return limoe_fail(c->err, LIMOE_NO_MEMORY, "no memory for names of tensors");
    for (size_t i = 0; i < c->count; i++) {
        const char *name = c->entry[i].name;
        c->entry[i].name = c->names + at;
        at = (size_t)(stpcpy(stpcpy(c->names + at, prefix), name) - c->names) + 1;
    }
    return LIMOE_OK;
}

/* Every name has the prefix of PEFT's, or it is none of them. */
static enum limoe_status take_prefix(struct copy *c, const char *prefix) {
    const size_t size = strlen(prefix);
    for (size_t i = 0; i < c->count; i++) {
        const char *name = c->entry[i].name;
        if (strncmp(name, prefix, size) != 0 || !name[size])
            return limoe_fail(c->err, LIMOE_CORRUPT,
                              "%s: tensor \"%.100s\" has another name than PEFT's, which begin with \"%s\"",
                              safetensors_name(c->from), name, prefix);
        c->entry[i].name = name + size;
    }
    return LIMOE_OK;
}

/* Lists the tensors, with the prefix in place of the adapter's own. */
static enum limoe_status list(struct copy *c, const struct limoe_adapter *a, const char *prefix) {
    c->from = a->st;
    c->count = safetensors_count(a->st);
    c->entry = calloc(c->count, sizeof *c->entry);
    if (!c->entry)
        return limoe_fail(c->err, LIMOE_NO_MEMORY, "no memory for an adapter's tensors");
    for (size_t i = 0; i < c->count; i++) {
        const struct tensor *t = safetensors_at(a->st, i);
        c->entry[i] = (struct safetensors_entry){
            .name = t->name, .dtype = t->dtype_name, .rank = t->rank, .bytes = t->bytes};
        memcpy(c->entry[i].shape, t->shape, sizeof t->shape);
    }
    const enum limoe_status status = take_prefix(c, a->prefix);
    return status || !*prefix ? status : add_prefix(c, prefix);
}

/* ---- bytes */

static enum limoe_status copy_tensor(const struct copy *c, size_t i, int fd, const char *path,
                                     uint8_t *piece) {
    const struct tensor *t = safetensors_at(c->from, i);
    enum limoe_status status = LIMOE_OK;
    for (size_t at = 0; at < t->bytes && !status; at += PIECE) {
        const size_t size = t->bytes - at < PIECE ? t->bytes - at : PIECE;
        if (!(status = safetensors_read_part(c->from, t, at, size, piece, c->err)))
            status = safetensors_write_at(fd, path, c->entry[i].offset + at, piece, size, c->err);
    }
    return status;
}

static enum limoe_status copy_all(const struct copy *c, int fd, const char *path, const char *about) {
    uint8_t *piece = malloc(PIECE);
    if (!piece)
        return limoe_fail(c->err, LIMOE_NO_MEMORY, "no memory to write %.300s", path);
    enum limoe_status status =
        safetensors_write_header(fd, path, about ? ADAPTER_KEY : NULL, about, c->entry, c->count, c->err);
    for (size_t i = 0; i < c->count && !status; i++)
        status = copy_tensor(c, i, fd, path, piece);
    free(piece);
    return status;
}

/* ---- format limoe-adapter-1 */

static enum limoe_status choose_base(const struct limoe_adapter *a, const char **base,
                                     struct limoe_error *err) {
    const char *own = a->info.base;
    if (*base && *own && strcmp(*base, own) != 0)
        return limoe_fail(err, LIMOE_INVALID, "%s: \"base\" is %s; it cannot become one of %s",
                          safetensors_name(a->st), own, *base);
    *base = *base ? *base : own;
    return **base ? LIMOE_OK
                  : limoe_fail(err, LIMOE_INVALID, "%s does not say which model it is of; a base is needed",
                               safetensors_name(a->st));
}

enum limoe_status limoe_adapter_save(const struct limoe_adapter *adapter, const char *base, const char *path,
                                     struct limoe_error *err) {
    struct copy c = {.err = err};
    struct buffer about = {0};
    struct replacement r = {0};
    enum limoe_status status = choose_base(adapter, &base, err);
    if (status)
        return status;
    adapter_print_about(&about, &adapter->info, base);
    buffer_bytes(&about, "", 1);
    if (about.failed)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory to write %.300s", path);
    if (!status && !(status = list(&c, adapter, "")) && !(status = replacement_begin(&r, path, err)) &&
        !(status = copy_all(&c, r.fd, path, about.data)))
        status = replacement_finish(&r, true, err);
    replacement_end(&r);
    copy_free(&c);
    buffer_free(&about);
    return status;
}

/* ---- PEFT's folder */

/* The module of an entry, without prefix and ending: size 0 where it is not the first of its two. */
static struct text module_of(const char *name) {
    struct text module = text_of(name + strlen(PEFT_PREFIX));
    if (!text_take_suffix(&module, ending))
        module.size = 0;
    return module;
}

static void print_config(struct buffer *out, const struct limoe_adapter_info *info, const struct copy *c) {
    const char *comma = "";
    buffer_print(out,
                 "{\"peft_type\":\"LORA\",\"task_type\":null,\"base_model_name_or_path\":null,"
                 "\"inference_mode\":true,\"r\":%u,\"lora_alpha\":",
                 info->rank);
    buffer_json_float(out, info->alpha * info->strength);
    buffer_print(out, ",\"use_rslora\":%s,\"lora_dropout\":0,\"bias\":\"none\",\"target_modules\":[",
                 info->rslora ? "true" : "false");
    for (size_t i = 0; i < c->count; i++) {
        const struct text module = module_of(c->entry[i].name);
        if (module.size == 0)
            continue;
        buffer_string(out, comma);
        buffer_json_text(out, module);
        comma = ",";
    }
    buffer_string(out, "]}\n");
}

static enum limoe_status close_file(int fd, const char *path, enum limoe_status status,
                                    struct limoe_error *err) {
    if (close(fd) != 0 && !status)
        return limoe_fail(err, LIMOE_IO, "cannot write %.400s: %s", path, strerrordesc_np(errno));
    return status;
}

static enum limoe_status write_folder(const struct new_directory *d, const struct copy *c,
                                      const struct buffer *config) {
    char path[PATH_MAX];
    int fd;
    enum limoe_status status = new_directory_file(d, PEFT_CONFIG, &fd, path, c->err);
    if (status)
        return status;
    status = safetensors_write_at(fd, path, 0, config->data, config->size, c->err);
    if ((status = close_file(fd, path, status, c->err)) ||
        (status = new_directory_file(d, PEFT_WEIGHTS, &fd, path, c->err)))
        return status;
    return close_file(fd, path, copy_all(c, fd, path, NULL), c->err);
}

enum limoe_status limoe_adapter_save_peft(const struct limoe_adapter *adapter, const char *dir,
                                          struct limoe_error *err) {
    struct copy c = {.err = err};
    struct buffer config = {0};
    if (adapter->info.kind != LIMOE_ADAPTER_LORA)
        return limoe_fail(err, LIMOE_INVALID, "%s is a %s; PEFT's folders are of a LoRA",
                          safetensors_name(adapter->st), limoe_adapter_kind_name(adapter->info.kind));
    struct new_directory *d = calloc(1, sizeof *d);
    if (!d)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to write %.300s", dir);
    enum limoe_status status = list(&c, adapter, PEFT_PREFIX);
    if (!status)
        print_config(&config, &adapter->info, &c);
    if (config.failed)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory to write %.300s", dir);
    if (!status && !(status = new_directory_begin(d, dir, err)) && !(status = write_folder(d, &c, &config)))
        status = new_directory_finish(d, err);
    new_directory_end(d);
    free(d);
    buffer_free(&config);
    copy_free(&c);
    return status;
}
