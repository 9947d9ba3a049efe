/* adapters.c - a sorted list in memory of what the folder has. The lock is held over the disk only by who changes it: `changing`
 * keeps changes apart, `lock` is of the list alone. */
#include "server/front/store/adapters.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/error.h"
#include "server/formats/archive.h"
#include "server/front/store/nearest.h"
#include "server/front/store/peft_zip.h"

#define FOLDER   "adapters"
#define NEW_FILE ADAPTERS_NEW_FILE

struct adapters {
    struct adapters_options options;
    char folder[PATH_MAX];
    pthread_mutex_t lock, changing;
    const struct adapter **list; /* [n], by name; guarded by lock */
    size_t n;
    uint64_t bytes;
    atomic_uint drafts; /* made so far */
};

/* ---- one adapter */

static void free_adapter(struct adapter *adapter) {
    limoe_adapter_close(adapter->probe);
    free(adapter->name);
    free(adapter->path);
    free(adapter);
}

void adapter_retain(const struct adapter *adapter) {
    atomic_fetch_add(&((struct adapter *)adapter)->references, 1);
}

void adapter_release(const struct adapter *adapter) {
    if (adapter && atomic_fetch_sub(&((struct adapter *)adapter)->references, 1) == 1)
        free_adapter((struct adapter *)adapter);
}

/* What the file says; name and digest are known. A message is of what it holds: the file's name is ours. */
static enum limoe_status read_file(const char *path, struct text name, const uint8_t sha256[TAIL_KEY_DIGEST],
                                   const struct adapter **out, struct limoe_error *err) {
    struct limoe_adapter *opened;
    struct stat file;
    enum limoe_status status = limoe_adapter_open(path, &opened, err);
    if (status) {
        const char *message = strstr(err->message, ": ");
        if (message)
            memmove(err->message, message + 2, strlen(message + 2) + 1);
        return status;
    }
    const struct limoe_adapter_info *info = limoe_adapter_about(opened);
    struct adapter *adapter = calloc(1, sizeof *adapter);
    if (adapter) {
        *adapter = (struct adapter){.references = 1,
                                    .name = strndup(name.data, name.size),
                                    .path = strdup(path),
                                    .kind = info->kind,
                                    .strength = info->strength,
                                    .embed = info->embed,
                                    .n_labels = info->n_labels};
        memcpy(adapter->sha256, sha256, sizeof adapter->sha256);
        snprintf(adapter->base, sizeof adapter->base, "%s", info->base);
        if (stat(path, &file) == 0) {
            adapter->bytes = (uint64_t)file.st_size;
            adapter->created = (int64_t)file.st_mtime;
        }
    }
    if (adapter && info->kind == LIMOE_ADAPTER_PROBE)
        adapter->probe = opened;
    else
        limoe_adapter_close(opened);
    if (adapter && adapter->name && adapter->path) {
        *out = adapter;
        return LIMOE_OK;
    }
    if (adapter)
        free_adapter(adapter);
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an adapter");
}

/* ---- the list; the lock is held */

static struct text name_at(const void *list, size_t i) {
    return text_of(((const struct adapter *const *)list)[i]->name);
}

/* Where the name is, or would be. */
static size_t place_of(const struct adapters *store, struct text name, bool *found) {
    return text_place(name, store->list, store->n, name_at, found);
}

static void take_out(struct adapters *store, size_t at) {
    store->bytes -= store->list[at]->bytes;
    adapter_release(store->list[at]);
    memmove(store->list + at, store->list + at + 1, (--store->n - at) * sizeof(void *));
}

/* Takes the reference over; there is room. */
static void put_in(struct adapters *store, const struct adapter *adapter) {
    bool found;
    const size_t at = place_of(store, text_of(adapter->name), &found);
    if (found)
        take_out(store, at);
    memmove(store->list + at + 1, store->list + at, (store->n++ - at) * sizeof(void *));
    store->list[at] = adapter;
    store->bytes += adapter->bytes;
}

/* ---- open */

