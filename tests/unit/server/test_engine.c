/* test_engine.c - protects what the engine's thread and the probe of its health promise, with a model that
 * this file makes up: each item's embedding is a function of the item alone, one text breaks the step that
 * holds it, and the whole can be made to stand still. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine/health.h"
#include "error.h"
#include "observe/clock.h"

#define EMBED  4
#define LAYERS 2
#define TOP_K  2
#define POISON 666

/* ---- the made-up model */

static const uint32_t moe_blocks[LAYERS] = {1, 3};
static const struct limoe_info shape = {.name = "made-up",
                                        .embed = EMBED,
                                        .image_size = 2,
                                        .image_tokens = 5,
                                        .text_length = 8,
                                        .moe_layers = LAYERS,
                                        .experts = 4,
                                        .top_k = TOP_K,
                                        .moe_blocks = moe_blocks};

static struct {
    pthread_mutex_t lock; /* held by a test: the model stands still */
    atomic_bool broken;   /* every answer is NaN */
    atomic_bool drifting; /* every answer differs */
    atomic_uint steps, largest;
    bool missing;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct limoe_model {
    int nothing;
};
static struct limoe_model the_model;

enum limoe_status limoe_model_open(const char *dir, const struct limoe_options *options,
                                   struct limoe_model **out, struct limoe_error *err) {
    (void)options;
    if (fake.missing)
        return limoe_fail(err, LIMOE_NOT_FOUND, "%s is not there", dir);
    *out = &the_model;
    return LIMOE_OK;
}
void limoe_model_close(struct limoe_model *model) {
    (void)model;
}
const struct limoe_info *limoe_model_info(const struct limoe_model *model) {
    (void)model;
    return &shape;
}
enum limoe_dtype limoe_model_dtype(const struct limoe_model *model) {
    (void)model;
    return LIMOE_FLOAT32;
}
const char *limoe_dtype_name(enum limoe_dtype dtype) {
    return dtype == LIMOE_FLOAT32 ? "float32" : "bfloat16";
}
const char *limoe_model_backend(const struct limoe_model *model) {
    (void)model;
    return "made-up";
}
uint32_t limoe_model_threads(const struct limoe_model *model) {
    (void)model;
    return 1;
}

/* A unit vector at an angle that depends on the item's first token or pixel. */
static void embed_item(const struct limoe_item *item, float *out) {
    double angle = item->modality == LIMOE_TEXT ? item->tokens[0] * 0.01 : item->pixels[0] * 0.01 + 3;
    memset(out, 0, EMBED * sizeof *out);
    out[0] = (float)cos(angle);
    out[1] = (float)sin(angle);
    if (fake.broken)
        out[2] = NAN;
    if (fake.drifting)
        out[3] = 1e-5F;
}

enum limoe_status limoe_model_embed(struct limoe_model *model, const struct limoe_item *items, size_t n,
                                    float *embeddings, const struct limoe_routing *routing,
                                    struct limoe_error *err) {
    (void)model;
    pthread_mutex_lock(&fake.lock);
    pthread_mutex_unlock(&fake.lock);
    fake.steps++;
    if (n > fake.largest)
        fake.largest = (unsigned)n;
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        if (items[i].modality == LIMOE_TEXT && items[i].tokens[0] == POISON)
            return limoe_fail(err, LIMOE_INTERNAL, "item %zu is poison", i);
        rows += items[i].length;
    }
    for (size_t i = 0, row = 0; i < n; row += items[i].length, i++) {
        embed_item(&items[i], embeddings + i * EMBED);
        for (uint32_t layer = 0; layer < LAYERS && routing->expert; layer++)
            for (uint32_t token = 0; token < items[i].length; token++)
                for (uint32_t k = 0; k < TOP_K; k++) {
                    size_t at = (layer * rows + row + token) * TOP_K + k;
                    routing->expert[at] =
                        (int32_t)(items[i].tokens[0] * 1000 + (int32_t)(layer * 100 + token * 10 + k));
                    routing->gate[at] = (float)routing->expert[at] / 2;
                }
    }
    return LIMOE_OK;
}

/* The probe's processor. */
const struct limoe_info *limoe_processor_info(const struct limoe_processor *processor) {
    (void)processor;
    return &shape;
}
enum limoe_status limoe_process_text(const struct limoe_processor *processor, const char *text, size_t size,
                                     int32_t *tokens, uint32_t *length, struct limoe_error *err) {
    (void)processor;
    (void)text;
    (void)size;
    (void)err;
    tokens[0] = 7;
    *length = 1;
    return LIMOE_OK;
}

