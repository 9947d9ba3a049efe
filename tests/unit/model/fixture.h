/* fixture.h - small random models and items, made on the spot. */
#ifndef LIMOE_TESTS_UNIT_MODEL_FIXTURE_H
#define LIMOE_TESTS_UNIT_MODEL_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "limoe.h"

/* A temporary model directory: config.json and a float32 checkpoint of random weights. */
struct fixture {
    char dir[64];
};

/* Writes `config` and weights drawn from `seed`; element `poison_at` of tensor `poison` (NULL: none) becomes
 * NaN. Fails the running test if it cannot. */
void fixture_create(struct fixture *fixture, const char *config, uint64_t seed, const char *poison,
                    size_t poison_at);
void fixture_remove(struct fixture *fixture);

/* Opens it on the reference kernels; fails the running test if it cannot. */
struct limoe_model *fixture_open(const struct fixture *fixture, enum limoe_dtype dtype);

/* xorshift64*: [0, n) */
uint32_t fixture_random(uint64_t *state, uint32_t n);

/* n items, images and texts at random, texts of `shortest` tokens or more, drawn from `seed`; free with
 * fixture_items_free. */
struct limoe_item *fixture_items(const struct limoe_info *info, uint32_t shortest, size_t n, uint64_t seed);
void fixture_items_free(struct limoe_item *items, size_t n);

#endif
