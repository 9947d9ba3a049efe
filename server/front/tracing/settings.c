/* settings.c - the specification's variables, and what is accepted of an endpoint and of headers. */
#include "server/front/tracing/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/error.h"
#include "server/formats/header_list.h"

#define DELAY_MS   1000u
#define TIMEOUT_MS 10000u
#define MOST_MS    60000u

/* ---- variables */

static const char *variable(const char *special, const char *general) {
    const char *value = getenv(special);
    if (!value || !*value)
        value = general ? getenv(general) : NULL;
    return value && *value ? value : NULL;
}

/* The general endpoint is a base, to which the path of the traces is added; the special one is taken as it is. */
static const char *endpoint_of(struct arena *arena) {
    const char *special = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", NULL);
    const char *base = variable("OTEL_EXPORTER_OTLP_ENDPOINT", NULL);
    if (special || !base)
        return special ? arena_copy(arena, special, strlen(special)) : "";
    const bool slash = base[strlen(base) - 1] == '/';
    return arena_print(arena, "%s%sv1/traces", base, slash ? "" : "/");
}

bool tracing_defaults(struct tracing_options *options, struct arena *arena) {
    const char *disabled = variable("OTEL_SDK_DISABLED", NULL);
    const char *endpoint = endpoint_of(arena);
    const char *service = variable("OTEL_SERVICE_NAME", NULL);
    options->endpoint =
        endpoint && *endpoint && !(disabled && strcasecmp(disabled, "true") == 0) ? endpoint : NULL;
    options->headers = variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS");
    options->certificate =
        variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE");
    options->attributes = variable("OTEL_RESOURCE_ATTRIBUTES", NULL);
    options->service = service ? service : "limoe";
    options->delay = variable("OTEL_BSP_SCHEDULE_DELAY", NULL);
    options->timeout = variable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
    return endpoint != NULL;
}

/* ---- checks */

static bool is_endpoint(const char *url) {
    const char *scheme = strncasecmp(url, "http://", 7) == 0    ? url + 7
                         : strncasecmp(url, "https://", 8) == 0 ? url + 8
                                                                : NULL;
    if (!scheme || !*scheme || *scheme == '/' || strlen(url) >= SPAN_ENDPOINT_SIZE)
        return false;
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
            return false;
    return true;
}

/* The lists may hold a token: messages do not show them. */
static enum limoe_status check_list(const char *name, const char *list, struct limoe_error *err) {
    if (!list || (strlen(list) < SPAN_HEADERS_SIZE && header_list_check(list)))
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_INVALID,
                      "%s is no list of names and values (%zu bytes); accepted: \"name=value,name=value\", "
                      "other bytes than printable ASCII as %%XX, less than %d bytes",
                      name, strlen(list), SPAN_HEADERS_SIZE);
}

/* NULL: the default. 0: it is no such number. */
static uint32_t milliseconds(const char *text, uint32_t fallback) {
    uint64_t value = 0;
    for (const char *c = text; c && *c; c++) {
        if (*c < '0' || *c > '9' || value > MOST_MS)
            return 0;
        value = value * 10 + (uint64_t)(*c - '0');
    }
    return !text ? fallback : value <= MOST_MS ? (uint32_t)value : 0;
}

static enum limoe_status check_time(const char *name, const char *text, struct limoe_error *err) {
    if (milliseconds(text, 1))
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_INVALID, "%s is \"%.40s\"; accepted: milliseconds, 1 to %u", name, text,
                      MOST_MS);
}

enum limoe_status tracing_check(const struct tracing_options *options, struct limoe_error *err) {
    struct span_settings *sizes = NULL;
    if (!options->endpoint)
        return LIMOE_OK;
    if (!is_endpoint(options->endpoint))
        return limoe_fail(err, LIMOE_INVALID,
                          "otlp-endpoint is \"%.200s\"; accepted: a URL of http:// or https://, such as "
                          "http://127.0.0.1:4318/v1/traces",
                          options->endpoint);
    if (strlen(options->service) >= sizeof sizes->service)
        return limoe_fail(err, LIMOE_INVALID, "otlp-service-name has %zu bytes; accepted: up to %zu",
                          strlen(options->service), sizeof sizes->service - 1);
    if (options->certificate && strlen(options->certificate) >= sizeof sizes->certificate)
        return limoe_fail(err, LIMOE_INVALID, "otlp-certificate has %zu bytes; accepted: up to %zu",
                          strlen(options->certificate), sizeof sizes->certificate - 1);
    enum limoe_status status = check_list("otlp-headers", options->headers, err);
    if (status == LIMOE_OK)
        status = check_list("OTEL_RESOURCE_ATTRIBUTES", options->attributes, err);
    if (status == LIMOE_OK)
        status = check_time("OTEL_BSP_SCHEDULE_DELAY", options->delay, err);
    return status == LIMOE_OK ? check_time("OTEL_EXPORTER_OTLP_TIMEOUT", options->timeout, err) : status;
}

/* ---- the exporter's */

/* A UUID of version 4. */
static void make_instance(char out[40]) {
    uint8_t b[16];
    if (getrandom(b, sizeof b, GRND_NONBLOCK) != (ssize_t)sizeof b) {
        const int64_t now = clock_now();
        memset(b, 0, sizeof b);
        memcpy(b, &now, sizeof now);
    }
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static void copy(char *out, size_t size, const char *text) {
    snprintf(out, size, "%s", text ? text : "");
}

void tracing_settings(const struct tracing_options *options, struct span_settings *settings) {
    *settings = (struct span_settings){.version = LIMOE_VERSION};
    copy(settings->endpoint, sizeof settings->endpoint, options->endpoint);
    copy(settings->headers, sizeof settings->headers, options->headers);
    copy(settings->attributes, sizeof settings->attributes, options->attributes);
    copy(settings->certificate, sizeof settings->certificate, options->certificate);
    copy(settings->service, sizeof settings->service, options->service);
    settings->delay_ms = milliseconds(options->delay, DELAY_MS);
    settings->timeout_ms = milliseconds(options->timeout, TIMEOUT_MS);
    make_instance(settings->instance);
}
