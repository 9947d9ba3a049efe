/* trainer.c - `limoe trainer`: one adapter learnt, told of as it goes. The main thread, beside the model's.
 *
 * It stands back for all else on the machine, and can write files and compute, not more. Killed at any moment it leaves its
 * state, from which the next one goes on to the same bytes. */
#include "server/trainer/trainer.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "base/process.h"
#include "base/text.h"
#include "server/confine/confine.h"
#include "server/options/command.h"
#include "server/protocol/trainer_wire.h"

enum { NICE = 19, NAME_SIZE = 160 };

/* A task with what it points to. */
struct job {
    struct trainer_task task;
    char *strings; /* [task.string_bytes] */
    const char *model, *folder;
    const char **classes, **templates;
    uint32_t *of;
    char (*name)[NAME_SIZE]; /* [n_examples] */
    const char **names;
};

static int complain(int status, const char *what) {
    fprintf(stderr, "limoe: trainer: %s\n", what);
    return status;
}

/* ---- the task */

/* The next of the strings; NULL: they end before. */
static const char *next(const struct job *job, size_t *at) {
    const size_t left = (size_t)job->task.string_bytes - *at;
    const char *string = job->strings + *at;
    const char *end = left ? memchr(string, '\0', left) : NULL;
    if (!end)
        return NULL;
    *at += (size_t)(end - string) + 1;
    return string;
}

static bool split_strings(struct job *job) {
    size_t at = 0;
    job->model = next(job, &at);
    job->folder = next(job, &at);
    bool good = job->model && job->folder;
    for (uint32_t i = 0; i < job->task.n_classes && good; i++)
        good = (job->classes[i] = next(job, &at)) != NULL;
    for (uint32_t i = 0; i < job->task.n_templates && good; i++)
        good = (job->templates[i] = next(job, &at)) != NULL;
    for (uint32_t i = 0; i < job->task.n_examples && good; i++)
        good = (job->names[i] = next(job, &at)) != NULL;
    return good;
}

/* Those that have none are examples[cat][3]: by label, and counted within it. */
static bool name_examples(struct job *job) {
    uint32_t *count = calloc(job->task.n_classes, sizeof *count);
    bool good = count != NULL;
    for (uint32_t i = 0; i < job->task.n_examples && good; i++) {
        char quoted[100];
        const uint32_t class = job->of[i];
        if (!(good = class < job->task.n_classes))
            break;
        snprintf(job->name[i], NAME_SIZE, "examples[%s][%u]",
                 text_quote(text_of(job->classes[class]), quoted, sizeof quoted), count[class]++);
        if (!job->names[i][0])
            job->names[i] = job->name[i];
    }
    free(count);
    return good;
}

static bool receive(struct job *job) {
    struct trainer_task *task = &job->task;
    if (!wire_read(PROCESS_FD, task, sizeof *task) || task->magic != TRAINER_TASK || !task->n_classes ||
        task->string_bytes > SIZE_MAX / 2)
        return false;
    task->base[sizeof task->base - 1] = '\0';
    job->strings = malloc((size_t)task->string_bytes + 1);
    job->classes = calloc(task->n_classes, sizeof *job->classes);
    job->templates = calloc(task->n_templates + 1, sizeof *job->templates);
    job->of = calloc(task->n_examples + 1, sizeof *job->of);
    job->name = calloc(task->n_examples + 1, sizeof *job->name);
    job->names = calloc(task->n_examples + 1, sizeof *job->names);
    return job->strings && job->classes && job->templates && job->of && job->name && job->names &&
           wire_read(PROCESS_FD, job->strings, (size_t)task->string_bytes) &&
           wire_read(PROCESS_FD, job->of, task->n_examples * sizeof *job->of) && split_strings(job) &&
           name_examples(job);
}

static void release(struct job *job) {
    free(job->strings);
    free(job->classes);
    free(job->templates);
    free(job->of);
    free(job->name);
    free(job->names);
}

/* ---- what is said */

/* False: the front is gone. */
static bool say(struct trainer_word *word) {
    struct iovec part = {word, sizeof *word};
    word->magic = TRAINER_WORD;
    return wire_write(PROCESS_FD, &part, 1);
}

static bool tell(void *context, const struct limoe_tune_progress *p) {
    struct trainer_word word = {.what = p->note    ? TRAINER_NOTE
                                        : p->first ? TRAINER_PROBE
                                                   : TRAINER_PROGRESS,
                                .epoch = p->epoch,
                                .epochs = p->epochs,
                                .loss = isfinite(p->loss) ? p->loss : 0,
                                .done = p->done};
    (void)context;
    snprintf(word.stage, sizeof word.stage, "%s", p->stage ? p->stage : "");
    snprintf(word.message, sizeof word.message, "%s", p->note ? p->note : "");
    return say(&word);
}

