/* target.c - RFC 3986, less what nobody's picture needs: user names, escapes in hosts, other ways to write numbers. */
#include "server/fetcher/target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

#define HTTP_PORT  80
#define HTTPS_PORT 443

static struct text after(struct text text, size_t n) {
    return (struct text){.data = text.data + n, .size = text.size - n};
}

static bool begins_with(struct text text, const char *start) {
    return text.size >= strlen(start) && strncasecmp(text.data, start, strlen(start)) == 0;
}

/* Where the first of these characters is, or the size. */
static size_t span_until(struct text text, const char *ends) {
    size_t n = 0;
    while (n < text.size && !strchr(ends, text.data[n]))
        n++;
    return n;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* ---- hosts */

static bool read_v6(struct text inside, char host[TARGET_HOST_SIZE]) {
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (inside.size >= sizeof copy)
        return false;
    memcpy(copy, inside.data, inside.size);
    copy[inside.size] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1 &&
           inet_ntop(AF_INET6, &address, host, TARGET_HOST_SIZE) != NULL;
}

static bool is_label_character(char c) {
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

/* Labels of 1 to 63 characters with dots between them. */
static bool is_name(const char *host) {
    size_t label = 0;
    for (const char *c = host; *c; c++) {
        if (*c == '.' ? label == 0 : !is_label_character(*c))
            return false;
        label = *c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0;
}

/* Resolvers take "2130706433", "0177.1" and "127.0x1" for addresses: all whose last label begins with a digit is to be an
 * address of four decimal numbers. No top-level domain begins with one. */
static bool is_plain_number(const char *host) {
    const char *dot = strrchr(host, '.');
    struct in_addr address;
    return !is_digit(dot ? dot[1] : *host) || inet_pton(AF_INET, host, &address) == 1;
}

static bool read_host(struct text written, char host[TARGET_HOST_SIZE]) {
    if (written.size > 2 && *written.data == '[' && written.data[written.size - 1] == ']')
        return read_v6((struct text){.data = written.data + 1, .size = written.size - 2}, host);
    if (written.size > 1 && written.data[written.size - 1] == '.')
        written.size--;
    if (written.size >= TARGET_HOST_SIZE)
        return false;
    for (size_t i = 0; i < written.size; i++)
        host[i] = lower(written.data[i]);
    host[written.size] = '\0';
    return strlen(host) == written.size && is_name(host) && is_plain_number(host);
}

/* 1 to 65535, without zeros before it; 0: it is none. */
static uint16_t read_port(struct text digits) {
    unsigned port = 0;
    if (digits.size == 0 || digits.size > 5 || *digits.data == '0')
        return 0;
    for (size_t i = 0; i < digits.size; i++) {
        if (!is_digit(digits.data[i]))
            return 0;
        port = port * 10 + (unsigned)(digits.data[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* "host" or "host:port". False: it is neither. */
static bool read_authority(struct text authority, struct target *out) {
    const bool bracket = authority.size && *authority.data == '[';
    size_t length = span_until(authority, bracket ? "]" : ":");
    length += bracket && length < authority.size;
    const struct text port = after(authority, length);
    out->port = out->http ? HTTP_PORT : HTTPS_PORT;
    if (port.size)
        out->port = *port.data == ':' ? read_port(after(port, 1)) : 0;
    return out->port && read_host((struct text){.data = authority.data, .size = length}, out->host);
}

/* ---- a URL */

static enum limoe_status check_characters(struct text url, struct limoe_error *err) {
    if (url.size > FETCH_URL_MOST)
        return limoe_fail(err, LIMOE_INVALID, "the URL has %zu bytes; up to %d are accepted", url.size,
                          FETCH_URL_MOST);
    for (size_t i = 0; i < url.size; i++)
        if (url.data[i] <= ' ' || url.data[i] > '~' || url.data[i] == '\\')
            return limoe_fail(err, LIMOE_INVALID,
                              "byte %zu of the URL is no character of a URL; accepted: visible ASCII but "
                              "\"\\\", all else escaped with %%",
                              i);
    return LIMOE_OK;
}

enum limoe_status target_read(struct text url, struct target *out, struct limoe_error *err) {
    char quoted[80];
    const enum limoe_status status = check_characters(url, err);
    if (status != LIMOE_OK)
        return status;
    *out = (struct target){.http = begins_with(url, "http://")};
    if (!out->http && !begins_with(url, "https://"))
        return limoe_fail(
            err, LIMOE_INVALID,
            "the URL begins with \"%s\"; accepted: https://, and http:// where the operator "
            "allows it",
            text_quote((struct text){.data = url.data, .size = span_until(url, "/")}, quoted, sizeof quoted));
    struct text rest = after(url, strlen(out->http ? "http://" : "https://"));
    const struct text authority = {.data = rest.data, .size = span_until(rest, "/?#")};
    if (memchr(authority.data, '@', authority.size))
        return limoe_fail(err, LIMOE_INVALID, "the URL has a user name; none is accepted");
    if (!read_authority(authority, out))
        return limoe_fail(err, LIMOE_INVALID,
                          "the URL's host is \"%s\"; accepted: a name, an IPv4 address of four decimal "
                          "numbers or an IPv6 address in brackets, and a port",
                          text_quote(authority, quoted, sizeof quoted));
    rest = after(rest, authority.size);
    out->path = (struct text){.data = rest.data, .size = span_until(rest, "#")};
    return LIMOE_OK;
}

/* ---- the operator's rules */

static bool read_rule(struct text entry, struct target_rule *out) {
    *out = (struct target_rule){.target.http = begins_with(entry, "http://")};
    if (out->target.http || begins_with(entry, "https://"))
        entry = after(entry, strlen(out->target.http ? "http://" : "https://"));
    out->below = begins_with(entry, "*.");
    if (out->below)
        entry = after(entry, 2);
    if (!read_authority(entry, &out->target))
        return false;
    struct in_addr v4; /* an address has nothing below it */
    return !out->below || (!strchr(out->target.host, ':') && inet_pton(AF_INET, out->target.host, &v4) != 1);
}

enum limoe_status target_read_rules(const char *list, const char *option, struct target_rules *out,
                                    struct limoe_error *err) {
    struct text rest = text_of(list);
    const size_t n = text_comma_count(rest);
    if (n > TARGET_MOST_RULES)
        return limoe_fail(err, LIMOE_INVALID, "%s has %zu hosts; up to %d are accepted", option, n,
                          TARGET_MOST_RULES);
    out->n = 0;
    while (out->n < n) {
        char quoted[80];
        const struct text entry = text_comma_next(&rest);
        if (!read_rule(entry, &out->list[out->n]))
            return limoe_fail(err, LIMOE_INVALID,
                              "%s has \"%s\"; accepted: names, \"*.name\" for those below it, and addresses, "
                              "each with http:// before it and a port after it or without, divided by commas",
                              option, text_quote(entry, quoted, sizeof quoted));
        out->n++;
    }
    return LIMOE_OK;
}

static bool is_below(const char *host, const char *name) {
    const size_t length = strlen(host), tail = strlen(name);
    return length > tail + 1 && host[length - tail - 1] == '.' && strcmp(host + length - tail, name) == 0;
}

bool target_is_allowed(const struct target *target, const struct target_rules *rules) {
    for (size_t i = 0; i < rules->n; i++) {
        const struct target_rule *rule = &rules->list[i];
        if (target->http == rule->target.http && target->port == rule->target.port &&
            (rule->below ? is_below(target->host, rule->target.host)
                         : strcmp(target->host, rule->target.host) == 0))
            return true;
    }
    return false;
}
