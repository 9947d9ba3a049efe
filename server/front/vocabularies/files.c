/* files.c - the folder: definitions as JSON, vectors as they lie in memory with their SHA-256 behind them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/disk.h"
#include "base/error.h"
#include "server/formats/json_reader.h"
#include "server/front/vocabularies/parts.h"

#define FOLDER       "vocabularies"
#define NEW_FILE     ".new-" /* how names of files begin that are not whole yet */
#define SUFFIX       ".json"
#define ROWS_SUFFIX  ".rows"
#define LONGEST_NAME (CLASSIFIER_NAME_BYTES + VOCABULARY_HEX + 16) /* of a file */
#define MOST_FILE    (8 * (size_t)VOCABULARY_MOST_BYTES)           /* with each byte escaped, and more */

static enum limoe_status fail(const struct vocabularies *all, const char *what, struct limoe_error *err) {
    return limoe_fail(err, LIMOE_IO, "cannot %s in %s: %s", what, all->folder, strerror(errno));
}

enum limoe_status vocabulary_open_folder(struct vocabularies *all, struct limoe_error *err) {
    const char *state = all->options.state_dir;
    if (snprintf(all->folder, sizeof all->folder, "%s/%s", state, FOLDER) >=
        (int)(sizeof all->folder - LONGEST_NAME - 1))
        return limoe_fail(err, LIMOE_INVALID, "the state directory's path is too long: %.200s…", state);
    if (mkdir(all->folder, 0700) != 0 && errno != EEXIST)
        return limoe_fail(err, LIMOE_IO, "cannot make %s: %s", all->folder, strerror(errno));
    return LIMOE_OK;
}

/* The path of a name and what follows it; vocabulary_open_folder has left room. */
static void path_of(const struct vocabularies *all, struct text name, const char *end, char path[PATH_MAX]) {
    if (snprintf(path, PATH_MAX, "%s/%.*s%s", all->folder, (int)name.size, name.data, end) >= PATH_MAX)
        path[0] = '\0';
}

/* What was written beside the others gets its name. False: errno says why, and what has no name yet is removed. */
static bool finish(const struct vocabularies *all, int fd, bool written, const char *made, const char *path) {
    bool good = written && fsync(fd) == 0;
    int cause = errno;
    close(fd);
    good = good && rename(made, path) == 0 && disk_flush_folder(all->folder);
    cause = good || !written ? cause : errno;
    if (!good)
        unlink(made);
    errno = cause;
    return good;
}

/* ---- definitions */

static void describe(struct buffer *out, const struct vocabulary_entry *entry) {
    const struct classifier *words = entry->words;
    const struct vocabulary_definition definition = {.terms = words->labels,
                                                     .n = words->n_labels,
                                                     .template = words->templates[0],
                                                     .automatic = entry->automatic,
                                                     .threshold = entry->threshold};
    buffer_print(out, "{\"created\":%lld,\"updated\":%lld,\"vocabulary\":{", (long long)words->created,
                 (long long)words->updated);
    vocabulary_write(out, &definition);
    buffer_string(out, "}}\n");
}

enum limoe_status vocabulary_write_definition(const struct vocabularies *all,
                                              const struct vocabulary_entry *entry, bool *full,
                                              struct limoe_error *err) {
    char path[PATH_MAX], made[PATH_MAX];
    struct buffer text = {0};
    *full = false;
    describe(&text, entry);
    path_of(all, entry->words->name, SUFFIX, path);
    path_of(all, text_of(NEW_FILE "definition"), "", made); /* one is written at a time */
    const int fd = text.failed ? -1 : open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum limoe_status status = LIMOE_OK;
    if (text.failed)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a vocabulary");
    else if (fd < 0 || !finish(all, fd, disk_write(fd, text.data, text.size), made, path)) {
        *full = errno == ENOSPC || errno == EDQUOT;
        status = fail(all, "write a vocabulary", err);
    }
    buffer_free(&text);
    return status;
}

static bool read_times(const struct json_value *object, int64_t *created, int64_t *updated) {
    const struct json_value *first = json_member(object, text_of("created")),
                            *last = json_member(object, text_of("updated"));
    const bool good = first && first->type == JSON_NUMBER && first->number >= 0 && first->number < 1e15 &&
                      last && last->type == JSON_NUMBER && last->number >= 0 && last->number < 1e15;
    *created = good ? (int64_t)first->number : 0;
    *updated = good ? (int64_t)last->number : 0;
    return good;
}

