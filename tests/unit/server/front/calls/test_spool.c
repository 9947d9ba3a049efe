/* test_spool.c - protects the order of what is spooled, whatever of it is in memory or in the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/front/calls/spool.h"

/* Byte i of the stream. */
static char byte_at(uint64_t i) {
    return (char)(i * 2654435761u >> 13);
}

static void append(struct spool *spool, uint64_t *written, size_t size) {
    struct limoe_error err;
    char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(*written + i);
    assert_int_equal(spool_append(spool, bytes, size, &err), LIMOE_OK);
    *written += size;
    free(bytes);
}

static void take(struct spool *spool, uint64_t *read, size_t size) {
    struct limoe_error err;
    size_t taken;
    char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    assert_int_equal(spool_take(spool, bytes, size, &taken, &err), LIMOE_OK);
    assert_true(taken <= size);
    for (size_t i = 0; i < taken; i++)
        assert_int_equal(bytes[i], byte_at(*read + i));
    *read += taken;
    free(bytes);
}

static void what_comes_first_goes_first(void **state) {
    (void)state;
    struct spool spool = {.folder = "/tmp"};
    uint64_t written = 0, read = 0;
    uint32_t random = 7;
    for (int i = 0; i < 600; i++) {
        random = random * 1664525u + 1013904223u;
        const size_t size = (random >> 8) % (i % 50 == 0 ? 700000 : 20000);
        if (random >> 31 || i < 100)
            append(&spool, &written, size);
        else
            take(&spool, &read, size);
        assert_int_equal(spool_size(&spool), written - read);
    }
    assert_true(spool.open); /* it was too much for memory */
    while (read < written)
        take(&spool, &read, 65536);
    assert_int_equal(spool_size(&spool), 0);
    spool_free(&spool);
}

static void a_little_needs_no_file(void **state) {
    (void)state;
    struct spool spool = {.folder = "/no/such/folder"};
    uint64_t written = 0, read = 0;
    for (int i = 0; i < 1000; i++) {
        append(&spool, &written, 3000);
        append(&spool, &written, 1);
        take(&spool, &read, 2000);
        take(&spool, &read, 2000);
    }
    assert_false(spool.open);
    assert_int_equal(spool_size(&spool), 0);
    spool_free(&spool);
}

/* Such a buffer is given back when it has been read. */
static void an_answer_larger_than_the_memory(void **state) {
    (void)state;
    struct spool spool = {.folder = "/no/such/folder"};
    uint64_t written = 0, read = 0;
    for (int i = 0; i < 3; i++) {
        append(&spool, &written, 5 * SPOOL_MEMORY);
        while (read < written)
            take(&spool, &read, 100000);
        assert_int_equal(spool_size(&spool), 0);
        assert_true(spool.tail.capacity <= 2 * SPOOL_MEMORY);
    }
    spool_free(&spool);
}

static void a_disk_that_does_not_take_it(void **state) {
    (void)state;
    struct spool spool = {.folder = "/no/such/folder"};
    struct limoe_error err;
    uint64_t written = 0, read = 0;
    static char more[SPOOL_MEMORY];
    append(&spool, &written, 100);
    assert_int_equal(spool_append(&spool, more, sizeof more, &err), LIMOE_IO);
    assert_non_null(strstr(err.message, "/no/such/folder"));
    assert_int_equal(spool_size(&spool), 100);
    const char last = byte_at(written);
    assert_int_equal(spool_append_last(&spool, &last, 1, &err), LIMOE_OK);
    take(&spool, &read, 1000);
    assert_int_equal(read, 101);
    spool_free(&spool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_first_goes_first),
        cmocka_unit_test(a_little_needs_no_file),
        cmocka_unit_test(an_answer_larger_than_the_memory),
        cmocka_unit_test(a_disk_that_does_not_take_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
