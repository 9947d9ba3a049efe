/* health.c - the probe and what its answers say.
 *
 * Who owns what: the probe's job and buffers belong to the engine while a probe is under way and to the
 * thread of health_probe otherwise; `under_way` says which, and is written only by the one that hands them
 * over. What health_good reads is guarded by the mutex.
 */
#include "server/front/supervisor/health.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/event.h"

#define PROBE_INTERVAL CLOCK_SECOND
#define PROBE_SHARE    20 /* of a slow model's time a probe takes at most one part in so many, */
#define PROBE_SELDOM   (30 * CLOCK_SECOND) /* but comes as often as this */
#define PROBE_TEXT     "limoe"
#define PROBE_ITEMS    2 /* at most: one of each modality that the model takes */
#define UNIT_TOLERANCE 1e-3

struct health {
    struct queue *queue;
    struct engine *engine; /* NULL until it is watched */
    int64_t limit;
    int answered_event;
    size_t embed;

    struct job job;
    struct limoe_item items[PROBE_ITEMS];
    uint8_t *pixels;   /* [image_size, image_size, 3], grey */
    int32_t *tokens;   /* [text_length] */
    float *embeddings; /* [PROBE_ITEMS, embed] */
    float *first;      /* the first good answer, once first_known */
    bool first_known;
    int64_t sent; /* of the last probe */
    atomic_bool under_way;

    pthread_mutex_t lock;
    int64_t answered; /* of the last good answer; 0: none yet */
    int64_t quickest; /* that the engine took for one; INT64_MAX: none is known */
    char fault[640];  /* why the last answer was no good; "" */
};

static void judge(struct health *health, char *fault, size_t size) {
    const struct job *job = &health->job;
    size_t count = job->n * health->embed;
    fault[0] = '\0';
    if (job->outcome == JOB_FAILED) {
        snprintf(fault, size, "the engine failed on its probe: %s", job->error.message);
        return;
    }
    for (size_t item = 0; item < job->n; item++) {
        double square = 0;
        for (size_t i = 0; i < health->embed; i++)
            square += (double)health->embeddings[item * health->embed + i] *
                      (double)health->embeddings[item * health->embed + i];
        if (!(fabs(square - 1) < UNIT_TOLERANCE)) { /* so that NaN is caught, too */
            snprintf(fault, size, "the engine's answer to its probe has length %g, not 1", sqrt(square));
            return;
        }
    }
    if (!health->first_known) {
        memcpy(health->first, health->embeddings, count * sizeof *health->first);
        health->first_known = true;
    } else if (memcmp(health->first, health->embeddings, count * sizeof *health->first) != 0) {
        snprintf(fault, size, "the engine answers the same probe otherwise than at start");
    }
}

/* From probe to probe; the lock is held. */
static int64_t interval_of(const struct health *health) {
    if (health->quickest <= PROBE_INTERVAL / PROBE_SHARE || health->quickest == INT64_MAX)
        return PROBE_INTERVAL;
    return health->quickest < PROBE_SELDOM / PROBE_SHARE ? PROBE_SHARE * health->quickest : PROBE_SELDOM;
}

static void probe_done(struct job *job) {
    struct health *health = (struct health *)((char *)job - offsetof(struct health, job));
    char fault[sizeof health->fault];
    judge(health, fault, sizeof fault);

    pthread_mutex_lock(&health->lock);
    memcpy(health->fault, fault, sizeof fault);
    if (job->outcome == JOB_DONE && !fault[0]) {
        health->answered = clock_now();
        const int64_t took = job->ended - job->started; /* what it waited for costs the engine nothing */
        health->quickest = took < health->quickest ? took : health->quickest;
    }
    pthread_mutex_unlock(&health->lock);

    int event = health->answered_event;
    atomic_store(&health->under_way, false);
    event_signal(event);
}

/* A grey picture and a short text, as far as the model takes them. */
static enum limoe_status list_items(struct health *health, const struct limoe_processor *processor,
                                    struct limoe_error *err) {
    const struct limoe_info *model = limoe_processor_info(processor);
    enum limoe_status status = LIMOE_OK;
    uint32_t length = 0;
    if (limoe_has(model, LIMOE_IMAGE))
        health->items[health->job.n++] = (struct limoe_item){
            .modality = LIMOE_IMAGE, .length = model->image_tokens, .pixels = health->pixels};
    if (!limoe_has(model, LIMOE_TEXT))
        return status;
    status = limoe_process_text(processor, PROBE_TEXT, strlen(PROBE_TEXT), health->tokens, &length, err);
    health->items[health->job.n++] =
        (struct limoe_item){.modality = LIMOE_TEXT, .length = length, .tokens = health->tokens};
    return status;
}

enum limoe_status health_new(const struct limoe_processor *processor, struct queue *queue, int64_t limit,
                             int answered_event, struct health **out, struct limoe_error *err) {
    const struct limoe_info *model = limoe_processor_info(processor);
    size_t pixels = (size_t)model->image_size * model->image_size * 3;
    struct health *health = calloc(1, sizeof *health);
    if (!health)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the engine's probe");
    pthread_mutex_init(&health->lock, NULL);
    health->queue = queue;
    health->limit = limit;
    health->quickest = INT64_MAX;
    health->answered_event = answered_event;
    health->embed = model->embed;
    health->pixels = malloc(pixels + 1); /* + 1: of what the model does not take there is none */
    health->tokens = calloc((size_t)model->text_length + 1, sizeof *health->tokens);
    health->embeddings = calloc(PROBE_ITEMS * health->embed, sizeof *health->embeddings);
    health->first = calloc(PROBE_ITEMS * health->embed, sizeof *health->first);
    if (!health->pixels || !health->tokens || !health->embeddings || !health->first) {
        health_free(health);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the engine's probe");
    }
    memset(health->pixels, 0x80, pixels);

    enum limoe_status status = list_items(health, processor, err);
    if (status != LIMOE_OK) {
        health_free(health);
        return status;
    }
    health->job.items = health->items;
    health->job.embeddings = health->embeddings;
    health->job.done = probe_done;
    *out = health;
    return LIMOE_OK;
}

void health_free(struct health *health) {
    if (!health)
        return;
    pthread_mutex_destroy(&health->lock);
    free(health->pixels);
    free(health->tokens);
    free(health->embeddings);
    free(health->first);
    free(health);
}

void health_watch(struct health *health, struct engine *engine) {
    health->engine = engine;
}

void health_probe(struct health *health, int64_t now) {
    if (atomic_load(&health->under_way))
        return;
    pthread_mutex_lock(&health->lock);
    const int64_t interval = interval_of(health);
    pthread_mutex_unlock(&health->lock);
    if (health->sent && now - health->sent < interval)
        return;
    health->sent = now;
    atomic_store(&health->under_way, true);
    if (!queue_push_first(health->queue, &health->job))
        atomic_store(&health->under_way, false);
}

bool health_good(struct health *health, char *why, size_t size) {
    if (health->engine && !engine_running(health->engine, why, size))
        return false;
    pthread_mutex_lock(&health->lock);
    int64_t age = health->answered ? clock_now() - health->answered : 0;
    bool good =
        health->answered && age <= health->limit + interval_of(health) - PROBE_INTERVAL && !health->fault[0];
    if (!good) {
        if (health->fault[0])
            snprintf(why, size, "%s", health->fault);
        else if (!health->answered)
            snprintf(why, size, "the engine has not answered its first probe yet");
        else
            snprintf(why, size, "the engine has not answered a probe for %.1f s",
                     (double)age / (double)CLOCK_SECOND);
    }
    pthread_mutex_unlock(&health->lock);
    return good;
}
