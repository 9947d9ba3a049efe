/* test_hooks.c - reads the environment at each step, which only a build for tests can afford. */
#include "server/engine/test_hooks.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* Does the variable's list hold exactly these values? */
static bool listed(const char *variable, const int32_t *values, size_t n) {
    const char *at = getenv(variable);
    if (!at || !*at)
        return false;
    for (size_t i = 0; i < n; i++) {
        char *end;
        if (strtol(at, &end, 10) != values[i] || end == at || *end != (i + 1 < n ? ',' : '\0'))
            return false;
        at = end + 1;
    }
    return true;
}

void test_hooks_step(const struct limoe_item *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct limoe_item *item = &items[i];
        if (item->modality == LIMOE_TEXT) {
            if (listed("LIMOE_TEST_CRASH_TEXT", item->tokens, item->length))
                abort();
            while (listed("LIMOE_TEST_HANG_TEXT", item->tokens, item->length))
                pause();
        } else {
            const int32_t pixel[] = {item->pixels[0], item->pixels[1], item->pixels[2]};
            if (listed("LIMOE_TEST_CRASH_PIXEL", pixel, 3))
                abort();
        }
    }
}
