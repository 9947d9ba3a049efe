/* warming.h - stored classifiers and vocabularies made ready for a model before it is used.
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
#include "server/front/vocabularies/vocabularies.h"

struct warming;

struct warming_options {
    struct generation *generation; /* whose engine answers; a reference is held until warming_stop */
    /* Only classifiers that have a matrix of this one are made ready; NULL: all. Read by warming_start. */
    const struct generation *instead_of;
    struct classifiers *store;
    struct vocabularies *vocabularies; /* all are made ready; NULL: none is */
    struct log *log;
    /* An eventfd, written when all is made; or could not be, which the log says: what is missing is then made
     * on demand. */
    int done_event;
};

enum limoe_status warming_start(const struct warming_options *options, struct warming **out,
                                struct limoe_error *err);
/* Ends it, wherever it is. NULL is fine. */
void warming_stop(struct warming *warming);

#endif
