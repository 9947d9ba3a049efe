/* synthetic.h - a model directory of random weights, written piece by piece. */
#ifndef LIMOE_BENCH_SYNTHETIC_H
#define LIMOE_BENCH_SYNTHETIC_H

#include <stdint.h>

#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"

/* Writes dir/name whole; says so in *err when that fails. */
enum limoe_status synthetic_write(const char *dir, const char *name, const void *bytes, size_t size,
                                  struct limoe_error *err);

/* Writes the tensors that the config calls for as dir/model.safetensors, or, where they are more than
 * shard_bytes, as shards with their index. A tensor is not cut, so that one may make a shard larger. Values
 * follow from the seed and the tensor's name alone: shards of another size hold the same model. Memory does
 * not grow with the model. */
enum limoe_status synthetic_weights(const char *dir, const struct config *config, enum kernels_storage dtype,
                                    uint64_t seed, uint64_t shard_bytes, struct limoe_error *err);

/* Writes dir/tokenizer.model: the SentencePiece model at `path`, with unused pieces added up to `vocab`. */
enum limoe_status synthetic_tokenizer(const char *dir, const char *path, uint32_t vocab,
                                      struct limoe_error *err);

#endif
