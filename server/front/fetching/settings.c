/* settings.c - the lists are read here as the fetcher will read them, so that a slip is found at the start. */
#include "server/front/fetching/settings.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "server/fetcher/address.h"
#include "server/fetcher/target.h"

static enum limoe_status check_size(const char *list, const char *option, struct limoe_error *err) {
    if (strlen(list) < FETCH_LIST_SIZE)
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_INVALID, "%s has %zu bytes; up to %d are accepted", option, strlen(list),
                      FETCH_LIST_SIZE - 1);
}

enum limoe_status fetching_check(const struct fetching_options *options, struct limoe_error *err) {
    struct target_rules rules;
    struct address_networks networks;
    if (!options->hosts && options->networks)
        return limoe_fail(err, LIMOE_INVALID,
                          "image-networks is set and image-hosts is not; accepted: with the hosts that "
                          "pictures are fetched from");
    if (!options->hosts)
        return LIMOE_OK;
    enum limoe_status status = check_size(options->hosts, "image-hosts", err);
    if (status == LIMOE_OK)
        status = target_read_rules(options->hosts, "image-hosts", &rules, err);
    if (status == LIMOE_OK && options->networks)
        status = check_size(options->networks, "image-networks", err);
    if (status == LIMOE_OK && options->networks)
        status = address_read_networks(options->networks, "image-networks", &networks, err);
    return status;
}

void fetching_settings(const struct fetching_options *options, struct fetch_settings *settings) {
    *settings = (struct fetch_settings){.most_bytes = options->bytes};
    snprintf(settings->hosts, sizeof settings->hosts, "%s", options->hosts);
    snprintf(settings->networks, sizeof settings->networks, "%s", options->networks ? options->networks : "");
}
