/* durations.c - one list, read-only. */
#include "base/durations.h"

const uint64_t durations[DURATIONS] = {
    500000,    1000000,   2500000,    5000000,    10000000,   25000000,    50000000,    100000000,
    250000000, 500000000, 1000000000, 2500000000, 5000000000, 10000000000, 30000000000,
};
