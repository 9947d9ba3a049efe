/* generation.c - a generation is built in the order of the struct, and taken down in reverse. */
#include "server/front/generation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/event.h"

#define HEALTH_LIMIT (10 * CLOCK_SECOND) /* how old the engine's last answer to a probe may be */

static enum limoe_status start_engine(const struct generation_options *options, struct generation *generation,
                                      struct limoe_error *err) {
    const struct serve_options *serve = options->serve;
    struct engine_options engine = {
        .model = options->dir,
        .name = options->name,
        .served = options->index,
        .label = options->several ? generation->model->name : NULL,
        .compute = serve->compute,
        .step_tokens = serve->step_tokens,
        .queue = generation->queue,
        .metrics = options->metrics,
        .log = options->log,
        .opened_event = generation->opened_event,
        .step_seconds = serve->step_seconds,
        .memory_bytes = serve->engine_bytes,
        .adapters = options->adapters,
        .adapter_bytes = serve->adapter_memory,
        .trunk_bytes = serve->trunk_cache,
        .batch_delay_ms = serve->batch_delay_ms,
        .launch = serve->launch,
    };
    engine.launch.digest = limoe_processor_fingerprint(generation->processor);
    enum limoe_status status = engine_start(&engine, &generation->engine, err);
    if (status == LIMOE_OK)
        health_watch(generation->health, generation->engine);
    return status;
}

static enum limoe_status build(const struct generation_options *options, struct generation *generation,
                               struct limoe_error *err) {
    const struct serve_options *serve = options->serve;
    generation->opened_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    generation->answered_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (generation->opened_event < 0 || generation->answered_event < 0)
        return limoe_fail(err, LIMOE_IO, "cannot make an event for the engine: %s", strerror(errno));
    enum limoe_status status = limoe_processor_open(options->dir, &serve->image, &generation->processor, err);
    if (status != LIMOE_OK)
        return status;
    generation->info = *limoe_processor_info(generation->processor);
    if (options->name)
        generation->info.name = options->name;
    generation->model = &generation->info;
    generation->image = limoe_processor_image_settings(generation->processor);
    generation->queue = queue_new(&serve->queue);
    if (!generation->queue)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the queue");
    if (serve->cache_bytes > 0) {
        status = text_cache_new(serve->cache_bytes, generation->model->embed, &generation->cache, err);
        if (status != LIMOE_OK)
            return status;
    }
    status = health_new(generation->processor, generation->queue, HEALTH_LIMIT, generation->answered_event,
                        &generation->health, err);
    return status == LIMOE_OK ? start_engine(options, generation, err) : status;
}

enum limoe_status generation_open(const struct generation_options *options, struct generation **out,
                                  struct limoe_error *err) {
    struct generation *generation = calloc(1, sizeof *generation);
    if (!generation)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to load a model");
    generation->index = options->index;
    generation->number = options->number;
    generation->opened_event = generation->answered_event = -1;
    generation->unused_event = options->unused_event;
    generation->references = 1;
    enum limoe_status status = build(options, generation, err);
    if (status == LIMOE_OK)
        *out = generation;
    else
        generation_close(generation);
    return status;
}

void generation_retain(struct generation *generation) {
    atomic_fetch_add(&generation->references, 1);
}

void generation_release(struct generation *generation) {
    if (!generation)
        return;
    int event = generation->unused_event;
    if (atomic_fetch_sub(&generation->references, 1) > 1)
        return;
    event_signal(event); /* by now the generation may be closed at any moment */
}

void generation_close(struct generation *generation) {
    if (!generation)
        return;
    engine_stop(generation->engine); /* computes what is in the queue, a probe perhaps */
    health_free(generation->health);
    text_cache_free(generation->cache);
    queue_free(generation->queue);
    limoe_processor_close(generation->processor);
    if (generation->answered_event >= 0)
        close(generation->answered_event);
    if (generation->opened_event >= 0)
        close(generation->opened_event);
    free(generation);
}
