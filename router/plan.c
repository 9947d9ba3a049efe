/* plan.c - memory of a plan. The caller owns the plan; runs on the caller's thread. */
#include "router/plan.h"

#include "base/error.h"

enum limoe_status plan_alloc(struct kernels *k, size_t rows, uint32_t experts, uint32_t top_k,
                             struct kernels_plan *plan, struct limoe_error *err) {
    const size_t assignments = rows * top_k;
    plan->offset = k->ops->alloc(k, (experts + 1) * sizeof *plan->offset);
    plan->source = k->ops->alloc(k, assignments * sizeof *plan->source);
    plan->slot = k->ops->alloc(k, assignments * sizeof *plan->slot);
    if (plan->offset && plan->source && plan->slot)
        return LIMOE_OK;
    plan_release(k, plan);
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a dispatch plan of %zu assignments", assignments);
}

void plan_release(struct kernels *k, struct kernels_plan *plan) {
    k->ops->release(k, plan->slot);
    k->ops->release(k, plan->source);
    k->ops->release(k, plan->offset);
    *plan = (struct kernels_plan){0};
}

void plan_count(const int32_t *expert, size_t n, uint64_t *load) {
    for (size_t a = 0; a < n; a++)
        if (expert[a] >= 0)
            load[expert[a]]++;
}
