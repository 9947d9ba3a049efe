/* disk.c - what write and fsync leave to their callers. */
#include "base/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool disk_write(int fd, const void *bytes, size_t size) {
    const char *from = bytes;
    while (size > 0) {
        const ssize_t written = write(fd, from, size);
        if (written < 0 && errno != EINTR)
            return false;
        from += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

bool disk_flush_folder(const char *path) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool good = fd >= 0 && fsync(fd) == 0;
    const int cause = errno;
    if (fd >= 0)
        close(fd);
    errno = cause;
    return good;
}
