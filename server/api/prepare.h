/* prepare.h - request items → engine items: pictures decoded, texts tokenised.
 *
 * The costly part of reading a request, so it runs after admission. Any thread; the processor is shared.
 */
#ifndef LIMOE_SERVER_API_PREPARE_H
#define LIMOE_SERVER_API_PREPARE_H

#include "base/arena.h"
#include "limoe.h"
#include "server/api/api_error.h"
#include "server/api/request.h"

/* Tokens embedded on a request's behalf. */
struct usage {
    uint64_t prompt_tokens; /* of texts and prompts, EOS included */
    uint64_t image_tokens;  /* patches */
};

/* One item; its pixels or token ids go to the arena. Adds its tokens to *usage. On failure *error names the
 * item's param. */
bool prepare_item(const struct limoe_processor *processor, const struct request_item *item,
                  struct arena *arena, struct limoe_item *out, struct usage *usage, struct api_error *error);

/* items[n] → out[n]; stops at the first that fails. */
bool prepare_items(const struct limoe_processor *processor, const struct request_item *items, size_t n,
                   struct arena *arena, struct limoe_item *out, struct usage *usage, struct api_error *error);

#endif
