/* classify.h - zero-shot classification around the engine: labels → prompts, embeddings → predictions.
 *
 * Two pure halves, so that the caller decides how the middle runs (a queue in the server, a plain loop in the
 * command line):
 *     classify_prompts   labels × templates → texts
 *     … prepare.h, then the engine embeds prompts and images, in as many steps as it likes …
 *     classify_labels    prompt embeddings → one vector a label
 *     classify_rank      image · labels → ordered predictions
 */
#ifndef LIMOE_SERVER_API_CLASSIFY_H
#define LIMOE_SERVER_API_CLASSIFY_H

#include "base/arena.h"
#include "limoe.h"
#include "server/api/request.h"

struct prediction {
    size_t label; /* index into the request's labels */
    float score;  /* softmax over all labels */
    float cosine;
};

/* The predictions of one image. */
struct classification {
    size_t index; /* of the image in the request */
    /* [count], by descending score; ties: cosine, then lower label index */
    const struct prediction *predictions;
    size_t count;
};

/* n_labels * n_templates; at most REQUEST_MAX_PROMPTS. */
size_t classify_prompt_count(const struct classify_request *request);

/* Fills prompts[n_labels, n_templates] (a label's templates side by side) with texts in the arena. False: no
 * memory. */
bool classify_prompts(const struct classify_request *request, struct arena *arena,
                      struct request_item *prompts);

/* prompts [n_labels, n_templates, embed] → labels [n_labels, embed], unit vectors. The two may be the same
 * memory. */
void classify_labels(const float *prompts, size_t n_labels, size_t n_templates, size_t embed, float *labels);

/* An adapter that is a probe, whose labels are the request's; its embed is the image's. */
struct classify_probe {
    const struct limoe_adapter *adapter;
    float strength; /* 0 to 1: 0 scores by the labels' cosines alone */
};

/* image [embed], labels [n_labels, embed] → *out with min(top_k, n_labels) predictions in the arena. With a probe
 * (or NULL) scores are the softmax of (1 - strength) exp(scale) cosine + strength (W image + b). False: no memory. */
bool classify_rank(const float *image, const float *labels, size_t n_labels, size_t embed,
                   const struct limoe_scoring *scoring, const struct classify_probe *probe, size_t top_k,
                   struct arena *arena, struct classification *out);
/* Memory that classify_rank takes besides, while it runs. */
size_t classify_rank_bytes(size_t n_labels);

#endif
