/* new_directory.c - made with mkdtemp, moved with renameat2, which overwrites nothing. The caller owns it. */
#include "model/new_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/safetensors_write.h"

static enum limoe_status occupied(const struct new_directory *d, struct limoe_error *err) {
    return limoe_fail(err, LIMOE_INVALID, "%.400s is there already; a directory that is not is accepted",
                      d->place);
}

enum limoe_status new_directory_begin(struct new_directory *d, const char *place, struct limoe_error *err) {
    static const char ending[] = ".XXXXXX";
    struct stat st;
    size_t length = strlen(place);
    while (length > 1 && place[length - 1] == '/')
        length--;
    if (length == 0 || length + sizeof ending > sizeof d->place)
        return limoe_fail(err, LIMOE_INVALID, "a directory whose path is %zu bytes; 1 to %zu are accepted",
                          length, sizeof d->place - sizeof ending);
    memcpy(d->place, place, length);
    d->place[length] = '\0';
    if (lstat(d->place, &st) == 0)
        return occupied(d, err);
    memcpy(d->made, d->place, length);
    memcpy(d->made + length, ending, sizeof ending);
    if (!mkdtemp(d->made)) {
        const int error = errno;
        d->made[0] = '\0';
        return limoe_fail(err, LIMOE_IO, "cannot make a directory beside %.400s: %s", d->place,
                          strerrordesc_np(error));
    }
    return LIMOE_OK;
}

enum limoe_status new_directory_file(const struct new_directory *d, const char *name, int *fd, char *path,
                                     struct limoe_error *err) {
    if (snprintf(path, PATH_MAX, "%s/%s", d->made, name) >= PATH_MAX)
        return limoe_fail(err, LIMOE_INVALID, "%.400s: too long a path", d->made);
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return *fd >= 0 ? LIMOE_OK
                    : limoe_fail(err, LIMOE_IO, "cannot write %.400s: %s", path, strerrordesc_np(errno));
}

enum limoe_status new_directory_copy(const struct new_directory *d, const char *from, const char *name,
                                     size_t most, struct limoe_error *err) {
    uint8_t *bytes = NULL;
    char path[PATH_MAX];
    size_t size = 0;
    int fd = -1;
    if (!file_exists(from, name))
        return LIMOE_OK;
    enum limoe_status status = file_read(from, name, most, &bytes, &size, err);
    if (!status)
        status = new_directory_file(d, name, &fd, path, err);
    if (!status)
        status = safetensors_write_at(fd, path, 0, bytes, size, err);
    if (fd >= 0 && close(fd) != 0 && !status)
        status = limoe_fail(err, LIMOE_IO, "cannot write %.400s: %s", path, strerrordesc_np(errno));
    free(bytes);
    return status;
}

enum limoe_status new_directory_copy_inputs(const struct new_directory *d, const char *from,
                                            struct limoe_error *err) {
    static const char *const names[] = {"config.json",
                                        "open_clip_config.json",
                                        "preprocessor_config.json",
                                        "processor_config.json",
                                        "tokenizer.model",
                                        "spiece.model",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "special_tokens_map.json"};
    enum { MOST = 256 << 20 };
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && !status; i++)
        status = new_directory_copy(d, from, names[i], MOST, err);
    return status;
}

/* A file system that cannot refuse to overwrite can still only overwrite an empty directory. */
static int move(const char *from, const char *to) {
    const int moved = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    return moved != 0 && (errno == EINVAL || errno == ENOSYS) ? rename(from, to) : moved;
}

enum limoe_status new_directory_finish(struct new_directory *d, struct limoe_error *err) {
    const mode_t mask = umask(0);
    umask(mask);
    if (chmod(d->made, 0777 & ~mask) != 0 || move(d->made, d->place) != 0) {
        if (errno == EEXIST || errno == ENOTEMPTY)
            return occupied(d, err);
        return limoe_fail(err, LIMOE_IO, "cannot move %.200s to %.200s: %s", d->made, d->place,
                          strerrordesc_np(errno));
    }
    d->made[0] = '\0';
    return LIMOE_OK;
}

void new_directory_end(struct new_directory *d) {
    DIR *dir = d->made[0] ? opendir(d->made) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." are refused */
    if (dir)
        closedir(dir);
    if (d->made[0])
        rmdir(d->made);
    d->made[0] = '\0';
}