/* NULL: it is no definition, or *memory: there is none for it. */
static struct vocabulary_entry *parse(struct text name, const char *bytes, size_t size, struct arena *arena,
                                      bool *memory) {
    struct json_value *object;
    struct json_error at;
    struct vocabulary_definition definition;
    struct api_error error;
    struct classifier_entry *made;
    int64_t created, updated;
    *memory = false;
    if (!json_read_within(bytes, size, &request_vocabulary_limits, arena, &object, &at) ||
        !read_times(object, &created, &updated))
        return NULL;
    const struct json_value *said = json_member(object, text_of("vocabulary"));
    if (!said || said->type != JSON_OBJECT || !request_vocabulary_object(said, arena, &definition, &error))
        return NULL;
    const struct classifier_parts parts = {.name = name,
                                           .labels = definition.terms,
                                           .n_labels = definition.n,
                                           .templates = &definition.template,
                                           .n_templates = 1,
                                           .created = created,
                                           .updated = updated,
                                           .fingerprint = ""};
    struct vocabulary_entry *entry = calloc(1, sizeof *entry);
    *memory = !entry || classifier_entry_make(&parts, &made, NULL) != LIMOE_OK;
    if (*memory) {
        free(entry);
        return NULL;
    }
    entry->words = &made->classifier;
    entry->automatic = definition.automatic;
    entry->threshold = definition.threshold;
    return entry;
}

/* Without waiting for who writes, should somebody have left a pipe there. */
static int open_to_read(const char *path) {
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* A whole file, in the arena; NULL: it cannot be read, or is none of ours. */
static const char *read_file(const char *path, struct arena *arena, size_t *size) {
    struct stat st;
    const int fd = open_to_read(path);
    if (fd < 0)
        return NULL;
    char *bytes = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size <= MOST_FILE
                      ? arena_alloc(arena, (size_t)st.st_size)
                      : NULL;
    *size = bytes ? (size_t)st.st_size : 0;
    const bool whole = bytes && pread(fd, bytes, *size, 0) == (ssize_t)*size;
    close(fd);
    return whole ? bytes : NULL;
}

/* False: no memory. */
static bool take_definition(struct vocabularies *all, const char *file, struct text name,
                            bool (*found)(struct vocabularies *all, struct vocabulary_entry *entry)) {
    char path[PATH_MAX];
    struct api_error error;
    struct arena *arena = arena_new();
    struct vocabulary_entry *entry = NULL;
    bool memory = !arena;
    size_t size;
    path_of(all, text_of(file), "", path);
    const char *bytes = arena && request_vocabulary_name(name, &error) ? read_file(path, arena, &size) : NULL;
    if (bytes)
        entry = parse(name, bytes, size, arena, &memory);
    if (entry)
        memory = !found(all, entry);
    else if (!memory)
        log_print(all->options.log, LOG_WARNING, NULL, "vocabularies: %s is left alone: it is no vocabulary",
                  path);
    arena_free(arena);
    return !memory;
}

/* What was begun and not ended is removed; so are vectors of what is no vocabulary any more. */
static void clean(const struct vocabularies *all, const char *file) {
    char path[PATH_MAX], definition[PATH_MAX];
    struct text rows = text_of(file);
    const char *at = strchr(file, '@');
    path_of(all, text_of(file), "", path);
    if (strncmp(file, NEW_FILE, strlen(NEW_FILE)) == 0)
        unlink(path);
    if (!at || !text_take_suffix(&rows, ROWS_SUFFIX))
        return;
    path_of(all, (struct text){.data = file, .size = (size_t)(at - file)}, SUFFIX, definition);
    if (access(definition, F_OK) != 0 && errno == ENOENT)
        unlink(path);
}

enum limoe_status vocabulary_read_folder(struct vocabularies *all,
                                         bool (*found)(struct vocabularies *all,
                                                       struct vocabulary_entry *entry),
                                         struct limoe_error *err) {
    DIR *dir = opendir(all->folder);
    bool good = true;
    if (!dir)
        return fail(all, "list what is", err);
    for (const struct dirent *file; good && (file = readdir(dir));) {
        struct text name = text_of(file->d_name);
        if (strlen(file->d_name) >= LONGEST_NAME)
            continue;
        if (file->d_name[0] != '.' && text_take_suffix(&name, SUFFIX))
            good = take_definition(all, file->d_name, name, found);
        else
            clean(all, file->d_name);
    }
    closedir(dir);
    return good ? LIMOE_OK : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for vocabularies");
}

/* ---- vectors */

static void hash_text(gnutls_hash_hd_t hash, struct text text) {
    const uint64_t size = text.size;
    gnutls_hash(hash, &size, sizeof size);
    gnutls_hash(hash, text.data, text.size);
}

/* "NAME@DIGEST.rows", of the terms, the template, and the model. False: SHA-256 is not to be had. */
static bool rows_path(const struct vocabularies *all, const struct classifier *words, const char *fingerprint,
                      char path[PATH_MAX]) {
    uint8_t digest[VOCABULARY_DIGEST];
    char end[1 + VOCABULARY_HEX + sizeof ROWS_SUFFIX];
    gnutls_hash_hd_t hash;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) != 0)
        return false;
    hash_text(hash, text_of(fingerprint));
    hash_text(hash, words->templates[0]);
    for (size_t i = 0; i < words->n_labels; i++)
        hash_text(hash, words->labels[i]);
    gnutls_hash_deinit(hash, digest);
    size_t used = (size_t)snprintf(end, sizeof end, "@");
    for (size_t i = 0; i < sizeof digest; i++)
        used += (size_t)snprintf(end + used, sizeof end - used, "%02x", digest[i]);
    snprintf(end + used, sizeof end - used, ROWS_SUFFIX);
    path_of(all, words->name, end, path);
    return true;
}

