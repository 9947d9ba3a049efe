/* schedule.h - the optimizer's step of a run: five steps of warm-up, since the scale makes the first losses steep, then half
 * a cosine that would be down to nothing a step after the last. */
#ifndef LIMOE_MODEL_TUNING_SCHEDULE_H
#define LIMOE_MODEL_TUNING_SCHEDULE_H

#include <stdint.h>

#include "kernels/optimizer.h"

/* Of step 1 .. steps. */
static inline struct adamw schedule_adamw(uint64_t step, uint64_t steps, double peak, double decay) {
    enum { WARM = 6 }; /* the first step at the peak */
    const uint64_t end = steps + 1 < WARM ? WARM : steps + 1;
    return (struct adamw){.rate = cosine_rate(step, end, WARM, peak, 0),
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .decay = decay,
                          .step = step};
}

#endif
