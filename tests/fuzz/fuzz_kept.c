/* fuzz_kept.c - the state of a run that was killed, from anyone: refused with a message, or within its run's bounds and of finite
 * numbers. Its digits keep out what is damaged, so the first byte says whether right ones are put behind the others. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/checkpoint/fingerprint.h"
#include "model/tuning/kept.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIRST = 3, SECOND = 2, HEAD = 72 };
_Static_assert(HEAD == 16 + FINGERPRINT_DIGITS + 4 * (3 + KEPT_STRENGTHS) + 8,
               "of the file, as kept.c has it");

static void require(int sound) {
    if (!sound)
        __builtin_trap();
}

/* The digits of what is head and arrays, and as long as they are. */
static void seal(int fd, const uint8_t *data, size_t size) {
    const size_t parts[] = {HEAD, FIRST * sizeof(float), SECOND * sizeof(float)};
    char digits[FINGERPRINT_DIGITS + 1];
    struct limoe_error err;
    struct fingerprint *f;
    if (size != parts[0] + parts[1] + parts[2])
        return;
    require(fingerprint_create(&f, &err) == LIMOE_OK);
    for (size_t i = 0, at = 0; i < 3; at += parts[i++])
        fingerprint_add(f, "part", data + at, parts[i]);
    fingerprint_digits(f, digits);
    fingerprint_free(f);
    require(write(fd, digits, FINGERPRINT_DIGITS) == FINGERPRINT_DIGITS);
}

static void check(const struct kept *kept, const struct kept_bounds *bounds,
                  const struct tuner_array *array) {
    require(kept->part < KEPT_PARTS && kept->epochs <= bounds->epochs);
    require(memcmp(kept->digest, bounds->digest, sizeof kept->digest) == 0);
    for (size_t i = 0; i < KEPT_STRENGTHS; i++)
        require(kept->right[i] <= bounds->held);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < array[i].n; k++)
            require(isfinite(array[i].value[k]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static float first[FIRST], second[SECOND];
    const struct tuner_array array[] = {{first, FIRST}, {second, SECOND}};
    struct kept_bounds bounds = {.epochs = 20, .held = 30};
    struct kept kept = {0};
    struct limoe_error err = {0};
    char path[64];
    if (size == 0)
        return 0;
    memcpy(bounds.digest, "0123456789abcdef", sizeof bounds.digest);
    const int fd = memfd_create("kept", 0);
    require(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)size - 1);
    if (data[0] & 1)
        seal(fd, data + 1, size - 1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const enum limoe_status status = kept_read(path, &bounds, &kept, array, 2, &err);
    if (status == LIMOE_OK)
        check(&kept, &bounds, array);
    else
        require(err.status == status && err.message[0]);
    close(fd);
    return 0;
}
