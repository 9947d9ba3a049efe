/* file.c - opening a model's files. No state; file_open's descriptor is the caller's. */
#include "model/checkpoint/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

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
enum limoe_status file_open(const char *dir, const char *name, int *fd, size_t *size,
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

enum limoe_status file_read_at(int fd, const char *name, uint64_t offset, void *to, size_t size,
                               struct limoe_error *err) {
    size_t got = 0;
    while (got < size) {
        ssize_t n = pread(fd, (char *)to + got, size - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            return limoe_fail(err, LIMOE_IO, "cannot read %.200s at byte %" PRIu64 ": %s", name, offset + got,
                              n < 0 ? strerrordesc_np(errno) : "it shrank meanwhile");
        }
        got += (size_t)n;
    }
    return LIMOE_OK;
}

enum limoe_status file_read(const char *dir, const char *name, size_t max, uint8_t **bytes, size_t *size,
                            struct limoe_error *err) {
    int fd = -1;
    size_t expected = 0;
    uint8_t *buffer = NULL;
    enum limoe_status status = file_open(dir, name, &fd, &expected, err);
    if (status != LIMOE_OK)
        return status;
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
    status = file_read_at(fd, name, 0, buffer, expected, err);
    if (status != LIMOE_OK)
        goto out;
    *bytes = buffer;
    *size = expected;
    buffer = NULL;
out:
    free(buffer);
    close(fd);
    return status;
}

enum limoe_status file_read_path(const char *path, size_t max, uint8_t **bytes, size_t *size,
                                 struct limoe_error *err) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) : 1;
    if (length >= sizeof dir) {
        return limoe_fail(err, LIMOE_INVALID, "a path of %zu bytes; less than %d are accepted", strlen(path),
                          PATH_MAX);
    }
    memcpy(dir, slash ? path : ".", length);
    dir[length] = '\0';
    return file_read(dir, slash ? slash + 1 : path, max, bytes, size, err);
}
