/* sharded.h - a MoE layer whose experts lie on several ranks.
 *
 * plan (rows by owner, on it by expert) -> dispatch -> counts, rows to their owners -> rows by expert ->
 * grouped linear, activation -> grouped linear -> rows to where they came from -> combine, at the origin.
 *
 * Bits. A row travels as it is, in the activations' dtype; so does an expert's answer, which one rank alone
 * would have rounded to that dtype too. What an expert makes of a row does not depend on the rows beside it,
 * and answers are weighted and summed where the row came from, in ascending expert order. So it does not
 * matter where an expert lies, nor how many ranks there are.
 *
 * What travels is the least there can be: the rows whose expert is elsewhere, once there and once back, and
 * for each expert held elsewhere a count of 4 bytes.
 *
 * If there is no memory for rows that are on their way the process ends (exchange.h), since the other ranks
 * could not be told. Whatever else fails is the exchange, for all ranks, and the next step begins anew.
 */
#ifndef LIMOE_EXPERTS_SHARDED_H
#define LIMOE_EXPERTS_SHARDED_H

#include <stddef.h>
#include <stdint.h>

#include "experts/exchange.h"
#include "experts/mlp.h"
#include "experts/placement.h"
#include "kernels/kernels.h"

struct sharded;

/* For more than one rank. Borrows k, x and p, which must outlive it. width, mlp and top_k are the model's. */
enum limoe_status sharded_create(struct kernels *k, const struct exchange *x, const struct placement *p,
                                 uint32_t width, uint32_t mlp, uint32_t top_k, struct sharded **out,
                                 struct limoe_error *err);
void sharded_destroy(struct sharded *s); /* NULL is fine */

/* Makes room for a step of `rows` rows of this rank's own, and for `assignments` that are this rank's to send, to
 * receive or to compute. A step makes it by itself; this says ahead what it takes. LIMOE_NO_MEMORY. */
enum limoe_status sharded_reserve(struct sharded *s, size_t rows, size_t assignments,
                                  struct limoe_error *err);
/* The most bytes that ranks tell each other, sent and received together, of how many rows travel in a layer. */
size_t sharded_counts_bytes(const struct sharded *s);

/* This rank's part of a step, as its gate left it. A rank without rows takes part all the same. */
struct sharded_rows {
    const void *h;         /* act [rows, width] */
    const int32_t *expert; /* [rows, top_k] */
    const float *gate;     /* [rows, top_k] */
    const uint32_t *start; /* host [sequences + 1]: rows of sequence i are start[i] .. start[i+1] - 1 */
    size_t sequences, rows;
};

/* What a layer's exchange took, for this rank. */
struct sharded_traffic {
    uint64_t rows, bytes, ns; /* rows sent for their experts; bytes sent in all; time in the exchange */
};

/* x[r] += sum over r's experts e of gate * fc2_e(activation(fc1_e(h[r]))), as experts_forward. fc1 and fc2
 * hold this rank's experts of the layer, ascending, or are NULL where it has none. Collective. Fails as an
 * exchange does, and then x is not to be used. */
enum limoe_status sharded_forward(struct sharded *s, uint32_t layer, const struct experts *experts,
                                  const struct sharded_rows *rows, float *x, struct sharded_traffic *traffic,
                                  struct limoe_error *err);

#endif