/* NAME@DIGEST.safetensors */
static bool parse_file_name(const char *file, struct text *name, uint8_t sha256[TAIL_KEY_DIGEST]) {
    const size_t size = strlen(file);
    if (file[0] == '.' || size <= TAIL_KEY_END ||
        strcmp(file + size - strlen(TAIL_KEY_SUFFIX), TAIL_KEY_SUFFIX) != 0)
        return false;
    *name = (struct text){.data = file, .size = size - TAIL_KEY_END};
    const char *hex = file + name->size + 1;
    if (file[name->size] != '@' || strspn(hex, "0123456789abcdef") != TAIL_KEY_HEX)
        return false;
    for (int i = 0; i < TAIL_KEY_DIGEST; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        sha256[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return true;
}

/* Two files have a name where a change was interrupted: the later one is right, and the other is removed. */
static void settle(struct adapters *store, const struct adapter *adapter) {
    bool found;
    const size_t at = place_of(store, text_of(adapter->name), &found);
    const struct adapter *other = found ? store->list[at] : NULL;
    if (other && other->created > adapter->created) {
        unlink(adapter->path);
        adapter_release(adapter);
        return;
    }
    if (other)
        unlink(other->path);
    put_in(store, adapter);
}

static void take_file(struct adapters *store, const char *file) {
    char path[PATH_MAX];
    uint8_t sha256[TAIL_KEY_DIGEST];
    struct text name;
    struct limoe_error err;
    const struct adapter *adapter = NULL;
    if (strcmp(file, ".") == 0 || strcmp(file, "..") == 0 ||
        snprintf(path, sizeof path, "%s/%s", store->folder, file) >= (int)sizeof path)
        return;
    if (strncmp(file, NEW_FILE, strlen(NEW_FILE)) == 0) {
        if (unlink(path) != 0)
            peft_zip_remove(path); /* a folder that was unpacked */
    } else if (!parse_file_name(file, &name, sha256) || store->n == store->options.most)
        log_print(store->options.log, LOG_WARNING, NULL, "adapters: %s is left alone: %s", path,
                  store->n == store->options.most ? "there are as many as may be"
                                                  : "its name is no adapter's");
    else if (read_file(path, name, sha256, &adapter, &err) != LIMOE_OK)
        log_print(store->options.log, LOG_WARNING, NULL, "adapters: %s is left alone: %s", path, err.message);
    else if (adapter)
        settle(store, adapter);
}

static enum limoe_status read_folder(struct adapters *store, struct limoe_error *err) {
    const char *state = store->options.state_dir;
    if (snprintf(store->folder, sizeof store->folder, "%s/%s", state, FOLDER) >= (int)sizeof store->folder)
        return limoe_fail(err, LIMOE_INVALID, "the state directory's path is too long: %.200s…", state);
    if (mkdir(store->folder, 0700) != 0 && errno != EEXIST)
        return limoe_fail(err, LIMOE_IO, "cannot make %s: %s", store->folder, strerror(errno));
    DIR *dir = opendir(store->folder);
    if (!dir)
        return limoe_fail(err, LIMOE_IO, "cannot open %s: %s", store->folder, strerror(errno));
    for (const struct dirent *file; (file = readdir(dir));)
        take_file(store, file->d_name);
    closedir(dir);
    return LIMOE_OK;
}

enum limoe_status adapters_open(const struct adapters_options *options, struct adapters **out,
                                struct limoe_error *err) {
    struct adapters *store = calloc(1, sizeof *store);
    if (!store)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for adapters");
    store->options = *options;
    if (!store->options.most)
        store->options.most = ADAPTERS_MOST;
    if (!store->options.disk_bytes)
        store->options.disk_bytes = ADAPTERS_DISK_BYTES;
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->changing, NULL);
    store->list = calloc(store->options.most + 1, sizeof(void *));
    if (!store->list) {
        adapters_close(store);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for adapters");
    }
    const enum limoe_status status = read_folder(store, err);
    if (status)
        adapters_close(store);
    else
        *out = store;
    return status;
}

void adapters_close(struct adapters *store) {
    if (!store)
        return;
    while (store->list && store->n > 0)
        take_out(store, store->n - 1);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->changing);
    free(store->list);
    free(store);
}

const char *adapters_folder(const struct adapters *store) {
    return store->folder;
}

/* ---- look */

const struct adapter *adapters_find(struct adapters *store, struct text name) {
    bool found;
    pthread_mutex_lock(&store->lock);
    const size_t at = place_of(store, name, &found);
    const struct adapter *adapter = found ? store->list[at] : NULL;
    if (adapter)
        adapter_retain(adapter);
    pthread_mutex_unlock(&store->lock);
    return adapter;
}

bool adapters_nearest(struct adapters *store, struct text name, char nearest[129]) {
    unsigned least = NEAREST_FAR;
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->n; i++) {
        const unsigned distance = nearest_distance(name, text_of(store->list[i]->name));
        if (distance >= least)
            continue;
        least = distance;
        snprintf(nearest, 129, "%s", store->list[i]->name);
    }
    pthread_mutex_unlock(&store->lock);
    return least < NEAREST_FAR;
}

size_t adapters_list(struct adapters *store, struct text after, size_t limit, const struct adapter **out,
                     bool *more) {
    bool found;
    size_t n = 0;
    pthread_mutex_lock(&store->lock);
    size_t at = place_of(store, after, &found);
    for (at += found; at < store->n && n < limit; at++) {
        out[n] = store->list[at];
        adapter_retain(out[n++]);
    }
    *more = at < store->n;
    pthread_mutex_unlock(&store->lock);
    return n;
}

