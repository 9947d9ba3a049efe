/* engine_fixture.c - see engine_fixture.h. */
#include "tests/unit/server/front/supervisor/engine_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/front/supervisor/launch.h"

/* ---- jobs */

static void text_job_done(struct job *job) {
    struct text_job *text = (struct text_job *)job;
    uint64_t one = 1;
    assert_int_equal(write(text->ended, &one, sizeof one), sizeof one);
}

struct text_job *make(size_t n, int32_t token) {
    struct text_job *text = calloc(1, sizeof *text);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        text->token[i] = token + (int32_t)i;
        text->items[i] = (struct limoe_item){
            .modality = LIMOE_TEXT, .length = (uint32_t)(1 + i % 8), .tokens = &text->token[i]};
    }
    text->job =
        (struct job){.items = text->items, .n = n, .embeddings = text->embeddings, .done = text_job_done};
    text->ended = eventfd(0, EFD_CLOEXEC);
    return text;
}

void wait_for(struct text_job *text) {
    uint64_t count;
    assert_int_equal(read(text->ended, &count, sizeof count), sizeof count);
    assert_int_equal(count, 1);
}

void text_job_free(struct text_job *text) {
    close(text->ended);
    free(text);
}

void assert_embedded(const struct text_job *text) {
    assert_int_equal(text->job.outcome, JOB_DONE);
    for (size_t i = 0; i < text->job.n; i++) {
        float expected[EMBED];
        embed_item(&text->items[i], expected);
        assert_memory_equal(&text->embeddings[i * EMBED], expected, sizeof expected);
    }
}

void assert_routed(const struct text_job *text) {
    uint64_t row = 0;
    for (size_t item = 0; item < text->job.n; item++)
        for (uint32_t token = 0; token < text->items[item].length; token++, row++)
            for (uint32_t layer = 0; layer < LAYERS; layer++)
                for (uint32_t k = 0; k < TOP_K; k++) {
                    size_t at = (layer * text->job.rows + row) * TOP_K + k;
                    int32_t expected = text->token[item] * 1000 + (int32_t)(layer * 100 + token * 10 + k);
                    assert_int_equal(text->expert[at], expected);
                    assert_true(text->gate[at] == (float)expected / 2);
                }
}

/* ---- an engine */

static const char *const routes[] = {"/"};

void push(struct fixture *fixture, struct text_job *text) {
    struct queue_load load = {.items = text->job.n};
    for (size_t i = 0; i < text->job.n; i++)
        load.tokens += text->items[i].length;
    queue_charge(fixture->queue, &load);
    assert_true(queue_push(fixture->queue, &text->job));
}

/* Of what the test shares with the engines. */
static char path[] = "/tmp/limoe-test-engine-XXXXXX";

struct fixture start_with(struct engine_options options) {
    const struct queue_load limits = {1000000, 1000000, 1000000, 1000000, 1000000};
    struct fixture fixture = {.queue = queue_new(&limits),
                              .metrics = metrics_new(routes, 1, 1),
                              .log = log_new(STDERR_FILENO, LOG_TEXT, LOG_ERROR),
                              .opened = eventfd(0, EFD_CLOEXEC)};
    options.model = path;
    options.queue = fixture.queue;
    options.metrics = fixture.metrics;
    options.log = fixture.log;
    options.opened_event = fixture.opened;
    uint64_t count;
    fake->steps = fake->largest = fake->processes = fake->opened = 0;
    assert_int_equal(engine_start(&options, &fixture.engine, NULL), LIMOE_OK);
    assert_int_equal(read(fixture.opened, &count, sizeof count), sizeof count);
    return fixture;
}

struct fixture start(uint64_t step_tokens) {
    return start_with((struct engine_options){.step_tokens = step_tokens});
}

void stop(struct fixture *fixture) {
    engine_stop(fixture->engine);
    assert_int_equal(queue_depth(fixture->queue).items, 0);
    assert_int_equal(queue_depth(fixture->queue).tokens, 0);
    close(fixture->opened);
    queue_free(fixture->queue);
    metrics_free(fixture->metrics);
    log_free(fixture->log);
}

void await_steps(unsigned steps) {
    while (fake->steps < steps)
        nap();
}

double metric(struct fixture *fixture, const char *name) {
    struct buffer page = {0};
    const struct metrics_served_gauges model = {.name = "made-up"};
    const struct metrics_gauges gauges = {.models = &model, .n_models = 1};
    char line[128];
    metrics_write(fixture->metrics, &gauges, &page);
    buffer_string(&page, "");
    char *text = strndup(page.data, page.size);
    /* Most are the model's, of which there is one. */
    snprintf(line, sizeof line, "\n%s%s ", name, strchr(name, '{') ? "" : "{model=\"made-up\"}");
    const char *found = strstr(text, line);
    assert_non_null(found);
    double value = strtod(found + strlen(line), NULL);
    free(text);
    buffer_free(&page);
    return value;
}

static struct text_job *jobs12[12];

void push12(struct fixture *fixture, int32_t bad) {
    fake->held = true;
    struct text_job *first = make(1, 1);
    push(fixture, first);
    await_steps(1);
    for (int i = 0; i < 12; i++) {
        jobs12[i] = make(5, i == 6 ? bad - 4 : 1000 * (i + 1));
        push(fixture, jobs12[i]);
    }
    fake->held = false;
    wait_for(first);
    text_job_free(first);
}

void assert_only_the_seventh_failed(const char *message) {
    for (int i = 0; i < 12; i++) {
        wait_for(jobs12[i]);
        if (i != 6) {
            assert_embedded(jobs12[i]);
        } else {
            assert_int_equal(jobs12[i]->job.outcome, JOB_FAILED);
            assert_non_null(strstr(jobs12[i]->job.error.message, message));
        }
    }
    for (int i = 0; i < 12; i++)
        text_job_free(jobs12[i]);
}

void lose(struct fixture *fixture, int signal_number) {
    pid_t pid;
    while ((pid = engine_pid(fixture->engine)) == 0)
        nap();
    kill(pid, signal_number);
}

void lose_rank(uint32_t rank, int signal_number) {
    int pid;
    while ((pid = fake->ranks[rank]) == 0)
        nap();
    kill(pid, signal_number);
}

/* ---- the program */

int fixture_main(int argc, char **argv, int (*run)(void)) {
    if (argc > 1 && strcmp(argv[1], "engine") == 0)
        return honest_or_not(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "launch") == 0)
        return launch_main(argc - 1, argv + 1);
    if (argc > 2 && strcmp(argv[1], "--agent") == 0)
        return agent_main(argc - 1, argv + 1);
    if (argc > 2 && strcmp(argv[1], "-n") == 0)
        return mpirun_main(argc, argv);
    unsetenv("TMPDIR"); /* so that it is known where mpirun's files are */
    int fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, sizeof *fake) != 0 || !made_up_share(path))
        return 2;
    close(fd);
    int failed = run();
    unlink(path);
    return failed;
}
