/* shelf.h - the classifiers kept in memory, bounded in bytes; what was used least recently goes first.
 *
 * Each is known to be what the file held in one of its versions (database.h). Its lock is held for a walk
 * along a chain, or along the whole list when this server has changed the file; never over the disk. Any
 * thread.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_SHELF_H
#define LIMOE_SERVER_FRONT_STORE_SHELF_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "server/front/store/job.h"

struct shelf;

enum limoe_status shelf_new(size_t bytes, size_t expected, struct shelf **out, struct limoe_error *err);
void shelf_free(struct shelf *shelf); /* NULL is fine; what was given out stays */

/* With a reference for the caller, and the version in which it was right; NULL: not here. */
const struct classifier *shelf_find(struct shelf *shelf, struct text name,
                                    const struct classifier_model *model, int64_t *version);
/* Keeps a classifier, instead of what is there for the same name and model. One that is larger than the
 * whole shelf is not kept. The caller's reference stays the caller's. */
void shelf_keep(struct shelf *shelf, const struct classifier *classifier, int64_t version);
/* Notes that what shelf_find gave is right in this version, too. */
void shelf_confirm(struct shelf *shelf, const struct classifier *classifier, int64_t version);
void shelf_forget(struct shelf *shelf, struct text name);
/* Notes that this server has made version + 1 of `version` by changing the classifier of this name alone. */
void shelf_changed(struct shelf *shelf, struct text name, int64_t version);

#endif
