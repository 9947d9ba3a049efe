/* teaching.c - which model a job is of: looked for when it begins, among those that are in force. */
#include "server/front/serve/teaching.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum limoe_status teaching_start(struct server *server, struct limoe_error *err) {
    const struct serve_options *options = &server->options;
    const struct training_options training = {.state_dir = options->state_dir,
                                              .jobs = options->adapter_jobs,
                                              .bytes = options->adapter_job_bytes,
                                              .threads = options->compute.threads,
                                              .adapters = server->adapters,
                                              .decoders = server->decoders[LANE_LONG],
                                              .find = find,
                                              .context = server,
                                              .metrics = server->metrics,
                                              .log = server->log};
    return training_start(&training, &server->training, err);
}
