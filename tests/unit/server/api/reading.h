/* reading.h - what the tests of the request readers share: a model to ask, an arena, errors held to their
 * text. */
#ifndef LIMOE_TESTS_UNIT_SERVER_API_READING_H
#define LIMOE_TESTS_UNIT_SERVER_API_READING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/request.h"

#define BOTH_TOWERS .towers = 1, .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}}

static const struct limoe_info info = {.name = "pictograms", BOTH_TOWERS, .embed = 192, .text_length = 16};
static const struct limoe_info *const infos[] = {&info};
static const struct request_models model = {.info = infos, .n = 1};
static struct arena *arena;
static struct api_error error;
static void *copies[256]; /* of exactly() */
static size_t n_copies;

static int set_up(void **state) {
    (void)state;
    error = (struct api_error){0};
    arena = arena_new();
    return arena ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(arena);
    while (n_copies)
        free(copies[--n_copies]);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Memory that lives to the test's end. */
static inline char *room(size_t size) {
    char *memory = arena_alloc(arena, size);
    if (!memory)
        abort();
    return memory;
}

/* A copy in an allocation of exactly its size, so that a read past the end is seen.
 * Lives to the test's end. */
static inline char *exactly(const char *bytes, size_t size) {
    if (n_copies == sizeof copies / sizeof *copies)
        abort();
    char *copy = malloc(size);
    if (size && !copy)
        abort();
    copies[n_copies++] = copy;
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

static inline void assert_bytes(const void *bytes, size_t size, const char *expected) {
    if (size != strlen(expected) || memcmp(bytes, expected, size) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)size, (const char *)bytes, expected);
}

static inline void assert_error(int status, const char *code, const char *param, const char *message) {
    if (error.status != status || !error.code || strcmp(error.code, code) != 0 ||
        strcmp(error.param, param) != 0 || !strstr(error.message, message))
        fail_msg("%d %s %s \"%s\"; expected %d %s %s \"%s\"", error.status, error.code, error.param,
                 error.message, status, code, param, message);
}

#endif
