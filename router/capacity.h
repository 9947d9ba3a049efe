/* capacity.h - bounded expert buffers, as V-MoE evaluates (arXiv 2106.05974, sections 2.1 and 4).
 *
 * The rows of a call are cut into groups. In each group an expert takes at most a fixed number of
 * assignments; one past that is dropped and adds exactly nothing to its token. So a token's answer depends on
 * its neighbours: this is a parity mode for checks against V-MoE, never the way to serve. Host memory only,
 * no state, no threads.
 */
#ifndef LIMOE_ROUTER_CAPACITY_H
#define LIMOE_ROUTER_CAPACITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct capacity {
    double factor;  /* C: 1 makes room for a perfectly even spread */
    uint32_t group; /* rows in a group; 0: all rows are one group. The last group may be shorter */
    bool priority;  /* Batch Priority Routing, else order of arrival */
    uint32_t experts, top_k;
    bool renormalize; /* divide the gates that are left by their sum */
};

/* An expert's slots for a group of `rows`: ceil(rows * K * C / E), then up to a multiple of 4. */
uint64_t capacity_slots(const struct capacity *capacity, size_t rows);

/* Fills the buffers of one group of `rows`, `slots` to an expert: every row's first choice before any second
 * choice; rows by descending first gate (ties in order of arrival) with `priority`, else in order of arrival.
 * expert and gate [rows, top_k], gates not renormalised. Where an assignment is dropped kept becomes -1 and
 * gate 0; elsewhere kept is expert. order [rows] and used [experts] are scratch. */
void capacity_fill(const struct capacity *capacity, uint64_t slots, size_t rows, const int32_t *expert,
                   float *gate, int32_t *kept, uint64_t *order, uint64_t *used);

/* The same for all groups of `rows` rows, then renormalises if asked. LIMOE_NO_MEMORY is the only failure. */
enum limoe_status capacity_apply(const struct capacity *capacity, size_t rows, const int32_t *expert,
                                 float *gate, int32_t *kept, struct limoe_error *err);

#endif
