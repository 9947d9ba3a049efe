/* teaching.c - training as this server has it: its threads, and which model a job is of, looked for among those in force. */
#include "server/front/serve/teaching.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/front/serve/system.h"
#include "server/front/training/training.h"

static bool describe(const struct server *server, const struct generation *generation,
                     struct training_model *out) {
    const struct engine_info *engine = engine_info(generation->engine);
    if (!engine || !realpath(server->served[generation->index].dir, out->dir))
        return false;
    snprintf(out->base, sizeof out->base, "%s", engine->base);
    out->index = generation->index;
    return true;
}

static bool find(void *context, const char *name, struct training_model *out) {
    struct server *server = context;
    struct roster *roster = server_roster(server);
    bool found = false;
    for (size_t i = 0; roster && i < roster->models.n && !found; i++)
        found = strcmp(roster->generation[i]->model->name, name) == 0 &&
                describe(server, roster->generation[i], out);
    roster_release(roster);
    return found;
}

static bool has_requests(void *context) {
    struct server *server = context;
    return atomic_load(&server->calls) > 0;
}

/* One processor is left to the front and to what an engine does on one thread. */
static unsigned trainer_threads(const struct serve_options *options) {
    const unsigned threads = options->compute.threads ? options->compute.threads : system_processors();
    return options->trainer_threads ? options->trainer_threads : threads > 1 ? threads - 1 : 1;
}

enum limoe_status teaching_start(struct server *server, struct limoe_error *err) {
    const struct serve_options *options = &server->options;
    const struct training_options training = {.state_dir = options->state_dir,
                                              .jobs = options->adapter_jobs,
                                              .bytes = options->adapter_job_bytes,
                                              .threads = trainer_threads(options),
                                              .adapters = server->adapters,
                                              .decoders = server->decoders[LANE_LONG],
                                              .find = find,
                                              .has_requests = has_requests,
                                              .context = server,
                                              .metrics = server->metrics,
                                              .log = server->log};
    return training_start(&training, &server->training, err);
}
