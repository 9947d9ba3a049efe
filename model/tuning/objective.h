/* objective.h - what training lowers: the cross-entropy of pictures against classes, by exp(s) cosines.
 *
 * For a tail both are its unit vectors, classes those of their texts; for a probe classes alone are trained. A pure
 * function of its arguments; the same bits at any number of threads. */
#ifndef LIMOE_MODEL_TUNING_OBJECTIVE_H
#define LIMOE_MODEL_TUNING_OBJECTIVE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

struct objective {
    const float *pictures; /* [n, embed], unit vectors */
    const float *classes;  /* [count, embed], likewise */
    const uint32_t *label; /* [n], below count */
    size_t n;
    uint32_t count, embed;
    float scale; /* exp(s) */
};

/* loss [n]; of its mean dpictures [n, embed] =, dclasses [count, embed] +=, either of which may be NULL. cosine [n, count]
 * is scratch, and its gradient in the end. k has gradients. */
void objective_gradient(struct kernels *k, const struct objective *o, float *cosine, float *loss,
                        float *dpictures, float *dclasses);

#endif
