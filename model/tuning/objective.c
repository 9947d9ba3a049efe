/* objective.c - cosines are a linear whose matrix are the classes. Owns nothing. */
#include "model/tuning/objective.h"

#include "kernels/backward.h"

void objective_gradient(struct kernels *k, const struct objective *o, float *cosine, float *loss,
                        float *dpictures, float *dclasses) {
    const struct backward_matrix classes = {
        .groups = 1, .out = o->count, .in = o->embed, .weight = o->classes, .dweight = dclasses};
    /* The router's product is float32's, of a matrix that is not packed beforehand. */
    k->ops->router_logits(k, o->pictures, o->classes, o->n, o->embed, o->count, cosine);
    k->backward->cross_entropy(k, cosine, o->label, o->n, o->count, o->scale, loss, cosine);
    k->backward->linear(k, &classes, NULL, o->pictures, cosine, o->n, dpictures);
}
