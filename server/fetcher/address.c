/* address.c - prefixes, by the registries of IANA (RFC 6890 and its updates):
 * https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry, read as of 2025, with
 * multicast (RFC 5771, RFC 4291) and what clouds keep for themselves inside public space. */
#include "server/fetcher/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

struct range {
    uint8_t prefix[16];
    unsigned bits;
    const char *what;
};

static const struct range special_v4[] = {
    {{0}, 8, "an address of this network"},                           /* RFC 791; connects to this host */
    {{10}, 8, "a private address"},                                   /* RFC 1918 */
    {{100, 64}, 10, "a carrier's shared address"},                    /* RFC 6598 */
    {{127}, 8, "a loopback address"},                                 /* RFC 1122 */
    {{168, 63, 129, 16}, 32, "an address of a cloud's own services"}, /* Azure's, in public space */
    {{169, 254}, 16, "a link-local address"},                         /* RFC 3927; clouds' metadata */
    {{172, 16}, 12, "a private address"},                             /* RFC 1918 */
    {{192, 0, 0}, 24, "an address for protocols"},                    /* RFC 6890 */
    {{192, 0, 2}, 24, "an address for documentation"},                /* RFC 5737 */
    {{192, 88, 99}, 24, "a 6to4 relay"},                              /* RFC 7526 */
    {{192, 168}, 16, "a private address"},                            /* RFC 1918 */
    {{198, 18}, 15, "an address for benchmarks"},                     /* RFC 2544 */
    {{198, 51, 100}, 24, "an address for documentation"},             /* RFC 5737 */
    {{203, 0, 113}, 24, "an address for documentation"},              /* RFC 5737 */
    {{224}, 4, "a multicast address"},                                /* RFC 5771 */
    {{240}, 4, "a reserved address"},                                 /* RFC 1112; 255.255.255.255 too */
};

/* The longer prefix first where one lies within another. */
static const struct range special_v6[] = {
    {{[15] = 1}, 128, "a loopback address"},                        /* RFC 4291 */
    {{0}, 128, "the unspecified address"},                          /* RFC 4291; connects to this host */
    {{[10] = 0xff, 0xff}, 96, "an IPv4 address mapped into IPv6"},  /* RFC 4291 */
    {{0}, 96, "an IPv4 address inside IPv6"},                       /* RFC 4291, deprecated */
    {{0x00, 0x64, 0xff, 0x9b}, 96, "a NAT64 address"},              /* RFC 6052 */
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, "a NAT64 address"},  /* RFC 8215 */
    {{0x01}, 64, "a discard-only address"},                         /* RFC 6666 */
    {{0x20, 0x01}, 32, "a Teredo address"},                         /* RFC 4380 */
    {{0x20, 0x01, 0x00}, 23, "an address for protocols"},           /* RFC 2928 */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "an address for documentation"}, /* RFC 3849 */
    {{0x20, 0x02}, 16, "a 6to4 address"},                           /* RFC 3056 */
    {{0x3f, 0xff}, 20, "an address for documentation"},             /* RFC 9637 */
    {{0x5f, 0x00}, 16, "a segment routing identifier"},             /* RFC 9602 */
    {{0xfc}, 7, "a private address"},                               /* RFC 4193 */
    {{0xfe, 0x80}, 10, "a link-local address"},                     /* RFC 4291 */
    {{0xfe, 0xc0}, 10, "a private address"},                        /* RFC 3879, deprecated */
    {{0xff}, 8, "a multicast address"},                             /* RFC 4291 */
};

/* All of IPv6 that is given out so far (RFC 4291, 2.4): what lies outside is refused even if no row names it. */
static const struct range global_v6 = {{0x20}, 3, "an address outside of the public Internet"};

static bool is_within(const uint8_t *address, const uint8_t *prefix, unsigned bits) {
    const unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(address, prefix, whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ prefix[whole]) >> (8 - rest)) == 0;
}

static const char *find_special(const uint8_t *address, const struct range *ranges, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (is_within(address, ranges[i].prefix, ranges[i].bits))
            return ranges[i].what;
    return NULL;
}