struct adapters_state adapters_state(struct adapters *store) {
    pthread_mutex_lock(&store->lock);
    const struct adapters_state state = {
        .n = store->n, .bytes = store->bytes, .limit_bytes = store->options.disk_bytes};
    pthread_mutex_unlock(&store->lock);
    return state;
}

/* ---- change */

static enum limoe_status fail_io(const struct adapters *store, const char *what, bool *full,
                                 struct limoe_error *err) {
    *full = errno == ENOSPC || errno == EDQUOT;
    return limoe_fail(err, LIMOE_IO, "cannot %s in %s: %s", what, store->folder, strerror(errno));
}

enum limoe_status adapters_draft(struct adapters *store, const void *bytes, size_t size,
                                 const struct adapter **out, bool *full, struct limoe_error *err) {
    static const char empty[1];
    char path[PATH_MAX], hex[TAIL_KEY_HEX + 1];
    uint8_t sha256[TAIL_KEY_DIGEST];
    *full = false;
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, size ? bytes : empty, size, sha256) != 0)
        return limoe_fail(err, LIMOE_INTERNAL, "SHA-256 is not to be had");
    tail_key_hex(sha256, hex);
    if (snprintf(path, sizeof path, "%s/" NEW_FILE "%u@%s%s", store->folder,
                 atomic_fetch_add(&store->drafts, 1), hex, TAIL_KEY_SUFFIX) >= (int)sizeof path)
        return limoe_fail(err, LIMOE_INVALID, "the state directory's path is too long");
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_io(store, "make an adapter's file", full, err);
    enum limoe_status status = disk_write(fd, bytes, size) && fsync(fd) == 0
                                   ? LIMOE_OK
                                   : fail_io(store, "write an adapter's file", full, err);
    close(fd);
    if (!status)
        status = read_file(path, text_of(""), sha256, out, err);
    if (status)
        unlink(path);
    return status;
}

/* ---- PEFT's folders */

