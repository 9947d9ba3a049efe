/* limoe_shortlist.h - beside limoe.h: the highest of many cosines, without computing all.
 *
 * Rows are kept in 8 bits besides, with a bound on what that leaves out, and only those that may be among the highest are
 * multiplied in full. So cosines are limoe_scores', to the bit, and the choice is, too. Any thread may look for some.
 */
#ifndef LIMOE_SHORTLIST_H
#define LIMOE_SHORTLIST_H

#include "limoe.h"

#ifdef __cplusplus
extern "C" {
#endif

struct limoe_shortlist;

/* rows [n, embed] outlive it. */
enum limoe_status limoe_shortlist_new(const float *rows, size_t n, size_t embed, struct limoe_shortlist **out,
                                      struct limoe_error *err);
void limoe_shortlist_free(struct limoe_shortlist *list); /* NULL is fine */
/* Memory that one takes. */
size_t limoe_shortlist_bytes(size_t n, size_t embed);
/* The k rows whose cosines with image [embed] are the highest, in their order; of equal ones that of the lower index:
 * index [k], cosine [k]. *found: k, or as many as there are, of which those are none whose cosine is no number. LIMOE_NO_MEMORY: while it runs it takes 4 bytes a row. */
enum limoe_status limoe_shortlist_find(const struct limoe_shortlist *list, const float *image, size_t k,
                                       size_t *index, float *cosine, size_t *found, struct limoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
