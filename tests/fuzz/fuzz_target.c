/* fuzz_target.c - any bytes as a picture's URL, and as the operator's lists of hosts and networks.
 *
 * A URL that is taken and put together again is the same one: whoever fetches it reads what was judged. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/fetcher/address.h"
#include "server/fetcher/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void read_again(const struct target *target) {
    char url[FETCH_URL_MOST + TARGET_HOST_SIZE + 32];
    struct target again;
    struct limoe_error err;
    const bool v6 = strchr(target->host, ':');
    snprintf(url, sizeof url, "%s://%s%s%s:%" PRIu16 "%.*s", target->http ? "http" : "https", v6 ? "[" : "",
             target->host, v6 ? "]" : "", target->port, (int)target->path.size, target->path.data);
    if (strlen(url) > FETCH_URL_MOST) /* by the port that it did not have */
        return;
    require(target_read(text_of(url), &again, &err) == LIMOE_OK);
    require(again.http == target->http && again.port == target->port);
    require(strcmp(again.host, target->host) == 0 && text_equal(again.path, target->path));
}

static void try_url(const uint8_t *data, size_t size) {
    struct target target;
    struct limoe_error err;
    if (target_read((struct text){.data = (const char *)data, .size = size}, &target, &err) != LIMOE_OK) {
        require(*err.message);
        return;
    }
    require(target.port && *target.host && !strpbrk(target.host, "@/?#\\%[]"));
    require(target.path.size == 0 || *target.path.data == '/' || *target.path.data == '?');
    read_again(&target);
}

static void try_lists(const char *list) {
    static struct target_rules rules;
    struct address_networks networks;
    struct limoe_error err;
    if (target_read_rules(list, "image-hosts", &rules, &err) == LIMOE_OK)
        for (size_t i = 0; i < rules.n; i++)
            require(target_is_allowed(&rules.list[i].target, &rules) || rules.list[i].below);
    if (address_read_networks(list, "image-networks", &networks, &err) == LIMOE_OK)
        require(networks.n >= 1 && networks.n <= ADDRESS_MOST_NETWORKS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *list = malloc(size + 1);
    require(list);
    if (size)
        memcpy(list, data, size);
    list[size] = '\0';
    try_url(data, size);
    try_lists(list);
    free(list);
    return 0;
}