static bool is_allowed(const struct address_networks *networks, int family, const uint8_t *address) {
    for (size_t i = 0; i < networks->n; i++) {
        const struct address_network *network = &networks->list[i];
        if (network->family == family && is_within(address, network->prefix, network->bits))
            return true;
    }
    return false;
}

static const char *refuse_v4(const uint8_t address[4], const struct address_networks *allowed) {
    if (is_allowed(allowed, AF_INET, address))
        return NULL;
    return find_special(address, special_v4, sizeof special_v4 / sizeof *special_v4);
}

static const char *refuse_v6(const uint8_t address[16], const struct address_networks *allowed) {
    if (is_allowed(allowed, AF_INET6, address))
        return NULL;
    const char *what = find_special(address, special_v6, sizeof special_v6 / sizeof *special_v6);
    return what || is_within(address, global_v6.prefix, global_v6.bits) ? what : global_v6.what;
}

const char *address_refusal(const struct sockaddr *address, socklen_t size,
                            const struct address_networks *allowed) {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (size >= sizeof address->sa_family && address->sa_family == AF_INET && size >= sizeof v4) {
        memcpy(&v4, address, sizeof v4); /* whatever alignment it has */
        return refuse_v4((const uint8_t *)&v4.sin_addr, allowed);
    }
    if (size >= sizeof address->sa_family && address->sa_family == AF_INET6 && size >= sizeof v6) {
        memcpy(&v6, address, sizeof v6);
        return refuse_v6(v6.sin6_addr.s6_addr, allowed);
    }
    return "no address of IPv4 or IPv6";
}

/* ---- the operator's networks */

/* "8" → 8; UINT32_MAX: no number, or more than `most`. */
static unsigned read_bits(struct text digits, unsigned most) {
    unsigned bits = 0;
    if (digits.size == 0 || digits.size > 3)
        return UINT32_MAX;
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return UINT32_MAX;
        bits = bits * 10 + (unsigned)(digits.data[i] - '0');
    }
    return bits <= most ? bits : UINT32_MAX;
}

static bool is_clean(const struct address_network *network, unsigned width) {
    for (unsigned bit = network->bits; bit < width; bit++)
        if (network->prefix[bit / 8] & (0x80u >> (bit % 8)))
            return false;
    return true;
}

static bool read_network(struct text entry, struct address_network *out) {
    char address[INET6_ADDRSTRLEN];
    const char *slash = memchr(entry.data, '/', entry.size);
    const size_t length = slash ? (size_t)(slash - entry.data) : entry.size;
    if (length == 0 || length >= sizeof address)
        return false;
    memcpy(address, entry.data, length);
    address[length] = '\0';
    *out = (struct address_network){.family = memchr(address, ':', length) ? AF_INET6 : AF_INET};
    const unsigned width = out->family == AF_INET ? 32 : 128;
    if (inet_pton(out->family, address, out->prefix) != 1)
        return false;
    out->bits =
        slash ? read_bits((struct text){.data = slash + 1, .size = entry.size - length - 1}, width) : width;
    return out->bits <= width && is_clean(out, width);
}

enum limoe_status address_read_networks(const char *list, const char *option, struct address_networks *out,
                                        struct limoe_error *err) {
    struct text rest = text_of(list);
    const size_t n = text_comma_count(rest);
    if (n > ADDRESS_MOST_NETWORKS)
        return limoe_fail(err, LIMOE_INVALID, "%s has %zu networks; up to %d are accepted", option, n,
                          ADDRESS_MOST_NETWORKS);
    out->n = 0;
    while (out->n < n) {
        char quoted[80];
        const struct text entry = text_comma_next(&rest);
        if (!read_network(entry, &out->list[out->n]))
            return limoe_fail(err, LIMOE_INVALID,
                              "%s has \"%s\"; accepted: networks such as 127.0.0.0/8 or fd00::/8, without "
                              "bits after the prefix, divided by commas",
                              option, text_quote(entry, quoted, sizeof quoted));
        out->n++;
    }
    return LIMOE_OK;
}
