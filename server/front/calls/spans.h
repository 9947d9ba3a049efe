/* spans.h - what a call was, for its spans. */
#ifndef LIMOE_SERVER_FRONT_CALLS_SPANS_H
#define LIMOE_SERVER_FRONT_CALLS_SPANS_H

#include "server/front/calls/call.h"

/* Hands a call that has ended to the exporter. `answered` says that the client got the whole answer. */
void spans_record(struct call *call, bool answered);

#endif
