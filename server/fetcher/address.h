/* address.h - which addresses a picture may be fetched from.
 *
 * A name that a request gives may resolve to anything, and to something else a moment later. So what is judged is the
 * address that a socket is about to be connected to, not the name: only addresses of the public Internet, and those of
 * the networks that the operator names. No state, any thread.
 */
#ifndef LIMOE_SERVER_FETCHER_ADDRESS_H
#define LIMOE_SERVER_FETCHER_ADDRESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "limoe.h"

#define ADDRESS_MOST_NETWORKS 64

struct address_network {
    int family;         /* AF_INET: 4 bytes count, AF_INET6: 16 */
    unsigned bits;      /* of the prefix */
    uint8_t prefix[16]; /* in network order; bits after the prefix are 0 */
};

struct address_networks {
    size_t n;
    struct address_network list[ADDRESS_MOST_NETWORKS];
};

/* Reads "127.0.0.0/8,fd00::/8"; an address alone is a network of one. `option` names the list in messages.
 * LIMOE_INVALID: it is none, it is empty, or a network has bits after its prefix (a slip that would allow more than was
 * meant). */
enum limoe_status address_read_networks(const char *list, const char *option, struct address_networks *out,
                                        struct limoe_error *err);

/* NULL: a socket may be connected to this address. Else what it is, for a message ("a loopback address"). An IPv4
 * address inside an IPv6 one (mapped, NAT64, 6to4) is refused as that, whatever it is, unless the IPv6 network is in
 * `allowed`. Families other than IPv4 and IPv6, and addresses cut short, are refused. */
const char *address_refusal(const struct sockaddr *address, socklen_t size,
                            const struct address_networks *allowed);

#endif
