/* route_metrics.c - GET /metrics: the page that Prometheus scrapes. */
#include "http/call.h"

void route_metrics(struct call *call) {
    struct server *server = call->server;
    const struct generation *generation = call->generation;
    const struct queue_load depth = generation ? queue_depth(generation->queue) : (struct queue_load){0};
    char why[700];
    const struct metrics_gauges gauges = {
        .ready = atomic_load(&server->phase) == SERVER_READY && generation &&
                 health_good(generation->health, why, sizeof why),
        .queue_items = depth.items,
        .queue_tokens = depth.tokens,
        .queue_bytes = depth.bytes,
        .connections = atomic_load(&server->connections),
        .requests = atomic_load(&server->calls),
    };
    metrics_write(server->metrics, &gauges, &call->answer);
    call_succeed(call, "text/plain; version=0.0.4; charset=utf-8");
}
