/* file.c - opening a model's files. No state; each call owns its descriptor and closes it. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

static bool join(char path[PATH_MAX], const char *dir, const char *name) {
    int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < PATH_MAX;
}

bool file_exists(const char *dir, const char *name) {
    char path[PATH_MAX];
    struct stat st;
    return join(path, dir, name) && lstat(path, &st) == 0;
}

/* O_NONBLOCK, so that a FIFO in place of the file is refused rather than waited for. */
static enum limoe_status open_regular(const char *dir, const char *name, int *fd, size_t *size,
                                      struct limoe_error *err) {
    char path[PATH_MAX];
    struct stat st;
    if (!join(path, dir, name)) {
        return limoe_fail(err, LIMOE_INVALID,
                          "%s: the directory's path is %zu bytes; less than %d are accepted", name,
                          strlen(dir), PATH_MAX);
    }
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        int error = errno;
        return limoe_fail(err, error == ENOENT || error == ENOTDIR ? LIMOE_NOT_FOUND : LIMOE_IO,
                          "cannot open %.400s: %s", path, strerrordesc_np(error));
    }
    if (fstat(file, &st) != 0) {
        int error = errno;
        close(file);
        return limoe_fail(err, LIMOE_IO, "cannot stat %.400s: %s", path, strerrordesc_np(error));
    }
    if (!S_ISREG(st.st_mode)) {
        close(file);
        return limoe_fail(err, LIMOE_IO, "%.400s is not a regular file", path);
    }
    *fd = file;
    *size = (size_t)st.st_size;
    return LIMOE_OK;
}

enum limoe_status file_read(const char *dir, const char *name, size_t max, uint8_t **bytes, size_t *size,
                            struct limoe_error *err) {
    int fd = -1;
    size_t expected = 0, got = 0;
    uint8_t *buffer = NULL;
    enum limoe_status status = open_regular(dir, name, &fd, &expected, err);
    if (status != LIMOE_OK) {
        return status;
    }
    if (expected > max) {
        status = limoe_fail(err, LIMOE_TOO_LARGE, "%s is %zu bytes; at most %zu are accepted", name, expected,
                            max);
        goto out;
    }
    buffer = malloc(expected > 0 ? expected : 1);
    if (!buffer) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %zu bytes", name, expected);
        goto out;
    }
    while (got < expected) {
        ssize_t n = read(fd, buffer + got, expected - got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            status = limoe_fail(err, LIMOE_IO, "cannot read %s at byte %zu of %zu: %s", name, got, expected,
                                n < 0 ? strerrordesc_np(errno) : "it shrank meanwhile");
            goto out;
        }
        got += (size_t)n;
    }
    *bytes = buffer;
    *size = expected;
    buffer = NULL;
out:
    free(buffer);
    close(fd);
    return status;
}

enum limoe_status file_map(const char *dir, const char *name, void **map, size_t *size,
                           struct limoe_error *err) {
    int fd = -1;
    size_t length = 0;
    enum limoe_status status = open_regular(dir, name, &fd, &length, err);
    if (status != LIMOE_OK) {
        return status;
    }
    void *base = NULL;
    if (length > 0) {
        base = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (base == MAP_FAILED) {
            status = limoe_fail(err, errno == ENOMEM ? LIMOE_NO_MEMORY : LIMOE_IO,
                                "cannot map %s (%zu bytes): %s", name, length, strerrordesc_np(errno));
            goto out;
        }
    }
    *map = base;
    *size = length;
out:
    close(fd);
    return status;
}
