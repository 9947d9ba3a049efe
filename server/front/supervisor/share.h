/* share.h - which rank computes which of a step's items. A pure function. */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_SHARE_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_SHARE_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* Sets rank[i] for each of items[n], so that the ranks' tokens are as equal as whole sequences allow: the
 * longest item first, each to whoever has the fewest tokens so far, equals in order. The busiest rank has at
 * most the mean and one item more. tokens[ranks]: what each gets; 0 for some, where items are few.
 * keys[n] is scratch. */
void share_items(const struct limoe_item *items, size_t n, uint32_t ranks, uint64_t *keys, uint32_t *rank,
                 uint64_t *tokens);

#endif
