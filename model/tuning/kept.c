/* kept.c - the file of a run's state. No state of its own. */
#include "model/tuning/kept.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/replacement.h"

static const char magic[16] = "limoe-tune-1\n";

struct head {
    char magic[sizeof magic], digest[FINGERPRINT_DIGITS];
    uint32_t part, epochs, right[KEPT_STRENGTHS], zero;
    uint64_t elements;
};
_Static_assert(sizeof(struct head) == sizeof magic + FINGERPRINT_DIGITS + 4 * (3 + KEPT_STRENGTHS) + 8,
               "no holes, whose bytes would be anything");

static uint64_t elements_of(const struct tuner_array *array, size_t n) {
    uint64_t elements = 0;
    for (size_t i = 0; i < n; i++)
        elements += array[i].n;
    return elements;
}

/* ---- writing */

static enum limoe_status write_part(struct replacement *r, struct fingerprint *f, const void *bytes,
                                    size_t size, struct limoe_error *err) {
    fingerprint_add(f, "part", bytes, size);
    return replacement_write(r, bytes, size, err);
}

static enum limoe_status write_all(struct replacement *r, struct fingerprint *f, const struct head *head,
                                   const struct tuner_array *array, size_t n, struct limoe_error *err) {
    char digits[FINGERPRINT_DIGITS + 1];
    enum limoe_status status = write_part(r, f, head, sizeof *head, err);
    for (size_t i = 0; i < n && !status; i++)
        status = write_part(r, f, array[i].value, array[i].n * sizeof(float), err);
    fingerprint_digits(f, digits);
    return status ? status : replacement_write(r, digits, FINGERPRINT_DIGITS, err);
}

enum limoe_status kept_write(const char *path, const struct kept *kept, const struct tuner_array *array,
                             size_t n, struct limoe_error *err) {
    struct head head = {.part = kept->part, .epochs = kept->epochs, .elements = elements_of(array, n)};
    struct replacement r = {0};
    struct fingerprint *f;
    enum limoe_status status = fingerprint_create(&f, err);
    if (status)
        return status;
    memcpy(head.magic, magic, sizeof magic);
    memcpy(head.digest, kept->digest, sizeof head.digest);
    memcpy(head.right, kept->right, sizeof head.right);
    if (!(status = replacement_begin(&r, path, err)) && !(status = write_all(&r, f, &head, array, n, err)))
        status = replacement_finish(&r, false, err);
    replacement_end(&r);
    fingerprint_free(f);
    return status;
}

/* ---- reading */

static enum limoe_status check_head(const char *path, const struct head *h, const struct kept_bounds *bounds,
                                    uint64_t elements, struct limoe_error *err) {
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return limoe_fail(err, LIMOE_CORRUPT, "%.300s is not the state of a run", path);
    if (memcmp(h->digest, bounds->digest, sizeof h->digest) != 0)
        return limoe_fail(err, LIMOE_INVALID,
                          "%.300s is of a run with other pictures, another model or other arguments", path);
    bool sound =
        h->part < KEPT_PARTS && h->epochs <= bounds->epochs && h->zero == 0 && h->elements == elements;
    for (size_t i = 0; i < KEPT_STRENGTHS; i++)
        sound &= h->right[i] <= bounds->held;
    return sound ? LIMOE_OK : limoe_fail(err, LIMOE_CORRUPT, "%.300s contradicts the run it is of", path);
}

static bool all_finite(const struct tuner_array *array) {
    for (size_t i = 0; i < array->n; i++)
        if (!isfinite(array->value[i]))
            return false;
    return true;
}

static enum limoe_status read_arrays(int fd, const char *path, struct fingerprint *f,
                                     const struct tuner_array *array, size_t n, struct limoe_error *err) {
    char digits[FINGERPRINT_DIGITS + 1], found[FINGERPRINT_DIGITS];
    uint64_t at = sizeof(struct head);
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = array[i].n * sizeof(float);
        enum limoe_status status = file_read_at(fd, path, at, array[i].value, bytes, err);
        if (status)
            return status;
        fingerprint_add(f, "part", array[i].value, bytes);
        at += bytes;
        if (!all_finite(&array[i]))
            return limoe_fail(err, LIMOE_CORRUPT, "%.300s holds numbers that are not finite", path);
    }
    enum limoe_status status = file_read_at(fd, path, at, found, sizeof found, err);
    fingerprint_digits(f, digits);
    if (!status && memcmp(found, digits, sizeof found) != 0)
        status = limoe_fail(err, LIMOE_CORRUPT, "%.300s is damaged: its digits are not those of its content",
                            path);
    return status;
}

static enum limoe_status read_all(int fd, const char *path, size_t size, struct fingerprint *f,
                                  struct head *head, const struct kept_bounds *bounds,
                                  const struct tuner_array *array, size_t n, struct limoe_error *err) {
    const uint64_t elements = elements_of(array, n);
    const uint64_t expected = sizeof *head + elements * sizeof(float) + FINGERPRINT_DIGITS;
    enum limoe_status status = file_read_at(fd, path, 0, head, sizeof *head, err);
    if (status || (status = check_head(path, head, bounds, elements, err)))
        return status;
    if (size != expected)
        return limoe_fail(err, LIMOE_CORRUPT, "%.300s is %zu bytes, where %llu are expected", path, size,
                          (unsigned long long)expected);
    fingerprint_add(f, "part", head, sizeof *head);
    return read_arrays(fd, path, f, array, n, err);
}

enum limoe_status kept_read(const char *path, const struct kept_bounds *bounds, struct kept *kept,
                            const struct tuner_array *array, size_t n, struct limoe_error *err) {
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX] = ".";
    struct head head;
    struct fingerprint *f = NULL;
    size_t size;
    int fd;
    if (slash && (size_t)(slash - path) + 2 <= sizeof dir) {
        memcpy(dir, path, (size_t)(slash - path) + 1);
        dir[slash - path + 1] = '\0';
    }
    enum limoe_status status = file_open(dir, slash ? slash + 1 : path, &fd, &size, err);
    if (status)
        return status;
    if (size < sizeof head)
        status = limoe_fail(err, LIMOE_CORRUPT, "%.300s is cut short: %zu bytes", path, size);
    else if (!(status = fingerprint_create(&f, err)))
        status = read_all(fd, path, size, f, &head, bounds, array, n, err);
    fingerprint_free(f);
    close(fd);
    if (status)
        return status;
    *kept = (struct kept){.part = head.part, .epochs = head.epochs};
    memcpy(kept->digest, head.digest, sizeof kept->digest);
    memcpy(kept->right, head.right, sizeof kept->right);
    return LIMOE_OK;
}
