/* files.h - files and folders of the unit tests' own. Each fails the test where it cannot do what it says. */
#ifndef LIMOE_TESTS_UNIT_FILES_H
#define LIMOE_TESTS_UNIT_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All of a regular file, in an allocation of just its size, so that a read past its end is seen. The
 * caller frees it. */
static inline uint8_t *file_read(const char *path, size_t *size) {
    struct stat at;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &at) != 0)
        fail_msg("%s cannot be read", path);
    *size = (size_t)at.st_size;
    uint8_t *bytes = malloc(*size);
    assert_true(bytes || !*size);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* Room for a folder's path. */
#define FOLDER_SIZE 64

/* A fresh folder under $TMPDIR, or under /tmp where that is not set or long. The caller calls
 * folder_remove. */
static inline void folder_make(char path[FOLDER_SIZE]) {
    const char *above = getenv("TMPDIR");
    snprintf(path, FOLDER_SIZE, "%s/limoe-test-XXXXXX",
             above && strlen(above) < FOLDER_SIZE / 2 ? above : "/tmp");
    assert_non_null(mkdtemp(path));
}

static inline int folder_remove_entry(const char *path, const struct stat *at, int type, struct FTW *walk) {
    (void)at;
    (void)type;
    (void)walk;
    return remove(path);
}

/* The folder and all that is in it; 0, or that it could not. Fit for a tear-down, whose failure cmocka
 * tells. */
static inline int folder_remove(const char *path) {
    return nftw(path, folder_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
