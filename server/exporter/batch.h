/* batch.h - records → the JSON of an OTLP/HTTP request: ExportTraceServiceRequest of opentelemetry-proto's
 * trace service, in the protocol's JSON encoding (ids in hexadecimal, 64-bit integers as strings, enums as numbers).
 * One thread. */
#ifndef LIMOE_SERVER_EXPORTER_BATCH_H
#define LIMOE_SERVER_EXPORTER_BATCH_H

#include "base/buffer.h"
#include "server/protocol/span_wire.h"

struct batch {
    struct buffer json; /* without its end until batch_close */
    size_t spans;
};

/* Begins a batch: its head says whose spans they are. */
void batch_open(struct batch *batch, const struct span_settings *settings);
/* Adds the record's spans: the request's of kind SERVER, and one of kind INTERNAL below it for each part. */
void batch_add(struct batch *batch, const struct span_record *record, const char *const texts[SPAN_TEXTS]);
/* Ends the JSON, which is complete now. */
void batch_close(struct batch *batch);
void batch_free(struct batch *batch);

#endif
