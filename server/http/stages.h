/* stages.h - the way of a call through the workers and the engine. */
#ifndef LIMOE_STAGES_H
#define LIMOE_STAGES_H

#include "http/call.h"

/* Takes over a call whose body is complete and whose connection is suspended; answers it and resumes the
 * connection. The caller must not touch the call again. */
void stages_begin(struct call *call);

#endif
