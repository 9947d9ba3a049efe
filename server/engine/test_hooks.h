/* test_hooks.h - inputs that break an engine, for tests of what becomes of their neighbours. Only in a build
 * with -Dtest_hooks=true; in any other there is nothing here to be called.
 *
 * Environment of the engine:
 *     LIMOE_TEST_CRASH_TEXT="1,2,3"    a text of exactly these token ids aborts the process
 *     LIMOE_TEST_HANG_TEXT="1,2,3"     … makes it sleep for ever
 *     LIMOE_TEST_CRASH_PIXEL="1,2,3"   an image whose first pixel has this colour aborts the process
 */
#ifndef LIMOE_SERVER_ENGINE_TEST_HOOKS_H
#define LIMOE_SERVER_ENGINE_TEST_HOOKS_H

#include <stddef.h>

#include "limoe.h"

#ifdef LIMOE_TEST_HOOKS
/* Before the items are computed. */
void test_hooks_step(const struct limoe_item *items, size_t n);
#else
#define test_hooks_step(items, n) ((void)0)
#endif

#endif
