/* trainer.c - the trainer as the front sees it: told its task, given pixels, listened to, replaced. The thread's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "server/front/training/pace.h"
#include "server/front/training/parts.h"

/* Each word comes after a batch, or a pass of the trunk over some pictures; a trainer that says nothing for so long hangs. */
#define SILENCE (1800 * CLOCK_SECOND)
#define PAUSE   (50 * CLOCK_MILLISECOND) /* after one loss; twice that after two, … */

enum { MOST_LOSSES = 5 /* in a row, without getting on */ };

struct run {
    struct training *training;
    struct training_job *job;
    struct training_model model;
    struct training_work work;
    struct process child;
    bool begun; /* the child has: it can be stopped */
    struct pace pace;
    double best; /* progress so far */
    unsigned losses;
    char *why; /* [why of an answer] */
};

enum heard {
    HEARD_DONE,
    HEARD_FAILED,   /* why says */
    HEARD_LOST,     /* the trainer is of no more use */
    HEARD_UNWANTED, /* the job is not to go on */
};

static enum heard fail(struct run *run, const char *what, const char *cause) {
    snprintf(run->why, sizeof run->job->said.why, "%s%.400s", what, cause);
    return HEARD_FAILED;
}

/* ---- asked while the thread waits */

static void keep_pace(struct run *run) {
    const struct training_options *o = &run->training->options;
    if (run->begun && pace_step(&run->pace, clock_now(), o->has_requests(o->context)))
        process_pause(&run->child, run->pace.stopped);
}

static enum wire_end ask(void *context) {
    struct run *run = context;
    keep_pace(run);
    return training_is_wanted(run->training, run->job) ? WIRE_DONE : WIRE_UNWANTED;
}

static bool still_wanted(void *context) {
    return ask(context) == WIRE_DONE;
}

static struct wire_deadline deadline_of(struct run *run) {
    return (struct wire_deadline){.until = clock_now() + SILENCE, .ask = ask, .arg = run, .tick = PACE_TICK};
}

/* ---- what is learnt becomes an adapter */

static char *read_file(const char *path, size_t *size, struct limoe_error *err) {
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = fd >= 0 && fstat(fd, &st) == 0 ? malloc((size_t)st.st_size + 1) : NULL;
    size_t got = 0;
    ssize_t n = 1;
    while (bytes && got < (size_t)st.st_size && (n > 0 || errno == EINTR)) {
        n = pread(fd, bytes + got, (size_t)st.st_size - got, (off_t)got);
        got += n > 0 ? (size_t)n : 0;
        if (n == 0)
            break;
    }
    if (!bytes || got < (size_t)st.st_size) {
        limoe_fail(err, LIMOE_IO, "what was learnt cannot be read: %s", strerror(errno));
        free(bytes);
        bytes = NULL;
    }
    if (fd >= 0)
        close(fd);
    *size = got;
    return bytes;
}

static enum limoe_status keep(struct run *run, const void *bytes, size_t size, bool *full,
                              struct limoe_error *err) {
    struct adapters *store = run->training->options.adapters;
    struct training_job *job = run->job;
    const struct adapter *draft, *kept;
    enum limoe_status status = adapters_draft(store, bytes, size, &draft, full, err);
    if (status || (status = adapters_keep(store, draft, text_of(job->name), &kept, full, err)))
        return status;
    pthread_mutex_lock(&run->training->lock);
    tail_key_hex(kept->sha256, job->stored);
    pthread_mutex_unlock(&run->training->lock);
    adapter_release(kept);
    return LIMOE_OK;
}

/* Under `changing`, so that what is cancelled stores nothing afterwards. False: why says. */
static bool store_file(struct run *run, const char *file) {
    struct training *training = run->training;
    struct limoe_error err;
    char path[PATH_MAX];
    size_t size;
    bool full = false;
    enum limoe_status status = LIMOE_OK;
    training_path(training, run->job, file, path);
    char *bytes = read_file(path, &size, &err);
    if (!bytes) {
        fail(run, "", err.message);
        return false;
    }
    pthread_mutex_lock(&training->changing);
    if (training_is_wanted(training, run->job))
        status = keep(run, bytes, size, &full, &err);
    pthread_mutex_unlock(&training->changing);
    free(bytes);
    if (status)
        fail(run,
             full ? "there is no room for the adapter: " : "the adapter cannot be stored: ", err.message);
    return !status;
}

/* ---- pictures */

static enum heard send_answer(struct run *run, enum limoe_status status, const void *bytes, size_t size) {
    struct wire_answer head = {.magic = WIRE_ANSWER, .status = status, .size = size};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)bytes, size}};
    const struct wire_deadline deadline = deadline_of(run);
    const enum wire_end end = wire_send(run->child.fd, parts, 2, &deadline);
    return end == WIRE_DONE ? HEARD_DONE : end == WIRE_UNWANTED ? HEARD_UNWANTED : HEARD_LOST;
}

