/* event.h - an eventfd as a flag between threads: somebody signals it, somebody's poll sees it,
 * and takes it. */
#ifndef LIMOE_BASE_EVENT_H
#define LIMOE_BASE_EVENT_H

#include <stdbool.h>

/* Makes it readable; any number of signals are taken at once. False means little: an eventfd refuses only
 * when it is readable already, which is all that is wanted. */
bool event_signal(int event);

/* True: it was signalled, and is not any more. The descriptor is non-blocking. */
bool event_take(int event);

#endif
