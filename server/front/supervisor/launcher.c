/* launcher.c - which kind of launcher an engine has. */
#include "server/front/supervisor/launcher.h"

#include "base/device_name.h"

static struct launcher *make(const char *device, uint32_t ranks) {
    enum device_kind kind;
    uint32_t index;
    if (ranks == 1)
        return launch_one_new();
    const bool gpus = device_name_parse(device, &kind, &index) && kind == DEVICE_CUDA;
    return gpus ? gpu_group_new(ranks) : mpi_job_new();
}

struct launcher *launcher_new(const struct launch_options *options, const char *device,
                              struct membership *membership, struct log *log) {
    struct launcher *launcher = make(device, membership->n);
    if (launcher) {
        launcher->membership = membership;
        launcher->options = options;
        launcher->log = log;
    }
    return launcher;
}

void launcher_free(struct launcher *launcher) {
    if (launcher)
        launcher->ops->free(launcher);
}

void launcher_log_refused(const struct launcher *launcher, struct rendezvous *rendezvous) {
    if (!rendezvous->refused[0])
        return;
    log_print(launcher->log, LOG_WARNING, NULL, "engine: turned away who came to the ranks' rendezvous: %s",
              rendezvous->refused);
    rendezvous->refused[0] = '\0';
}
