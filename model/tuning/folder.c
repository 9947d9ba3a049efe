/* folder.c - lists of names, sorted. The caller owns them; one thread. */
#include "model/tuning/folder.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/picture_name.h"
#include "limoe_tune.h"

static int seen(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The file mode of dir/name, 0 where there is none; path [PATH_MAX]. */
static mode_t mode_of(const char *dir, const char *name, char *path) {
    struct stat st;
    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX || stat(path, &st) != 0)
        return 0;
    return st.st_mode;
}

/* Doubles an array that is full. */
static bool grow(void **array, size_t n, size_t *room, size_t size) {
    if (n < *room)
        return true;
    const size_t more = *room ? 2 * *room : 64;
    void *larger = realloc(*array, more * size);
    if (!larger)
        return false;
    *array = larger;
    *room = more;
    return true;
}

static enum limoe_status no_memory(struct limoe_error *err) {
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the names of pictures");
}

static enum limoe_status add_file(struct folder *f, const char *path, uint32_t class,
                                  struct limoe_error *err) {
    if (f->files == FOLDER_MAX_FILES)
        return limoe_fail(err, LIMOE_TOO_LARGE, "more than %u pictures; so many are accepted",
                          FOLDER_MAX_FILES);
    if (!grow((void **)&f->file, f->files, &f->file_room, sizeof *f->file))
        return no_memory(err);
    struct folder_file file = {strdup(path), class};
    if (!file.path)
        return no_memory(err);
    f->file[f->files++] = file;
    return LIMOE_OK;
}

static enum limoe_status add_class(struct folder *f, const char *name, struct limoe_error *err) {
    if (!grow((void **)&f->class, f->classes, &f->class_room, sizeof *f->class))
        return no_memory(err);
    char *copy = strdup(name);
    if (!copy)
        return no_memory(err);
    f->class[f->classes++] = copy;
    return LIMOE_OK;
}

/* Calls `each` for what is in a directory, by name, until one fails. */
static enum limoe_status for_names(struct folder *f, const char *dir,
                                   enum limoe_status (*each)(struct folder *f, const char *dir,
                                                             const char *name, struct limoe_error *err),
                                   struct limoe_error *err) {
    struct dirent **entry;
    enum limoe_status status = LIMOE_OK;
    const int n = scandir(dir, &entry, seen, by_name);
    if (n < 0)
        return limoe_fail(
            err, errno == ENOENT || errno == ENOTDIR ? LIMOE_NOT_FOUND : LIMOE_IO,
            "cannot read the folder %.300s: %s; one with a folder of pictures for each class is accepted",
            dir, strerrordesc_np(errno));
    for (int i = 0; i < n; i++) {
        if (!status)
            status = each(f, dir, entry[i]->d_name, err);
        free(entry[i]);
    }
    free(entry);
    return status;
}

static enum limoe_status take_file(struct folder *f, const char *dir, const char *name,
                                   struct limoe_error *err) {
    char path[PATH_MAX];
    return picture_name(name) && S_ISREG(mode_of(dir, name, path)) ? add_file(f, path, f->classes - 1, err)
                                                                   : LIMOE_OK;
}

static enum limoe_status take_class(struct folder *f, const char *dir, const char *name,
                                    struct limoe_error *err) {
    char path[PATH_MAX];
    const size_t before = f->files;
    enum limoe_status status;
    if (!S_ISDIR(mode_of(dir, name, path)))
        return LIMOE_OK;
    if (f->classes == LIMOE_TUNE_MAX_CLASSES)
        return limoe_fail(err, LIMOE_INVALID, "%.300s has more than %u folders; 2 to %u classes are accepted",
                          dir, LIMOE_TUNE_MAX_CLASSES, LIMOE_TUNE_MAX_CLASSES);
    if ((status = add_class(f, name, err)) || (status = for_names(f, path, take_file, err)))
        return status;
    if (f->files == before)
        return limoe_fail(err, LIMOE_INVALID,
                          "%.300s has no pictures; files ending in " PICTURE_NAME_ENDINGS " are accepted",
                          path);
    return LIMOE_OK;
}

enum limoe_status folder_read(const char *dir, struct folder *out, struct limoe_error *err) {
    *out = (struct folder){0};
    enum limoe_status status = for_names(out, dir, take_class, err);
    if (!status && out->classes < 2)
        status = limoe_fail(err, LIMOE_INVALID,
                            "%.300s has %s; 2 to %u folders of pictures, one for each class, are accepted",
                            dir, out->classes ? "1 folder" : "no folders", LIMOE_TUNE_MAX_CLASSES);
    if (status)
        folder_free(out);
    return status;
}

/* ---- examples */

static uint32_t classes_with_examples(const struct folder *f) {
    bool seen[LIMOE_TUNE_MAX_CLASSES] = {false};
    uint32_t n = 0;
    for (size_t i = 0; i < f->files; i++) {
        n += !seen[f->file[i].class];
        seen[f->file[i].class] = true;
    }
    return n;
}

static enum limoe_status list_all(const struct limoe_tune_examples *examples, struct folder *f,
                                  struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    if (examples->n_classes > LIMOE_TUNE_MAX_CLASSES)
        return limoe_fail(err, LIMOE_INVALID, "%u classes; 2 to %u are accepted", examples->n_classes,
                          LIMOE_TUNE_MAX_CLASSES);
    for (uint32_t c = 0; c < examples->n_classes && !status; c++)
        status = add_class(f, examples->classes[c], err);
    for (size_t i = 0; i < examples->n && !status; i++)
        status = examples->of[i] < f->classes
                     ? add_file(f, examples->names[i], examples->of[i], err)
                     : limoe_fail(err, LIMOE_INVALID, "%.200s is of class %u; there are %u",
                                  examples->names[i], examples->of[i], f->classes);
    return status;
}

enum limoe_status folder_list(const struct limoe_tune_examples *examples, struct folder *out,
                              struct limoe_error *err) {
    *out = (struct folder){0};
    enum limoe_status status = list_all(examples, out, err);
    const uint32_t given = status ? 0 : classes_with_examples(out);
    if (!status && given < 2)
        status = limoe_fail(err, LIMOE_INVALID, "%u class%s examples; 2 to %u are accepted", given,
                            given == 1 ? " has" : "es have", LIMOE_TUNE_MAX_CLASSES);
    if (status)
        folder_free(out);
    return status;
}

void folder_free(struct folder *f) {
    for (size_t i = 0; i < f->files; i++)
        free(f->file[i].path);
    for (uint32_t i = 0; i < f->classes; i++)
        free(f->class[i]);
    free(f->file);
    free(f->class);
    *f = (struct folder){0};
}