/* ---- jobs */

struct text_job {
    struct job job;
    int32_t token[200];
    struct limoe_item items[200];
    float embeddings[200 * EMBED];
    int32_t expert[LAYERS * 200 * 8 * TOP_K];
    float gate[LAYERS * 200 * 8 * TOP_K];
    int ended; /* event */
};

static void text_job_done(struct job *job) {
    struct text_job *text = (struct text_job *)job;
    uint64_t one = 1;
    assert_int_equal(write(text->ended, &one, sizeof one), sizeof one);
}

/* n texts of 1 + i % 8 tokens, their first tokens `token`, token + 1 … */
static struct text_job *make(size_t n, int32_t token) {
    struct text_job *text = calloc(1, sizeof *text);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        text->token[i] = token + (int32_t)i;
        text->items[i] = (struct limoe_item){LIMOE_TEXT, (uint32_t)(1 + i % 8), NULL, &text->token[i]};
    }
    text->job =
        (struct job){.items = text->items, .n = n, .embeddings = text->embeddings, .done = text_job_done};
    text->ended = eventfd(0, EFD_CLOEXEC);
    return text;
}

static void wait_for(struct text_job *text) {
    uint64_t count;
    assert_int_equal(read(text->ended, &count, sizeof count), sizeof count);
    assert_int_equal(count, 1);
}

static void text_job_free(struct text_job *text) {
    close(text->ended);
    free(text);
}

static void assert_embedded(const struct text_job *text) {
    assert_int_equal(text->job.outcome, JOB_DONE);
    for (size_t i = 0; i < text->job.n; i++) {
        float expected[EMBED];
        embed_item(&text->items[i], expected);
        assert_memory_equal(&text->embeddings[i * EMBED], expected, sizeof expected);
    }
}

/* ---- the fixture */

static const char *const routes[] = {"/"};

struct fixture {
    struct queue *queue;
    struct metrics *metrics;
    struct log *log;
    struct engine *engine;
    int opened;
};

static void push(struct fixture *fixture, struct text_job *text) {
    struct queue_load load = {.items = text->job.n};
    for (size_t i = 0; i < text->job.n; i++)
        load.tokens += text->items[i].length;
    queue_charge(fixture->queue, &load);
    assert_true(queue_push(fixture->queue, &text->job));
}

static struct fixture start(uint64_t step_tokens) {
    const struct queue_load limits = {1000000, 1000000, 1000000};
    struct fixture fixture = {.queue = queue_new(&limits),
                              .metrics = metrics_new(routes, 1),
                              .log = log_new(STDERR_FILENO, LOG_TEXT, LOG_ERROR),
                              .opened = eventfd(0, EFD_CLOEXEC)};
    const struct engine_options options = {.model = "made-up",
                                           .step_tokens = step_tokens,
                                           .queue = fixture.queue,
                                           .metrics = fixture.metrics,
                                           .log = fixture.log,
                                           .opened_event = fixture.opened};
    uint64_t count;
    assert_int_equal(engine_start(&options, &fixture.engine, NULL), LIMOE_OK);
    assert_int_equal(read(fixture.opened, &count, sizeof count), sizeof count);
    return fixture;
}

static void stop(struct fixture *fixture) {
    engine_stop(fixture->engine);
    assert_int_equal(queue_depth(fixture->queue).items, 0);
    assert_int_equal(queue_depth(fixture->queue).tokens, 0);
    close(fixture->opened);
    queue_free(fixture->queue);
    metrics_free(fixture->metrics);
    log_free(fixture->log);
}

/* ---- tests */

