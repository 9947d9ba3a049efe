/* support.h - what the loader's tests share: directories, files and bytes to break. */
#ifndef LIMOE_TESTS_UNIT_MODEL_SUPPORT_H
#define LIMOE_TESTS_UNIT_MODEL_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* A growing run of bytes; the test frees `at`. */
struct bytes {
    uint8_t *at;
    size_t size;
};
void bytes_add(struct bytes *b, const void *data, size_t size);
void bytes_add_u32(struct bytes *b, uint32_t value); /* little-endian */
void bytes_add_u64(struct bytes *b, uint64_t value);
/* The text with its first `find` replaced; fails the test when there is none. Freed with free(). */
char *edit(const char *text, const char *find, const char *replace);

/* A fresh directory under $TMPDIR or /tmp; made in a test's set-up, removed with all that is in it in its
 * tear-down. */
int directory_setup(void **state);
int directory_teardown(void **state);
void directory_write(const char *dir, const char *name, const void *data, size_t size);

/* A safetensors file: 8 bytes of length, the header, `data_size` bytes of data,
 * each its offset modulo 251. */
struct bytes safetensors_file(const char *header, size_t data_size);
/* The tensors that a config calls for, as a header and zeros. `skip` (or NULL) is left out, `extra` (or NULL)
 * is a float32 scalar too many. */
struct config;
struct bytes checkpoint_file(const struct config *config, const char *dtype, const char *skip,
                             const char *extra);

/* Checks a failure: its status, and that its message holds `part`. */
void expect_failure(const char *label, enum limoe_status status, const struct limoe_error *err,
                    enum limoe_status expected, const char *part);

/* An edit of a config that is refused for one reason. */
struct refusal {
    const char *find, *replace;
    enum limoe_status status;
    const char *message; /* a part of it */
};
/* Each edit of `json`, and its message, which begins with the file's name. */
void expect_refused(const char *json, const char *where, const struct refusal *refusals, size_t count);
/* However `json` is cut or its bits are flipped: a config whose sizes keep their promises, or a message. */
void expect_damage_refused(const char *json, const char *where);

/* xorshift64*: fixed seeds, so that a failure repeats. */
uint32_t random_below(uint64_t *state, uint32_t n);

extern const char tiny_config[]; /* config.json of a small MoE model, all keys there but the parity mode's */

#endif
