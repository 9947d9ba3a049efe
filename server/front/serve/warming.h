/* warming.h - stored classifiers made ready for a model before it is used.
 *
 * A classifier's matrix belongs to one model. Without this, the first requests after a reload would each
 * embed all prompts of the classifier they name, at the same time. A thread of its own goes through the
 * store and embeds what is missing, a part at a time, by the queue that everybody uses.
 */
#ifndef LIMOE_SERVER_FRONT_SERVE_WARMING_H
#define LIMOE_SERVER_FRONT_SERVE_WARMING_H

#include "limoe.h"
#include "server/front/generation.h"
#include "server/front/observe/log.h"
#include "server/front/store/classifiers.h"

struct warming;

/* Starts for a generation whose engine answers, and holds a reference until warming_stop. done_event, an
 * eventfd, is written when all is made, or could not be, which the log says; what is missing is then made
 * on demand. */
enum limoe_status warming_start(struct generation *generation, struct classifiers *store, struct log *log,
                                int done_event, struct warming **out, struct limoe_error *err);
/* Stops it, finished or not. NULL is fine. */
void warming_stop(struct warming *warming);

#endif
