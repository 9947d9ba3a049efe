/* pace.c - a state and two times. */
#include "server/front/training/pace.h"

bool pace_step(struct pace *pace, int64_t now, bool requests) {
    const bool stopped = pace->stopped;
    if (requests)
        pace->calm = now + PACE_CALM;
    if (now >= pace->calm) {
        pace->stopped = false;
        pace->change = 0;
    } else if (now >= pace->change) {
        pace->stopped = !stopped;
        pace->change = now + (pace->stopped ? PACE_OFF : PACE_ON);
    }
    return pace->stopped != stopped;
}
