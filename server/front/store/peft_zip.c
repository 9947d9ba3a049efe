/* peft_zip.c - two files of an archive, to a folder. No state. */
#include "server/front/store/peft_zip.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "server/formats/archive.h"

enum { MOST_ENTRIES = 1000, QUOTED = 200 };

static const char *const files[] = {"adapter_config.json", "adapter_model.safetensors"};
enum { CONFIG, WEIGHTS, FILES };

static const char *base_name(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* Finds the config, wherever it stands. */
static enum limoe_status find_config(const struct archive *archive, size_t *at, struct limoe_error *err) {
    char first[QUOTED], second[QUOTED];
    bool found = false;
    for (size_t i = 0; i < archive_count(archive); i++) {
        const char *name = archive_at(archive, i)->name;
        if (strcmp(base_name(name), files[CONFIG]) != 0)
            continue;
        if (found)
            return limoe_fail(err, LIMOE_CORRUPT,
                              "the archive has \"%s\" and \"%s\"; the folder of one adapter is accepted",
                              text_quote(text_of(archive_at(archive, *at)->name), first, sizeof first),
                              text_quote(text_of(name), second, sizeof second));
        *at = i;
        found = true;
    }
    return found ? LIMOE_OK
                 : limoe_fail(err, LIMOE_CORRUPT,
                              "the archive has no \"%s\"; a folder that PEFT has saved is accepted",
                              files[CONFIG]);
}

static enum limoe_status find_both(const struct archive *archive, size_t at[FILES], struct limoe_error *err) {
    enum limoe_status status = find_config(archive, &at[CONFIG], err);
    if (status)
        return status;
    const char *config = archive_at(archive, at[CONFIG])->name;
    const size_t folder = (size_t)(base_name(config) - config);
    for (size_t i = 0; i < archive_count(archive); i++) {
        const char *name = archive_at(archive, i)->name;
        at[WEIGHTS] = i;
        if (strncmp(name, config, folder) == 0 && strcmp(name + folder, files[WEIGHTS]) == 0)
            return LIMOE_OK;
    }
    return limoe_fail(err, LIMOE_CORRUPT, "the archive has no \"%s\" beside \"%s\"", files[WEIGHTS],
                      files[CONFIG]);
}

static enum limoe_status fail_io(const char *what, bool *full, struct limoe_error *err) {
    *full = errno == ENOSPC || errno == EDQUOT;
    return limoe_fail(err, LIMOE_IO, "cannot write %.400s: %s", what, strerrordesc_np(errno));
}

static enum limoe_status unpack_one(struct archive *archive, size_t at, const char *folder, const char *name,
                                    bool *full, struct limoe_error *err) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return limoe_fail(err, LIMOE_INVALID, "the state directory's path is too long");
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_io(path, full, err);
    enum limoe_status status = archive_unpack(archive, at, fd, err);
    if (status == LIMOE_IO)
        status = fail_io(path, full, err);
    if (close(fd) != 0 && !status)
        status = fail_io(path, full, err);
    return status;
}

enum limoe_status peft_zip_unpack(const void *bytes, size_t size, uint64_t most_bytes, const char *path,
                                  bool *full, struct limoe_error *err) {
    const struct archive_limits limits = {
        .entries = MOST_ENTRIES, .entry_bytes = most_bytes, .total_bytes = most_bytes};
    struct archive *archive;
    size_t at[FILES] = {0};
    *full = false;
    enum limoe_status status = archive_open(bytes, size, &limits, &archive, err);
    if (status)
        return status;
    status = find_both(archive, at, err);
    if (!status && mkdir(path, 0700) != 0)
        status = fail_io(path, full, err);
    for (int i = 0; i < FILES && !status; i++)
        status = unpack_one(archive, at[i], path, files[i], full, err);
    archive_close(archive);
    if (status)
        peft_zip_remove(path);
    return status;
}

void peft_zip_remove(const char *path) {
    char file[PATH_MAX];
    for (int i = 0; i < FILES; i++)
        if (snprintf(file, sizeof file, "%s/%s", path, files[i]) < (int)sizeof file)
            unlink(file);
    rmdir(path);
}
