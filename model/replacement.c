/* replacement.c - written apart, then renamed. The caller owns it. */
#include "model/replacement.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "model/checkpoint/safetensors_write.h"

static enum limoe_status fail(const struct replacement *r, struct limoe_error *err) {
    return limoe_fail(err, LIMOE_IO, "cannot write %.400s: %s", r->place, strerrordesc_np(errno));
}

enum limoe_status replacement_begin(struct replacement *r, const char *place, struct limoe_error *err) {
    *r = (struct replacement){.fd = -1};
    if (snprintf(r->place, sizeof r->place, "%s", place) >= PATH_MAX ||
        snprintf(r->made, sizeof r->made, "%s.new", place) >= PATH_MAX) {
        r->made[0] = '\0';
        return limoe_fail(err, LIMOE_INVALID, "a path of %zu bytes; less than %d are accepted", strlen(place),
                          PATH_MAX - (int)sizeof ".new");
    }
    r->fd = open(r->made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (r->fd >= 0)
        return LIMOE_OK;
    r->made[0] = '\0';
    return fail(r, err);
}

enum limoe_status replacement_write(struct replacement *r, const void *bytes, size_t size,
                                    struct limoe_error *err) {
    enum limoe_status status = safetensors_write_at(r->fd, r->place, r->size, bytes, size, err);
    r->size += size;
    return status;
}

enum limoe_status replacement_finish(struct replacement *r, bool lasting, struct limoe_error *err) {
    const int fd = r->fd;
    if (lasting && fsync(fd) != 0)
        return fail(r, err);
    r->fd = -1;
    if (close(fd) != 0 || rename(r->made, r->place) != 0)
        return fail(r, err);
    r->made[0] = '\0';
    return LIMOE_OK;
}

void replacement_end(struct replacement *r) {
    if (!r->made[0])
        return;
    if (r->fd >= 0)
        close(r->fd);
    unlink(r->made);
    r->made[0] = '\0';
}
