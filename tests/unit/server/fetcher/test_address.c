/* test_address.c - protects what a fetch may be connected to: each special range by its first and last address, and
 * the addresses beside it; addresses hidden in others; the operator's networks, which open no more than they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "server/fetcher/address.h"

static const struct address_networks none = {0};

/* NULL, or why it is refused. */
static const char *refusal(const char *address, const struct address_networks *allowed) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return address_refusal((const struct sockaddr *)&v4, sizeof v4, allowed);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return address_refusal((const struct sockaddr *)&v6, sizeof v6, allowed);
}

static void special_ranges_are_refused_to_their_ends(void **state) {
    (void)state;
    static const struct {
        const char *first, *last, *what;
    } ranges[] = {
        {"0.0.0.0", "0.255.255.255", "this network"},
        {"10.0.0.0", "10.255.255.255", "private"},
        {"100.64.0.0", "100.127.255.255", "shared"},
        {"127.0.0.0", "127.255.255.255", "loopback"},
        {"168.63.129.16", "168.63.129.16", "cloud"},
        {"169.254.0.0", "169.254.255.255", "link-local"},
        {"172.16.0.0", "172.31.255.255", "private"},
        {"192.0.0.0", "192.0.0.255", "protocols"},
        {"192.0.2.0", "192.0.2.255", "documentation"},
        {"192.88.99.0", "192.88.99.255", "6to4"},
        {"192.168.0.0", "192.168.255.255", "private"},
        {"198.18.0.0", "198.19.255.255", "benchmarks"},
        {"198.51.100.0", "198.51.100.255", "documentation"},
        {"203.0.113.0", "203.0.113.255", "documentation"},
        {"224.0.0.0", "239.255.255.255", "multicast"},
        {"240.0.0.0", "255.255.255.255", "reserved"},
        {"::", "::", "unspecified"},
        {"::1", "::1", "loopback"},
        {"::2", "::ffff:ffff", "inside IPv6"},
        {"::ffff:0:0", "::ffff:ffff:ffff", "mapped"},
        {"64:ff9b::", "64:ff9b::ffff:ffff", "NAT64"},
        {"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "NAT64"},
        {"100::", "100::ffff:ffff:ffff:ffff", "discard"},
        {"2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"},
        {"2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "protocols"},
        {"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"},
        {"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"},
        {"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"},
        {"5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment"},
        {"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"},
        {"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"},
        {"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"},
        {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const char *const ends[] = {ranges[i].first, ranges[i].last};
        for (int end = 0; end < 2; end++) {
            const char *what = refusal(ends[end], &none);
            if (!what || !strstr(what, ranges[i].what))
                fail_msg("%s: %s, not %s", ends[end], what ? what : "taken", ranges[i].what);
        }
    }
}

static void addresses_beside_them_are_taken(void **state) {
    (void)state;
    static const char *const taken[] = {
        "1.0.0.0",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",  "100.128.0.0",
        "126.255.255.255", "128.0.0.0",       "168.63.129.15",   "168.63.129.17",   "169.253.255.255",
        "169.255.0.0",     "172.15.255.255",  "172.32.0.0",      "191.255.255.255", "192.0.1.0",
        "192.0.3.0",       "192.88.98.255",   "192.88.100.0",    "192.167.255.255", "192.169.0.0",
        "198.17.255.255",  "198.20.0.0",      "198.51.99.255",   "198.51.101.0",    "203.0.112.255",
        "203.0.114.0",     "223.255.255.255", "2000::",          "2001:200::",      "2001:db7:ffff::",
        "2001:db9::",      "2003::",          "2606:4700::1111", "3ffe:ffff::",     "3fff:1000::",
    };
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        const char *what = refusal(taken[i], &none);
        if (what)
            fail_msg("%s: %s", taken[i], what);
    }
}

static void what_no_registry_names_is_refused_too(void **state) {
    (void)state;
    static const char *const outside[] = {
        "0:0:0:1::1", "64:ff9c::1", "200::1", "1fff:ffff::", "4000::", "fbff::", "fe00::"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_string_equal(refusal(outside[i], &none), "an address outside of the public Internet");
}

static void an_operators_networks_open_no_more_than_they_say(void **state) {
    (void)state;
    struct address_networks networks;
    struct limoe_error err;
    assert_int_equal(
        address_read_networks("127.0.0.0/8, fd00:1::/33,10.1.2.3", "image-networks", &networks, &err),
        LIMOE_OK);
    assert_int_equal(networks.n, 3);
    static const char *const open[] = {"127.0.0.1", "127.255.255.255", "fd00:1:7fff::1", "10.1.2.3",
                                       "1.1.1.1"};
    static const char *const shut[] = {
        "10.1.2.2",        "10.1.2.4", "::ffff:127.0.0.1", "::1",           "::127.0.0.1",
        "64:ff9b::7f00:1", "7f00::1",  "2002:7f00:1::",    "fd00:1:8000::", "192.168.0.1"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        assert_null(refusal(open[i], &networks));
    for (size_t i = 0; i < sizeof shut / sizeof *shut; i++)
        assert_non_null(refusal(shut[i], &networks));
}

static void a_list_that_is_none_is_refused_with_its_entry(void **state) {
    (void)state;
    static const char *const lists[] = {
        "",           "127.0.0.0/33", "127.0.0.0/", "127.0.0.1/8", "localhost", "127.1",        "0x7f000001",
        "0177.0.0.1", "127.0.0.0/8,", "::/129",     "fd00::1/8",   "::1/-1",    "10.0.0.0/8/8", "[::1]",
        "fe80::1%lo", "10.0.0.0/0008"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct address_networks networks;
        struct limoe_error err;
        if (address_read_networks(lists[i], "image-networks", &networks, &err) != LIMOE_INVALID)
            fail_msg("\"%s\" is taken", lists[i]);
        assert_non_null(strstr(err.message, "image-networks has \""));
    }
}

static void a_list_is_bounded(void **state) {
    (void)state;
    char list[8 * (ADDRESS_MOST_NETWORKS + 1)] = "";
    struct address_networks networks;
    struct limoe_error err;
    for (int i = 0; i < ADDRESS_MOST_NETWORKS; i++)
        strcat(list, i ? ",1.1.1.1" : "1.1.1.1");
    assert_int_equal(address_read_networks(list, "image-networks", &networks, &err), LIMOE_OK);
    assert_int_equal(networks.n, ADDRESS_MOST_NETWORKS);
    strcat(list, ",::");
    assert_int_equal(address_read_networks(list, "image-networks", &networks, &err), LIMOE_INVALID);
}

static void other_families_and_short_addresses_are_refused(void **state) {
    (void)state;
    struct sockaddr_in6 v6 = {.sin6_family = AF_UNIX, .sin6_addr.s6_addr = {0x26, 0x06}};
    const struct sockaddr *any = (const struct sockaddr *)&v6;
    assert_non_null(address_refusal(any, sizeof v6, &none));
    v6.sin6_family = AF_INET6;
    assert_null(address_refusal(any, sizeof v6, &none));
    for (socklen_t size = 0; size < sizeof v6; size++)
        assert_non_null(address_refusal(any, size, &none));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_ranges_are_refused_to_their_ends),
        cmocka_unit_test(addresses_beside_them_are_taken),
        cmocka_unit_test(what_no_registry_names_is_refused_too),
        cmocka_unit_test(an_operators_networks_open_no_more_than_they_say),
        cmocka_unit_test(a_list_that_is_none_is_refused_with_its_entry),
        cmocka_unit_test(a_list_is_bounded),
        cmocka_unit_test(other_families_and_short_addresses_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