static enum limoe_status take_message(const struct wire_answer *answer, struct limoe_error *err) {
    char message[sizeof err->message];
    if (!wire_read(PROCESS_FD, message, (size_t)answer->size))
        return limoe_fail(err, LIMOE_LOST, "the server is gone");
    return wire_message(err, (enum limoe_status)answer->status, message, (size_t)answer->size);
}

/* The front's answer: pixels, or why there are none. */
static enum limoe_status read_example(void *context, size_t example,
                                      const struct limoe_image_settings *settings, uint8_t *pixels,
                                      struct limoe_error *err) {
    const size_t size = (size_t)settings->preprocess.size * settings->preprocess.size * 3;
    struct trainer_word word = {.what = TRAINER_READ, .example = example, .settings = *settings};
    struct wire_answer answer;
    (void)context;
    if (!say(&word) || !wire_read(PROCESS_FD, &answer, sizeof answer) || answer.magic != WIRE_ANSWER)
        return limoe_fail(err, LIMOE_LOST, "the server is gone");
    if (answer.status != LIMOE_OK && answer.size > 0 && answer.size < sizeof err->message)
        return take_message(&answer, err);
    if (answer.status != LIMOE_OK || answer.size != size || !wire_read(PROCESS_FD, pixels, size))
        return limoe_fail(err, LIMOE_LOST, "the server is gone");
    return LIMOE_OK;
}

/* ---- the work */

static enum limoe_status learn(const struct job *job, struct limoe_error *err) {
    const struct trainer_task *task = &job->task;
    const struct limoe_tune_examples examples = {.classes = job->classes,
                                                 .names = job->names,
                                                 .of = job->of,
                                                 .n_classes = task->n_classes,
                                                 .n = task->n_examples,
                                                 .read = read_example};
    const struct limoe_tune_options options = {.kind = (enum limoe_tune_kind)task->kind,
                                               .start_block = task->start_block,
                                               .epochs = task->epochs,
                                               .rate = task->rate,
                                               .held_out = task->held_out,
                                               .seed = task->seed,
                                               .templates = job->templates,
                                               .n_templates = task->n_templates,
                                               .threads = task->threads,
                                               .flip = task->flip,
                                               .skip_broken = task->skip_broken,
                                               .base = task->base,
                                               .first = TRAINER_FIRST,
                                               .tell = tell};
    return limoe_tune_from(job->model, &examples, TRAINER_ADAPTER, &options, err);
}

static enum limoe_status run(const struct job *job, struct limoe_error *err) {
    char why[128];
    if (chdir(job->folder) != 0)
        return limoe_fail(err, LIMOE_IO, "cannot enter the job's folder: %s", strerror(errno));
    if (!confine(CONFINE_FILES, why, sizeof why))
        fprintf(stderr, "limoe: trainer: it works without a sandbox (%s)\n", why);
    return learn(job, err);
}

/* A processor that runs idle work alone counts as idle: who wakes up goes there and takes it at once. From work that is merely nice
 * it would have to wait for the end of a slice, or behind other work elsewhere. Where a sandbox refuses that, nice is what is left. */
static void stand_back(void) {
    const struct sched_param none = {0};
    setpriority(PRIO_PROCESS, 0, NICE);
    sched_setscheduler(0, SCHED_IDLE, &none);
}

int trainer_main(int argc, char **argv) {
    struct limoe_error err;
    struct job job = {.strings = NULL};
    (void)argv;
    if (argc > 1)
        return complain(COMMAND_USAGE, "takes no options; only limoe itself starts this command");
    if (!process_child_setup(&err)) /* a front that is gone wants no complaint */
        return err.status == LIMOE_IO ? COMMAND_OK : complain(COMMAND_INPUT, err.message);
    stand_back(); /* before there are threads, which have their first one's */
    const bool told = receive(&job);
    if (told && say(&(struct trainer_word){.what = TRAINER_BEGUN})) {
        const enum limoe_status status = run(&job, &err);
        struct trainer_word word = {.what = status ? TRAINER_FAILED : TRAINER_DONE, .status = status};
        snprintf(word.message, sizeof word.message, "%s", status ? err.message : "");
        say(&word);
    }
    release(&job);
    return told ? COMMAND_OK : COMMAND_INPUT;
}
