/* test_arena.c - protects alignment, separateness and the bounds of the memory pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

static void allocations_are_aligned_and_apart(void **state) {
    (void)state;
    enum { N = 3000 };
    static unsigned char *pieces[N];
    static size_t sizes[N];
    struct arena *arena = arena_new();
    assert_non_null(arena);
    for (size_t i = 0; i < N; i++) {
        sizes[i] = i % 97 == 0 ? 5000 * (i % 7) : i % 61; /* small ones between large ones */
        pieces[i] = arena_alloc(arena, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)(i & 0xFF), sizes[i]);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], i & 0xFF);
    assert_true(arena_size(arena) > 0);
    arena_free(arena);
}

static void arrays_are_zeroed_and_do_not_overflow(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    memset(arena_alloc(arena, 100), 0xFF, 100);
    const uint32_t *array = arena_array(arena, 1000, sizeof *array);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(array[i], 0);
    assert_null(arena_array(arena, SIZE_MAX / 2, 3));
    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_null(arena_alloc(arena, SIZE_MAX - 64));
    arena_free(arena);
}

static void texts_are_copied_with_their_end(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    assert_string_equal(arena_copy(arena, "catalogue", 3), "cat");
    assert_string_equal(arena_copy(arena, NULL, 0), "");
    assert_string_equal(arena_print(arena, "input[%d].%s", 12, "image"), "input[12].image");
    arena_free(arena);
    arena_free(NULL);
}

struct purse {
    size_t left, taken, asked;
};

static bool pay(void *context, size_t bytes) {
    struct purse *purse = context;
    purse->asked++;
    if (bytes > purse->left)
        return false;
    purse->left -= bytes;
    purse->taken += bytes;
    return true;
}

/* W5: what an arena takes is charged before it has it, all of it, and what is not granted is not there. */
static void w5_what_it_takes_is_charged(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    struct purse purse = {.left = 3 << 20};
    arena_alloc(arena, 100);
    const size_t before = arena_size(arena);
    arena_set_meter(arena, pay, &purse);
    size_t n = 0;
    while (n < 1000000 && arena_array(arena, 1, 40 + n % 100))
        n++;
    assert_true(n > 10000 && n < 1000000);
    assert_true(purse.asked < 100); /* by the chunk, not by the piece */
    assert_int_equal(arena_size(arena) - before, purse.taken);
    assert_null(arena_alloc(arena, 8 << 20));
    arena_set_meter(arena, NULL, NULL);
    assert_non_null(arena_alloc(arena, 8 << 20));
    arena_free(arena);
}

static void it_goes_back_to_a_mark(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    char *kept[] = {arena_copy(arena, "path", 4), arena_array(arena, 20000, 1), arena_copy(arena, "type", 4)};
    const size_t mark = arena_mark(arena), size = arena_size(arena);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 5000; i++)
            memset(arena_alloc(arena, i % 300), 0xFF, i % 300);
        memset(arena_alloc(arena, 3 << 20), 0xFF, 3 << 20);
        assert_true(arena_size(arena) > size + (3 << 20));
        arena_rewind(arena, mark);
        assert_int_equal(arena_size(arena), size);
        assert_string_equal(kept[0], "path");
        assert_int_equal(kept[1][19999], 0);
        assert_string_equal(kept[2], "type");
    }
    arena_rewind(arena, 0); /* to the beginning */
    assert_int_equal(arena_size(arena), 0);
    assert_non_null(arena_alloc(arena, 1));
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(arrays_are_zeroed_and_do_not_overflow),
        cmocka_unit_test(texts_are_copied_with_their_end),
        cmocka_unit_test(w5_what_it_takes_is_charged),
        cmocka_unit_test(it_goes_back_to_a_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