static void test_many_jobs_each_get_their_own(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *jobs[20];
    fake.largest = 0;
    pthread_mutex_lock(&fake.lock); /* so that they pile up and share steps */
    for (int i = 0; i < 20; i++) {
        jobs[i] = make(1 + (size_t)i * 10, 1000 * (i + 1));
        if (i % 3 == 0) {
            jobs[i]->job.expert = jobs[i]->expert;
            jobs[i]->job.gate = jobs[i]->gate;
        }
        push(&fixture, jobs[i]);
    }
    pthread_mutex_unlock(&fake.lock);
    for (int i = 0; i < 20; i++) {
        wait_for(jobs[i]);
        assert_embedded(jobs[i]);
        uint64_t row = 0;
        for (size_t item = 0; item < jobs[i]->job.n && i % 3 == 0; item++)
            for (uint32_t token = 0; token < jobs[i]->items[item].length; token++, row++)
                for (uint32_t layer = 0; layer < LAYERS; layer++)
                    for (uint32_t k = 0; k < TOP_K; k++) {
                        size_t at = (layer * jobs[i]->job.rows + row) * TOP_K + k;
                        int32_t expected =
                            jobs[i]->token[item] * 1000 + (int32_t)(layer * 100 + token * 10 + k);
                        assert_int_equal(jobs[i]->expert[at], expected);
                        assert_true(jobs[i]->gate[at] == (float)expected / 2);
                    }
        text_job_free(jobs[i]);
    }
    assert_true(fake.largest > 8);
    stop(&fixture);
}

static void test_poison_fails_alone(void **state) {
    (void)state;
    struct fixture fixture = start(1024);
    struct text_job *jobs[12];
    pthread_mutex_lock(&fake.lock);
    for (int i = 0; i < 12; i++) {
        jobs[i] = make(5, i == 6 ? POISON - 2 : 1000 * (i + 1));
        push(&fixture, jobs[i]);
    }
    pthread_mutex_unlock(&fake.lock);
    for (int i = 0; i < 12; i++) {
        wait_for(jobs[i]);
        if (i != 6) {
            assert_embedded(jobs[i]);
            continue;
        }
        assert_int_equal(jobs[i]->job.outcome, JOB_FAILED);
        assert_non_null(strstr(jobs[i]->job.error.message, "poison"));
    }
    for (int i = 0; i < 12; i++)
        text_job_free(jobs[i]);
    stop(&fixture);
}

static void test_a_passed_deadline_is_not_computed(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *first = make(1, 1), *late = make(1, 2);
    pthread_mutex_lock(&fake.lock);
    push(&fixture, first);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* the engine has taken it */
    late->job.deadline = clock_now() + CLOCK_MILLISECOND;
    push(&fixture, late);
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    unsigned steps = fake.steps;
    pthread_mutex_unlock(&fake.lock);
    wait_for(first);
    wait_for(late);
    assert_int_equal(late->job.outcome, JOB_EXPIRED);
    assert_int_equal(late->job.started, 0);
    assert_int_equal(fake.steps, steps + 1);
    text_job_free(first);
    text_job_free(late);
    stop(&fixture);
}

static void test_stopping_computes_what_waits(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *text = make(200, 1000);
    push(&fixture, text);
    stop(&fixture);
    assert_embedded(text);
    text_job_free(text);
}

static void test_a_model_that_does_not_open(void **state) {
    (void)state;
    fake.missing = true;
    struct fixture fixture = start(64);
    fake.missing = false;
    struct limoe_error err;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_NOT_FOUND);
    assert_string_equal(err.message, "made-up is not there");
    assert_null(engine_info(fixture.engine));
    stop(&fixture);
}

static void await_answer(int event) {
    uint64_t count;
    assert_int_equal(read(event, &count, sizeof count), sizeof count);
}

static void test_health_follows_the_engines_answers(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct health *health;
    char why[700];
    int answered = eventfd(0, EFD_CLOEXEC);
    const int64_t limit = 50 * CLOCK_MILLISECOND;
    assert_int_equal(health_new(NULL, fixture.queue, limit, answered, &health, NULL), LIMOE_OK);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "first probe"));

    int64_t now = clock_now();
    health_probe(health, now);
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));

    pthread_mutex_lock(&fake.lock); /* an engine that stands still */
    health_probe(health, now += 2 * CLOCK_SECOND);
    nanosleep(&(struct timespec){.tv_nsec = 80000000}, NULL);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "has not answered a probe for"));
    pthread_mutex_unlock(&fake.lock);
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));

    fake.broken = true;
    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "length"));
    fake.broken = false;

    fake.drifting = true;
    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "otherwise than at start"));
    fake.drifting = false;

    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));
    stop(&fixture);
    health_free(health);
    close(answered);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_jobs_each_get_their_own),
        cmocka_unit_test(test_poison_fails_alone),
        cmocka_unit_test(test_a_passed_deadline_is_not_computed),
        cmocka_unit_test(test_stopping_computes_what_waits),
        cmocka_unit_test(test_a_model_that_does_not_open),
        cmocka_unit_test(test_health_follows_the_engines_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