/* The SHA-256 of a file that has been written. */
static enum limoe_status digest_file(const char *path, uint8_t sha256[TAIL_KEY_DIGEST],
                                     struct limoe_error *err) {
    uint8_t piece[1 << 16];
    gnutls_hash_hd_t hash;
    ssize_t got = -1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return limoe_fail(err, LIMOE_IO, "cannot open %.400s: %s", path, strerror(errno));
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) != 0) {
        close(fd);
        return limoe_fail(err, LIMOE_INTERNAL, "SHA-256 is not to be had");
    }
    while ((got = read(fd, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            gnutls_hash(hash, piece, (size_t)got);
    enum limoe_status status =
        got == 0 ? LIMOE_OK : limoe_fail(err, LIMOE_IO, "cannot read %.400s: %s", path, strerror(errno));
    gnutls_hash_deinit(hash, sha256);
    close(fd);
    return status;
}

/* What the folder holds, to the file. */
static enum limoe_status convert(const char *folder, const char *base, const char *file, bool *full,
                                 struct limoe_error *err) {
    struct limoe_adapter *adapter;
    enum limoe_status status = limoe_adapter_open(folder, &adapter, err);
    if (status)
        return status;
    status = limoe_adapter_save(adapter, base, file, err);
    *full = status == LIMOE_IO && (errno == ENOSPC || errno == EDQUOT);
    limoe_adapter_close(adapter);
    return status;
}

/* A file that has been written becomes a draft, or is removed. */
static enum limoe_status take_draft(struct adapters *store, const char *file, const struct adapter **out,
                                    bool *full, struct limoe_error *err) {
    char path[PATH_MAX], hex[TAIL_KEY_HEX + 1];
    uint8_t sha256[TAIL_KEY_DIGEST] = {0};
    enum limoe_status status = digest_file(file, sha256, err);
    if (!status) {
        tail_key_hex(sha256, hex);
        if (snprintf(path, sizeof path, "%s@%s%s", file, hex, TAIL_KEY_SUFFIX) >= (int)sizeof path)
            status = limoe_fail(err, LIMOE_INVALID, "the state directory's path is too long");
        else if (rename(file, path) != 0)
            status = fail_io(store, "rename an adapter's file", full, err);
        else if ((status = read_file(path, text_of(""), sha256, out, err)))
            unlink(path);
    }
    if (status)
        unlink(file);
    return status;
}

static enum limoe_status draft_peft(struct adapters *store, const void *bytes, size_t size, const char *base,
                                    const struct adapter **out, bool *full, struct limoe_error *err) {
    char file[PATH_MAX], folder[PATH_MAX];
    *full = false;
    if (snprintf(file, sizeof file, "%s/" NEW_FILE "%u", store->folder,
                 atomic_fetch_add(&store->drafts, 1)) >= (int)sizeof file ||
        snprintf(folder, sizeof folder, "%s-folder", file) >= (int)sizeof folder)
        return limoe_fail(err, LIMOE_INVALID, "the state directory's path is too long");
    enum limoe_status status = peft_zip_unpack(bytes, size, store->options.disk_bytes, folder, full, err);
    if (status)
        return status;
    status = convert(folder, base, file, full, err);
    peft_zip_remove(folder);
    return status ? status : take_draft(store, file, out, full, err);
}

enum limoe_status adapters_draft_upload(struct adapters *store, const void *bytes, size_t size,
                                        const char *base, const struct adapter **out, bool *full,
                                        struct limoe_error *err) {
    return archive_is_one(bytes, size) ? draft_peft(store, bytes, size, base, out, full, err)
                                       : adapters_draft(store, bytes, size, out, full, err);
}

/* ---- keep, or discard */

void adapters_discard(const struct adapter *draft) {
    if (!draft)
        return;
    unlink(draft->path);
    adapter_release(draft);
}

/* Whether there is room for one more of so many bytes, in place of `old` (NULL: of none). `changing` is held. */
static enum limoe_status check_room(const struct adapters *store, const struct adapter *old, uint64_t bytes,
                                    bool *full, struct limoe_error *err) {
    const uint64_t others = store->bytes - (old ? old->bytes : 0);
    *full = bytes > store->options.disk_bytes || others > store->options.disk_bytes - bytes;
    if (*full)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "there are %llu bytes of adapters, and this one has %llu; up to %llu are accepted",
                          (unsigned long long)others, (unsigned long long)bytes,
                          (unsigned long long)store->options.disk_bytes);
    if (!old && store->n >= store->options.most)
        return limoe_fail(err, LIMOE_TOO_LARGE, "there are %zu adapters; no more are accepted", store->n);
    return LIMOE_OK;
}

/* The file of a draft under its name; `changing` is held. */
static enum limoe_status rename_draft(const struct adapters *store, const struct adapter *draft,
                                      struct text name, const struct adapter **out, bool *full,
                                      struct limoe_error *err) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%.*s%s", store->folder, (int)name.size, name.data,
                 draft->path + strlen(draft->path) - TAIL_KEY_END) >= (int)sizeof path)
        return limoe_fail(err, LIMOE_INVALID, "the state directory's path is too long");
    if (rename(draft->path, path) != 0 || !disk_flush_folder(store->folder))
        return fail_io(store, "rename an adapter's file", full, err);
    return read_file(path, name, draft->sha256, out, err);
}

enum limoe_status adapters_keep(struct adapters *store, const struct adapter *draft, struct text name,
                                const struct adapter **out, bool *full, struct limoe_error *err) {
    *full = false;
    pthread_mutex_lock(&store->changing);
    const struct adapter *old = adapters_find(store, name), *kept = NULL;
    enum limoe_status status = check_room(store, old, draft->bytes, full, err);
    if (!status)
        status = rename_draft(store, draft, name, &kept, full, err);
    if (kept) {
        adapter_retain(kept);
        pthread_mutex_lock(&store->lock);
        put_in(store, kept);
        pthread_mutex_unlock(&store->lock);
        if (old && strcmp(old->path, kept->path) != 0 &&
            (unlink(old->path) != 0 || !disk_flush_folder(store->folder)))
            log_print(store->options.log, LOG_WARNING, NULL, "adapters: cannot remove %s: %s", old->path,
                      strerror(errno));
        *out = kept;
    }
    pthread_mutex_unlock(&store->changing);
    adapter_release(old);
    if (status)
        adapters_discard(draft);
    else
        adapter_release(draft);
    return status;
}

enum limoe_status adapters_delete(struct adapters *store, struct text name, bool *found,
                                  struct limoe_error *err) {
    bool full;
    pthread_mutex_lock(&store->changing);
    const struct adapter *old = adapters_find(store, name);
    enum limoe_status status = LIMOE_OK;
    *found = old != NULL;
    if (old && ((unlink(old->path) != 0 && errno != ENOENT) || !disk_flush_folder(store->folder)))
        status = fail_io(store, "remove an adapter's file", &full, err);
    if (old && !status) {
        pthread_mutex_lock(&store->lock);
        take_out(store, place_of(store, name, found));
        pthread_mutex_unlock(&store->lock);
    }
    pthread_mutex_unlock(&store->changing);
    adapter_release(old);
    return status;
}
