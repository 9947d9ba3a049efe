/* inspect_compare.h - limoe inspect --compare: how far a model's vectors in one dtype are from those in another. */
#ifndef LIMOE_SERVER_COMMANDS_INSPECT_COMPARE_H
#define LIMOE_SERVER_COMMANDS_INSPECT_COMPARE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "limoe.h"
#include "server/api/answer.h"

/* Opens the model in both dtypes, one after the other, and embeds pictures that are drawn here and texts that are
 * composed here, the same each time. options.dtype is compared with `beside`. False: complained. */
bool inspect_compare(const char *dir, const struct limoe_options *options, enum limoe_dtype beside,
                     struct arena *arena, struct answer_comparison *out);

/* The table for people. False: no memory. */
bool inspect_compare_print(const struct answer_comparison *comparison, struct arena *arena,
                           struct buffer *out);

#endif
