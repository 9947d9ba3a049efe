/* plan.h - the dispatch plan's memory, and how many assignments each expert got.
 *
 * The plan itself (struct kernels_plan: counts, prefix sums, a stable permutation, experts ascending) is made
 * by kernels.h's `plan`, where the activations are.
 */
#ifndef LIMOE_ROUTER_PLAN_H
#define LIMOE_ROUTER_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* Allocates a plan for up to `rows` rows; LIMOE_NO_MEMORY leaves *plan empty. */
enum limoe_status plan_alloc(struct kernels *k, size_t rows, uint32_t experts, uint32_t top_k,
                             struct kernels_plan *plan, struct limoe_error *err);
void plan_release(struct kernels *k, struct kernels_plan *plan); /* an empty plan is fine */

/* Adds n assignments to their experts' load; expert [n] in host memory, negative where dropped. */
void plan_count(const int32_t *expert, size_t n, uint64_t *load);

#endif
