/* test_hooks.h - pictures that break their decoder on purpose. Only in builds with -Dtest_hooks=true. */
#ifndef LIMOE_SERVER_DECODER_TEST_HOOKS_H
#define LIMOE_SERVER_DECODER_TEST_HOOKS_H

#include <stddef.h>
#include <stdint.h>

/* For a picture that ends with "LIMOE-TEST", in a process whose environment has LIMOE_TEST_DECODER: "open"
 * opens a file, "socket" makes one, "crash" aborts, "hang" does not return. What the sandbox lets
 * through is undone. */
void decoder_test_hook(const uint8_t *bytes, size_t size);

#endif
