/* settings.h - what pictures are fetched by, checked. No state. */
#ifndef LIMOE_SERVER_FRONT_FETCHING_SETTINGS_H
#define LIMOE_SERVER_FRONT_FETCHING_SETTINGS_H

#include <stdint.h>

#include "limoe.h"
#include "server/protocol/fetch_wire.h"

/* Strings are C strings, or NULL: not said. */
struct fetching_options {
    const char *hosts;    /* as target_read_rules reads them; NULL: nothing is fetched */
    const char *networks; /* as address_read_networks does */
    uint64_t bytes;       /* the most of one picture */
    unsigned seconds;     /* for one picture, from its asking */
    unsigned fetches;     /* the most at a time */
};

/* LIMOE_INVALID names the option, what was found and what is accepted. */
enum limoe_status fetching_check(const struct fetching_options *options, struct limoe_error *err);

/* For the fetcher. The options were checked. */
void fetching_settings(const struct fetching_options *options, struct fetch_settings *settings);

#endif
