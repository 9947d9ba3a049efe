/* event.c - eight bytes written, eight bytes read. */
#include "base/event.h"

#include <stdint.h>
#include <unistd.h>

bool event_signal(int event) {
    const uint64_t one = 1;
    return write(event, &one, sizeof one) == sizeof one;
}

bool event_take(int event) {
    uint64_t count;
    return read(event, &count, sizeof count) == sizeof count;
}
