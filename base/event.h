/* event.h - an eventfd as a flag between threads: one thread signals it, another's poll sees it, and takes
 * it. */
#ifndef LIMOE_BASE_EVENT_H
#define LIMOE_BASE_EVENT_H

#include <stdbool.h>

/* Makes it readable; any number of signals are taken at once. The result can be ignored: an eventfd refuses
 * only when it is readable already, which is all that is wanted. */
bool event_signal(int event);

/* True if it was signalled, which it then is no more. The descriptor is non-blocking. */
bool event_take(int event);

#endif
