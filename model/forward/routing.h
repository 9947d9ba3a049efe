/* routing.h - a step's routing decisions, brought to the host and handed to who asked for them.
 *
 * The decisions of all layers stay where they were made until the step is over, and are read at once then: a
 * backend that runs beside the host is not made to wait layer by layer. In parity mode (capacity.h) they are
 * brought over layer by layer all the same, because the host drops what is over capacity.
 */
#ifndef LIMOE_MODEL_FORWARD_ROUTING_H
#define LIMOE_MODEL_FORWARD_ROUTING_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/forward/step.h"
#include "model/forward/workspace.h"

/* Where one call's routing goes; `rows` are the call's. */
struct routing_sink {
    const struct limoe_routing *to; /* NULL: not asked for */
    size_t rows;
};

/* The parity mode, for one layer of `rows` rows: gates of dropped assignments become 0 and their experts, in
 * the backend's memory, negative. */
enum limoe_status routing_limit(const struct config *config, struct kernels *k, struct workspace *work,
                                size_t layer, size_t rows, struct limoe_error *err);

/* Rows that have passed MoE layers together, and what is to be told of them. */
struct routing_rows {
    const struct pack *pack;
    const uint32_t *place; /* by the step's sequences: which of pack; NULL: pack has all of them */
    const struct step_output *output;
    size_t outputs;
    size_t first, layers; /* which layers, of all */
};

/* Reports them, and waits for the backend. */
void routing_report(const struct config *config, struct kernels *k, struct workspace *work,
                    const struct routing_rows *rows, const struct routing_sink *sink);

/* Reports that the step's outputs have not passed the layers of the other modality's tower. */
void routing_report_absent(const struct config *config, const struct step *step,
                           const struct routing_sink *sink);

#endif