static size_t matrix_bytes(const struct classifier *words) {
    return words->n_labels * words->embed * sizeof(float);
}

static bool read_all(int fd, void *out, size_t size) {
    char *to = out;
    while (size > 0) {
        const ssize_t got = read(fd, to, size);
        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        to += got > 0 ? got : 0;
        size -= got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* Whoever changed the file may have made a digest of what it is now. */
static bool are_numbers(const struct classifier *words) {
    bool good = true;
    for (size_t i = 0; i < words->n_labels * words->embed; i++)
        good &= isfinite(words->matrix[i]) != 0;
    return good;
}

bool vocabulary_read_rows(const struct vocabularies *all, struct classifier_entry *entry) {
    char path[PATH_MAX];
    uint8_t kept[VOCABULARY_DIGEST], digest[VOCABULARY_DIGEST];
    struct stat st;
    const size_t size = matrix_bytes(&entry->classifier);
    const int fd = rows_path(all, &entry->classifier, entry->fingerprint, path) ? open_to_read(path) : -1;
    if (fd < 0)
        return false;
    const bool whole = fstat(fd, &st) == 0 && st.st_size == (off_t)(size + sizeof kept) &&
                       read_all(fd, entry->matrix, size) && read_all(fd, kept, sizeof kept) &&
                       gnutls_hash_fast(GNUTLS_DIG_SHA256, entry->matrix, size, digest) == 0 &&
                       memcmp(kept, digest, sizeof digest) == 0 && are_numbers(&entry->classifier);
    close(fd);
    return whole;
}

void vocabulary_drop_rows(const struct vocabularies *all, const struct classifier_entry *entry) {
    char path[PATH_MAX];
    if (rows_path(all, &entry->classifier, entry->fingerprint, path))
        unlink(path);
}

/* Removes the files of vectors that the name has, but those of these paths. */
static void remove_rows(const struct vocabularies *all, struct text name, char (*keep)[PATH_MAX], size_t n) {
    DIR *dir = opendir(all->folder);
    for (const struct dirent *file; dir && (file = readdir(dir));) {
        char path[PATH_MAX];
        bool kept = strncmp(file->d_name, name.data, name.size) != 0 || file->d_name[name.size] != '@' ||
                    strlen(file->d_name) >= LONGEST_NAME;
        path_of(all, text_of(kept ? "" : file->d_name), "", path);
        for (size_t i = 0; i < n && !kept; i++)
            kept = strcmp(path, keep[i]) == 0;
        if (!kept)
            unlink(path);
    }
    if (dir)
        closedir(dir);
}

enum limoe_status vocabulary_write_rows(const struct vocabularies *all, const struct classifier_entry *entry,
                                        struct limoe_error *err) {
    const struct classifier *words = &entry->classifier;
    char path[PATH_MAX], made[PATH_MAX], end[40];
    uint8_t digest[VOCABULARY_DIGEST];
    if (!rows_path(all, words, entry->fingerprint, path) ||
        gnutls_hash_fast(GNUTLS_DIG_SHA256, words->matrix, matrix_bytes(words), digest) != 0)
        return limoe_fail(err, LIMOE_INTERNAL, "there is no SHA-256");
    snprintf(end, sizeof end, "%p", (const void *)entry); /* two may be written at once */
    path_of(all, text_of(NEW_FILE), end, made);
    const int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd >= 0 && finish(all, fd,
                             disk_write(fd, words->matrix, matrix_bytes(words)) &&
                                 disk_write(fd, digest, sizeof digest),
                             made, path)
               ? LIMOE_OK
               : fail(all, "write vectors", err);
}

void vocabulary_keep_rows(const struct vocabularies *all, const struct classifier *words, char *const *keep,
                          size_t n) {
    char(*kept)[PATH_MAX] = calloc(n + 1, sizeof *kept);
    bool good = kept != NULL;
    for (size_t i = 0; i < n && good; i++)
        good = rows_path(all, words, keep[i], kept[i]);
    if (good)
        remove_rows(all, words->name, kept, n);
    free(kept);
}

enum limoe_status vocabulary_remove(const struct vocabularies *all, struct text name,
                                    struct limoe_error *err) {
    char path[PATH_MAX];
    path_of(all, name, SUFFIX, path);
    if ((unlink(path) != 0 && errno != ENOENT) || !disk_flush_folder(all->folder))
        return fail(all, "remove a vocabulary", err);
    remove_rows(all, name, NULL, 0);
    return LIMOE_OK;
}
