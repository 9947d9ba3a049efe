/* settings.h - what OpenTelemetry's exporters are set by, checked. No state. */
#ifndef LIMOE_SERVER_FRONT_TRACING_SETTINGS_H
#define LIMOE_SERVER_FRONT_TRACING_SETTINGS_H

#include "base/arena.h"
#include "limoe.h"
#include "server/protocol/span_wire.h"

/* Strings are C strings, or NULL: not said. */
struct tracing_options {
    const char *endpoint;    /* URL of the traces; NULL: nothing is exported */
    const char *headers;     /* "name=value,name=value" */
    const char *certificate; /* PEM file */
    const char *service;
    const char *attributes;      /* of the resource, as headers */
    const char *delay, *timeout; /* whole numbers of milliseconds */
    double sample;               /* the share of traces begun here that are recorded, 0 … 1 */
};

/* What the variables of the OpenTelemetry specification say (OTEL_EXPORTER_OTLP_ENDPOINT and its like), weaker than
 * all else; what is made up of them lives in the arena. False: no memory. */
bool tracing_defaults(struct tracing_options *options, struct arena *arena);

/* LIMOE_INVALID names the option, what was found and what is accepted. */
enum limoe_status tracing_check(const struct tracing_options *options, struct limoe_error *err);

/* For the exporter, with an instance id of its own. The options were checked. */
void tracing_settings(const struct tracing_options *options, struct span_settings *settings);

#endif