static enum limoe_status decode(struct run *run, const struct trainer_word *word, uint8_t *pixels,
                                struct limoe_error *err) {
    const struct training_work *work = &run->work;
    const size_t size = (size_t)work->size[word->example];
    uint8_t *bytes = malloc(size + 1);
    const struct decoders_picture picture = {.bytes = bytes,
                                             .size = size,
                                             .settings = &word->settings,
                                             .served = run->model.index,
                                             .wanted = still_wanted,
                                             .arg = run};
    enum limoe_status status = LIMOE_OK;
    if (!bytes)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a picture of %zu bytes", size);
    else if (pread(work->fd, bytes, size, (off_t)work->offset[word->example]) != (ssize_t)size)
        status = limoe_fail(err, LIMOE_IO, "it cannot be read from the disk");
    else
        status = decoders_decode(run->training->options.decoders, &picture, pixels, err);
    free(bytes);
    return status;
}

static enum heard give_picture(struct run *run, const struct trainer_word *word) {
    const size_t size = (size_t)word->settings.preprocess.size * word->settings.preprocess.size * 3;
    uint8_t *pixels = malloc(size);
    struct limoe_error err;
    const enum limoe_status status =
        pixels ? decode(run, word, pixels, &err)
               : limoe_fail(&err, LIMOE_NO_MEMORY, "no memory for a picture of %zu bytes", size);
    const enum heard heard = status == LIMOE_LOST ? HEARD_UNWANTED
                             : status             ? send_answer(run, status, err.message, strlen(err.message))
                                                  : send_answer(run, LIMOE_OK, pixels, size);
    free(pixels);
    return heard;
}

/* ---- its words */

static void take_progress(struct run *run, const struct trainer_word *word) {
    struct training_answer *said = &run->job->said;
    if (word->done > run->best) {
        run->best = word->done;
        run->losses = 0;
    }
    pthread_mutex_lock(&run->training->lock);
    memcpy(said->stage, word->stage, sizeof said->stage);
    said->epoch = word->epoch;
    said->epochs = word->epochs;
    said->loss = word->loss;
    said->progress = run->best;
    pthread_mutex_unlock(&run->training->lock);
}
_Static_assert(sizeof((struct training_answer *)0)->stage == TRAINER_STAGE_BYTES, "a stage fits");

/* Once each: a trainer that begins again says what the one before has said. */
static void take_note(struct run *run, const struct trainer_word *word) {
    struct training_answer *said = &run->job->said;
    char note[TRAINING_NOTE_BYTES];
    text_quote(text_of(word->message), note, sizeof note);
    for (size_t i = 0; i < said->n_notes; i++)
        if (strcmp(said->note[i], note) == 0)
            return;
    log_print(run->training->options.log, LOG_INFO, NULL, "adapter %s: %s", run->job->name, note);
    pthread_mutex_lock(&run->training->lock);
    if (said->n_notes < TRAINING_NOTES)
        memcpy(said->note[said->n_notes++], note, sizeof note);
    pthread_mutex_unlock(&run->training->lock);
}

static enum heard take_probe(struct run *run) {
    if (!store_file(run, TRAINER_FIRST))
        return HEARD_FAILED;
    log_print(run->training->options.log, LOG_INFO, NULL, "adapter %s: a probe is served, a tail is tried",
              run->job->name);
    return HEARD_DONE;
}

/* HEARD_DONE: it goes on. */
static enum heard take_word(struct run *run, const struct trainer_word *word) {
    switch ((enum trainer_what)word->what) {
    case TRAINER_BEGUN:
        run->begun = true;
        run->pace = (struct pace){.stopped = false};
        return HEARD_DONE;
    case TRAINER_PROGRESS:
        take_progress(run, word);
        return HEARD_DONE;
    case TRAINER_NOTE:
        take_note(run, word);
        return HEARD_DONE;
    case TRAINER_READ:
        return give_picture(run, word);
    case TRAINER_PROBE:
        return take_probe(run);
    case TRAINER_FAILED:
        return fail(run, "", word->message);
    default:
        return HEARD_LOST;
    }
}

static enum heard listen_to(struct run *run) {
    struct trainer_word word;
    enum heard heard = HEARD_DONE;
    while (heard == HEARD_DONE) {
        const struct wire_deadline deadline = deadline_of(run);
        const enum wire_end end = wire_receive(run->child.fd, &word, sizeof word, &deadline);
        if (end == WIRE_UNWANTED || !still_wanted(run)) /* words that come fast leave nothing to wait for */
            return HEARD_UNWANTED;
        if (end != WIRE_DONE || !trainer_check_word(&word, &run->work.task))
            return HEARD_LOST;
        if (word.what == TRAINER_DONE)
            return HEARD_DONE;
        heard = take_word(run, &word);
    }
    return heard;
}

/* ---- one trainer */

