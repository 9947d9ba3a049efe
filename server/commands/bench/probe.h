/* probe.h - what is asked of the server before the load: who it is, and what it answers undisturbed. */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_PROBE_H
#define LIMOE_SERVER_COMMANDS_BENCH_PROBE_H

#include <stdbool.h>

#include "base/arena.h"
#include "server/commands/bench/plan.h"
#include "server/commands/bench/pool.h"

struct probe {
    const char *model;  /* the first model's id, or NULL */
    const char *health; /* "ok", or what GET /health said instead */
    int health_status;
};

/* GET /v1/models and /health. False: it cannot be measured; *message (in the arena) says why. */
bool probe_server(const struct plan *plan, struct arena *arena, struct probe *out, const char **message);

/* Sends every request of the pool once, one after another, and keeps its answer in it. False: one was not
 * answered 200. */
bool probe_answers(const struct plan *plan, struct pool *pool, const char **message);

#endif