static enum heard send_task(struct run *run) {
    struct trainer_task *task = &run->work.task;
    char folder[PATH_MAX];
    struct buffer strings = {0};
    training_path(run->training, run->job, NULL, folder);
    buffer_bytes(&strings, run->model.dir, strlen(run->model.dir) + 1);
    buffer_bytes(&strings, folder, strlen(folder) + 1);
    for (uint32_t i = 0; i < task->n_classes; i++)
        buffer_bytes(&strings, run->work.classes[i], strlen(run->work.classes[i]) + 1);
    for (uint32_t i = 0; i < task->n_templates; i++)
        buffer_bytes(&strings, run->work.templates[i], strlen(run->work.templates[i]) + 1);
    for (uint32_t i = 0; i < task->n_examples; i++)
        buffer_bytes(&strings, run->work.names[i], strlen(run->work.names[i]) + 1);
    task->string_bytes = strings.size;
    task->threads = run->training->options.threads;
    struct iovec parts[] = {{task, sizeof *task},
                            {strings.data, strings.size},
                            {run->work.of, task->n_examples * sizeof *run->work.of}};
    const struct wire_deadline deadline = deadline_of(run);
    const enum wire_end end = strings.failed ? WIRE_CLOSED : wire_send(run->child.fd, parts, 3, &deadline);
    buffer_free(&strings);
    return end == WIRE_DONE ? HEARD_DONE : end == WIRE_UNWANTED ? HEARD_UNWANTED : HEARD_LOST;
}

static void show_pid(struct run *run, pid_t pid) {
    pthread_mutex_lock(&run->training->lock);
    run->training->pid = pid;
    pthread_mutex_unlock(&run->training->lock);
}

/* Starts a trainer and hears it to its end. HEARD_LOST: why says how it ended. */
static enum heard try_once(struct run *run) {
    static const char *const argv[] = {"trainer", NULL};
    struct limoe_error err;
    char ended[PROCESS_WHY_SIZE];
    if (process_spawn(argv, process_engine_variables, &run->child, &err) != LIMOE_OK) {
        fail(run, "", err.message);
        return HEARD_LOST;
    }
    show_pid(run, run->child.pid);
    enum heard heard = send_task(run);
    if (heard == HEARD_DONE)
        heard = listen_to(run);
    show_pid(run, 0);
    run->begun = false;
    process_kill(&run->child, ended);
    if (heard == HEARD_LOST)
        fail(run, "", ended);
    return heard;
}

/* ---- a job */

/* What was learnt is there: whole, or not at all. */
static bool is_learnt(const struct run *run) {
    char path[PATH_MAX];
    training_path(run->training, run->job, TRAINER_ADAPTER, path);
    return access(path, F_OK) == 0;
}

/* Waits before the next trainer, as long as the job is wanted. */
static void rest(struct run *run) {
    const int64_t until = clock_now() + (PAUSE << run->losses);
    const struct timespec tick = {.tv_nsec = WIRE_TICK};
    while (clock_now() < until && still_wanted(run))
        nanosleep(&tick, NULL);
}

/* False: it has been lost too often; why says so. */
static bool count_loss(struct run *run) {
    char last[300];
    metrics_count(run->training->options.metrics, METRICS_TRAINER_RESTARTS, 1);
    log_print(run->training->options.log, LOG_WARNING, NULL, "adapter %s: its trainer was lost: %s",
              run->job->name, run->why);
    if (++run->losses < MOST_LOSSES)
        return true;
    snprintf(last, sizeof last, "%s", run->why);
    snprintf(run->why, sizeof run->job->said.why, "its trainer was lost %d times without getting on: %s",
             MOST_LOSSES, last);
    return false;
}

/* Trainer after trainer, until one has learnt it. */
static enum heard learn(struct run *run) {
    while (!is_learnt(run)) {
        const enum heard heard = try_once(run);
        if (heard == HEARD_FAILED || heard == HEARD_UNWANTED)
            return heard;
        if (heard == HEARD_DONE && is_learnt(run))
            break;
        if (heard == HEARD_DONE)
            fail(run, "", "it said that it was done, and left nothing");
        if (!still_wanted(run))
            return HEARD_UNWANTED;
        if (!count_loss(run))
            return HEARD_FAILED;
        rest(run);
    }
    return HEARD_DONE;
}

static enum heard prepare(struct run *run) {
    const struct training_options *o = &run->training->options;
    struct limoe_error err;
    if (!o->find(o->context, run->job->said.model, &run->model))
        return fail(run, "there is no such model here: ", run->job->said.model);
    if (strcmp(run->model.base, run->job->base) != 0)
        return fail(run,
                    "another model is served now than the one that was to be taught: ", run->job->said.model);
    return training_open_work(run->training, run->job, &run->work, &err) ? fail(run, "", err.message)
                                                                         : HEARD_DONE;
}

enum training_end training_do(struct training *training, struct training_job *job,
                              char why[sizeof((struct training_answer *)0)->why]) {
    struct run run = {.training = training,
                      .job = job,
                      .work = {.fd = -1},
                      .child = {.pid = -1, .pidfd = -1, .fd = -1},
                      .why = why};
    enum heard heard = prepare(&run);
    if (heard == HEARD_DONE)
        heard = learn(&run);
    if (heard == HEARD_DONE && !store_file(&run, TRAINER_ADAPTER))
        heard = HEARD_FAILED;
    training_close_work(&run.work);
    if (!training_is_wanted(training, job))
        return TRAINING_UNWANTED;
    return heard == HEARD_DONE ? TRAINING_DONE : heard == HEARD_FAILED ? TRAINING_GAVE_UP : TRAINING_UNWANTED;
}
