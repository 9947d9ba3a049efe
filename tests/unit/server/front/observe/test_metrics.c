/* test_metrics.c - protects the page's format, which a scraper reads strictly, and the arithmetic of its
 * counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/front/observe/metrics.h"

static const char *const routes[] = {"/a", "/b"};
static const uint32_t blocks[] = {1, 3};
static const struct limoe_info model = {
    .name = "a \"b\"\\\n", .moe_layers = 2, .experts = 2, .moe_blocks = blocks};

/* Of models of up to two layers and three experts. */
static const uint64_t load[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

/* The model's label, as the page must escape it. */
#define MODEL "model=\"a \\\"b\\\"\\\\\\n\""

static char *page(struct metrics *metrics) {
    struct buffer out = {0};
    const struct metrics_process processes[] = {
        {"front", NULL, 0, getpid()}, {"engine", "c", 1, getpid()}, {"engine", "c", 0, 0x7ffffff0}};
    const struct metrics_gpu gpus[] = {{"a \"b\"\\\n", 0, 5, 7}, {"a \"b\"\\\n", 1, 6, 8}};
    const struct metrics_served_gauges models[] = {
        {.ready = true,
         .name = "a \"b\"\\\n",
         .fingerprint = "f00d",
         .dtype = "float32",
         .queue_items = 3,
         .queue_tokens = 48,
         .queue_bytes = 5},
        {.name = "c", .queue_items = 7, .drain_seconds = 9},
    };
    const struct metrics_gauges gauges = {
        .models = models,
        .n_models = 2,
        .limit_tokens = 65536,
        .certificate_expiry = 1.8e9,
        .processes = processes,
        .n_processes = 3,
        .gpus = gpus,
        .n_gpus = 2,
    };
    metrics_write(metrics, &gauges, &out);
    buffer_bytes(&out, "", 1);
    size_t size;
    char *text = buffer_take(&out, &size);
    assert_non_null(text);
    return text;
}

static void assert_line(const char *text, const char *line) {
    char wanted[512];
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    if (!strstr(text, wanted))
        fail_msg("the page has no line %s", line);
}

static void test_counts(void **state) {
    (void)state;
    struct metrics *metrics = metrics_new(routes, 2, 2);
    struct metrics_model *counters = metrics_open_model(metrics, &model);
    metrics_count_request(metrics, 0, 0, 200, 400000);
    metrics_count_request(metrics, 0, 0, 200, 500000);
    metrics_count_request(metrics, 0, 1, 429, 2000000000);
    metrics_count_request(metrics, 1, METRICS_NO_MODEL, 599, 60000000000);
    metrics_count_disconnect(metrics);
    metrics_count_stages(metrics, 1, 500000, 3000000, 1000000);
    metrics_count_refusal(metrics, METRICS_DEADLINE);
    metrics_count(metrics, METRICS_DECODER_RESTARTS, 5);
    metrics_count_model(metrics, 0, METRICS_POISON_PICTURES, 4);
    metrics_count_model(metrics, 1, METRICS_FAILED_RELOADS, 1);
    const struct metrics_step step = {
        .items = {2, 3}, .tokens = {128, 12}, .budget = 280, .duration_ns = 1000000};
    metrics_count_step(metrics, 0, &step);
    metrics_count_step(metrics, 0, &step);
    const double entropy[] = {0.5, 0.25, 1, 2};
    metrics_count_routing(counters, &(struct metrics_routing){.load = load,
                                                              .entropy = entropy,
                                                              .tokens = {4, 1},
                                                              .rows_sent = (const uint64_t[]){3, 4},
                                                              .bytes_sent = (const uint64_t[]){30, 40},
                                                              .exchange_ns = (const uint64_t[]){500000000, 0},
                                                              .rank_tokens = (const uint64_t[]){4, 1},
                                                              .ranks = 2});
    metrics_count_routing(counters, &(struct metrics_routing){.load = load});
    char *text = page(metrics);
    assert_line(text, "limoe_requests_total{" MODEL ",route=\"/a\",code=\"200\"} 2");
    assert_line(text, "limoe_requests_total{model=\"c\",route=\"/a\",code=\"429\"} 1");
    assert_line(text, "limoe_requests_total{route=\"/b\",code=\"599\"} 1");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/a\",le=\"0.0005\"} 2");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/a\",le=\"1\"} 2");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/a\",le=\"2.5\"} 3");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/b\",le=\"30\"} 0");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/b\",le=\"+Inf\"} 1");
    assert_line(text, "limoe_request_duration_seconds_sum{route=\"/a\"} 2.0009");
    assert_line(text, "limoe_request_duration_seconds_count{route=\"/a\"} 3");
    assert_line(text, "limoe_stage_duration_seconds_count{model=\"c\",stage=\"preprocess\"} 1");
    assert_line(text, "limoe_client_disconnects_total 1");
    assert_line(text, "limoe_items_total{" MODEL ",modality=\"text\"} 6");
    assert_line(text, "limoe_tokens_total{" MODEL ",modality=\"image\"} 256");
    assert_line(text, "limoe_step_tokens_bucket{" MODEL ",le=\"128\"} 0");
    assert_line(text, "limoe_step_tokens_bucket{" MODEL ",le=\"256\"} 2");
    assert_line(text, "limoe_step_tokens_sum{" MODEL "} 280");
    assert_line(text, "limoe_step_budget_use_ratio_bucket{" MODEL ",le=\"0.4\"} 0");
    assert_line(text, "limoe_step_budget_use_ratio_bucket{" MODEL ",le=\"0.5\"} 2");
    assert_line(text, "limoe_step_budget_use_ratio_sum{" MODEL "} 1");
    assert_line(text, "limoe_step_duration_seconds_count{" MODEL "} 2");
    assert_line(text, "limoe_step_compute_seconds_count{" MODEL "} 0");
    assert_line(text, "limoe_requests_refused_total{reason=\"deadline\"} 1");
    assert_line(text, "limoe_requests_refused_total{reason=\"queue_full\"} 0");
    assert_line(text, "limoe_items_failed_total{" MODEL ",reason=\"decoder_lost\"} 4");
    assert_line(text, "limoe_items_failed_total{" MODEL ",reason=\"engine_lost\"} 0");
    assert_line(text, "limoe_model_reloads_total{model=\"c\",result=\"failed\"} 1");
    assert_line(text, "limoe_expert_tokens_total{" MODEL ",layer=\"1\",expert=\"1\",modality=\"image\"} 4");
    assert_line(text, "limoe_expert_tokens_total{" MODEL ",layer=\"3\",expert=\"0\",modality=\"text\"} 14");
    /* Layer 1 assigned 1 + 3 and 2 + 4: 6 of a mean of 5. Layer 3 5 + 7 and 6 + 8: 14 of a mean of 13. */
    assert_line(text, "limoe_expert_imbalance_ratio_bucket{" MODEL ",layer=\"1\",le=\"1.1\"} 0");
    assert_line(text, "limoe_expert_imbalance_ratio_sum{" MODEL ",layer=\"1\"} 2.4");
    assert_line(text, "limoe_expert_imbalance_ratio_bucket{" MODEL ",layer=\"3\",le=\"1.1\"} 2");
    assert_line(text, "limoe_exchange_rows_total{" MODEL ",layer=\"3\"} 4");
    assert_line(text, "limoe_exchange_bytes_total{" MODEL ",layer=\"1\"} 30");
    assert_line(text, "limoe_exchange_seconds_total{" MODEL ",layer=\"1\"} 0.5");
    assert_line(text, "limoe_rank_imbalance_ratio_sum{" MODEL "} 1.6");
    assert_line(text, "limoe_gate_entropy_nats_sum{" MODEL ",layer=\"1\",modality=\"text\"} 0.25");
    assert_line(text, "limoe_gate_entropy_nats_count{" MODEL ",layer=\"3\",modality=\"image\"} 4");
    assert_line(text, "limoe_queue_depth{" MODEL "} 3");
    assert_line(text, "limoe_queue_depth_tokens{" MODEL "} 48");
    assert_line(text, "limoe_queue_limit_tokens{" MODEL "} 65536");
    assert_line(text, "limoe_ready{" MODEL "} 1");
    assert_line(text, "limoe_ready{model=\"c\"} 0");
    assert_line(text, "limoe_queue_depth{model=\"c\"} 7");
    assert_line(text, "limoe_queue_limit_tokens{model=\"c\"} 65536");
    assert_line(text, "limoe_queue_drain_seconds{model=\"c\"} 9");
    assert_line(text, "limoe_tokens_total{model=\"c\",modality=\"image\"} 0");
    assert_line(text, "limoe_decoder_restarts_total 5");
    assert_line(text, "limoe_tls_certificate_expiry_timestamp_seconds 1800000000");
    assert_line(text, "limoe_model_info{" MODEL ",fingerprint=\"f00d\",dtype=\"float32\",backend=\"\"} 1");
    assert_non_null(strstr(text, "limoe_process_resident_memory_bytes{process=\"front\",index=\"0\"} "));
    assert_line(text, "limoe_gpu_memory_used_bytes{" MODEL ",rank=\"0\"} 5");
    assert_line(text, "limoe_gpu_memory_used_bytes{" MODEL ",rank=\"1\"} 6");
    assert_line(text, "limoe_gpu_memory_bytes{" MODEL ",rank=\"1\"} 8");
    assert_non_null(
        strstr(text, "limoe_process_cpu_seconds_total{process=\"engine\",index=\"1\",model=\"c\"} "));
    assert_null(strstr(text, "process=\"engine\",index=\"0\"")); /* has ended */
    free(text);
    metrics_free(metrics);
}

/* Before a model is ready nothing is counted by model, but that none is ready is said. */
static void test_a_page_without_models(void **state) {
    (void)state;
    struct metrics *metrics = metrics_new(routes, 2, 3);
    const struct metrics_gauges gauges = {.requests = 1};
    struct buffer out = {0};
    metrics_count_request(metrics, 0, METRICS_NO_MODEL, 503, 1);
    metrics_write(metrics, &gauges, &out);
    buffer_bytes(&out, "", 1);
    assert_line(out.data, "limoe_ready 0");
    assert_line(out.data, "limoe_requests_total{route=\"/a\",code=\"503\"} 1");
    assert_line(out.data, "limoe_requests_in_flight 1");
    assert_non_null(strstr(out.data, "# TYPE limoe_queue_depth gauge"));
    assert_null(strstr(out.data, "model=\""));
    buffer_free(&out);
    metrics_free(metrics);
}

/* Every sample is announced by HELP and TYPE, once, and all samples of a metric stand together. */
static void test_every_sample_is_announced(void **state) {
    (void)state;
    struct metrics *metrics = metrics_new(routes, 2, 2);
    metrics_open_model(metrics, &model);
    metrics_count_request(metrics, 1, 0, 200, 1);
    char *text = page(metrics), *rest = text;
    char current[128] = "", type[32] = "";
    char seen[16384] = "";
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        char name[128];
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_int_equal(sscanf(line, "# HELP %127s", current), 1);
            strcat(strcat(strcpy(name, " "), current), " ");
            assert_null(strstr(seen, name));
            strcat(seen, name);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(sscanf(line, "# TYPE %127s %31s", name, type), 2);
            assert_string_equal(name, current);
        } else {
            size_t length = strcspn(line, "{ ");
            assert_true(strncmp(line, current, strlen(current)) == 0);
            const char *suffix = line + strlen(current);
            bool histogram = strcmp(type, "histogram") == 0, summary = strcmp(type, "summary") == 0;
            if (histogram || summary)
                assert_true((histogram && strncmp(suffix, "_bucket", 7) == 0) ||
                            strncmp(suffix, "_sum", 4) == 0 || strncmp(suffix, "_count", 6) == 0);
            else
                assert_int_equal(length, strlen(current));
            assert_int_equal(strncmp(type, "counter", 7) == 0, strncmp(line + length - 6, "_total", 6) == 0);
            char *end;
            strtod(strrchr(line, ' ') + 1, &end);
            assert_int_equal(*end, '\0');
        }
    }
    assert_int_equal(text[0], '#');
    free(text);
    metrics_free(metrics);
}

static const struct limoe_info wider = {
    .name = "a \"b\"\\\n", .moe_layers = 2, .experts = 3, .moe_blocks = blocks};
static const struct metrics_routing routing = {.load = load};

#define FIRST_EXPERT "limoe_expert_tokens_total{" MODEL ",layer=\"1\",expert=\"0\",modality=\"image\"}"

/* What the page says of the first expert of `model`, which must be there once. */
static unsigned first_expert(struct metrics *metrics) {
    char *text = page(metrics);
    const char *found = strstr(text, FIRST_EXPERT);
    assert_non_null(found);
    assert_null(strstr(found + 1, FIRST_EXPERT));
    unsigned count;
    assert_int_equal(sscanf(found + strlen(FIRST_EXPERT), "%u", &count), 1);
    free(text);
    return count;
}

static bool is_on_page(struct metrics *metrics, const char *what) {
    char *text = page(metrics);
    const bool found = strstr(text, what);
    free(text);
    return found;
}

/* A model of the same name goes on counting; with another shape it starts anew, and the page shows one of
 * them; another name stands beside it. Counting for a model that was replaced is still safe. */
static void test_models_come_and_go(void **state) {
    (void)state;
    const struct limoe_info other = {.name = "other", .moe_layers = 1, .experts = 1, .moe_blocks = blocks};
    const struct limoe_info dense = {.name = "dense"};
    struct metrics *metrics = metrics_new(routes, 2, 2);
    struct metrics_model *first = metrics_open_model(metrics, &model);
    metrics_count_routing(first, &routing);
    assert_ptr_equal(metrics_open_model(metrics, &model), first);
    metrics_count_routing(metrics_open_model(metrics, &other), &routing);
    metrics_count_routing(metrics_open_model(metrics, &dense), &routing);
    assert_ptr_equal(metrics_open_model(metrics, &model), first);
    char *text = page(metrics);
    assert_line(text, FIRST_EXPERT " 1");
    assert_line(text,
                "limoe_expert_tokens_total{model=\"other\",layer=\"1\",expert=\"0\",modality=\"text\"} 2");
    assert_null(strstr(text, "model=\"dense\""));
    free(text);

    struct buffer load_file = {0};
    metrics_write_load(metrics, "other", &load_file);
    assert_int_equal(load_file.size, strlen("{\"format\":\"limoe-load-1\",\"load\":[[3]]}"));
    assert_memory_equal(load_file.data, "{\"format\":\"limoe-load-1\",\"load\":[[3]]}", load_file.size);
    load_file.size = 0;
    metrics_write_load(metrics, "unknown", &load_file);
    assert_memory_equal(load_file.data, "{\"format\":\"limoe-load-1\",\"load\":[]}", load_file.size);
    buffer_free(&load_file);

    struct metrics_model *second = metrics_open_model(metrics, &wider);
    assert_ptr_not_equal(second, first);
    metrics_count_routing(second, &routing);
    metrics_count_routing(first, &routing);
    metrics_count_routing(NULL, &routing);
    text = page(metrics);
    assert_line(text, "limoe_expert_tokens_total{" MODEL ",layer=\"3\",expert=\"2\",modality=\"text\"} 12");
    free(text);
    assert_int_equal(first_expert(metrics), 1);
    metrics_free(metrics); /* with all that is still open */
}

/* What was opened twice is there until it has been closed twice; a newer one that goes first, as when a
 * reload fails after its engine's greeting, leaves the page to the one before it. */
static void test_a_model_that_is_closed_leaves_the_page(void **state) {
    (void)state;
    struct metrics *metrics = metrics_new(routes, 2, 2);
    struct metrics_model *first = metrics_open_model(metrics, &model);
    assert_ptr_equal(metrics_open_model(metrics, &model), first);
    metrics_count_routing(first, &routing);
    metrics_count_routing(first, &routing);
    struct metrics_model *second = metrics_open_model(metrics, &wider);
    assert_int_equal(first_expert(metrics), 0);
    metrics_close_model(metrics, second);
    assert_int_equal(first_expert(metrics), 2);
    metrics_close_model(metrics, first);
    assert_int_equal(first_expert(metrics), 2);

    second = metrics_open_model(metrics, &wider);
    metrics_count_routing(second, &routing);
    metrics_close_model(metrics, first); /* not the newest of the list */
    assert_int_equal(first_expert(metrics), 1);
    metrics_close_model(metrics, second);
    metrics_close_model(metrics, NULL);
    assert_false(is_on_page(metrics, "limoe_expert_tokens_total{"));
    metrics_free(metrics);
}

/* A server that is given model after model, each of another name or shape, holds what it serves. */
static void test_counters_of_models_that_are_gone_take_no_memory(void **state) {
    (void)state;
    enum { MODELS = 1000, EXPERTS = 256 };
    struct metrics *metrics = metrics_new(routes, 2, 2);
    struct metrics_model *served = NULL;
    size_t in_use = 0;
    for (uint32_t i = 0; i < MODELS; i++) {
        char name[32];
        snprintf(name, sizeof name, "model %04u", i % 7);
        const struct limoe_info info = {
            .name = name, .moe_layers = 2, .experts = EXPERTS + i % 2, .moe_blocks = blocks};
        struct metrics_model *next = metrics_open_model(metrics, &info); /* a reload: both are there */
        assert_non_null(next);
        metrics_close_model(metrics, served);
        served = next;
        if (i == 1)
            in_use = mallinfo2().uordblks; /* 0 under a sanitizer, whose allocator it does not know */
    }
    assert_true(mallinfo2().uordblks < in_use + 4 * EXPERTS * sizeof(uint64_t));
    assert_false(is_on_page(metrics, "model=\"model 0004\""));
    assert_true(is_on_page(metrics, "model=\"model 0005\"")); /* 999 % 7 */
    metrics_close_model(metrics, served);
    metrics_free(metrics);
}

/* ---- threads */

enum { SWAPPERS = 2, SWAPS = 200, COUNTS = 20, PAGES = 50 };

static void *swap_models(void *argument) {
    struct metrics *metrics = argument;
    for (uint32_t i = 0; i < SWAPS; i++) {
        const struct limoe_info info = {
            .name = "m", .moe_layers = 2, .experts = i % 3 + 1, .moe_blocks = blocks};
        struct metrics_model *counters = metrics_open_model(metrics, &info);
        for (int k = 0; k < COUNTS; k++)
            metrics_count_routing(counters, &routing);
        metrics_close_model(metrics, counters);
    }
    return NULL;
}

/* Reading the page while models are swapped and counted for: what a sanitizer would find. Each thread has so
 * much to do, however the others come on. */
static void test_scraped_while_models_change(void **state) {
    (void)state;
    struct metrics *metrics = metrics_new(routes, 2, 2);
    pthread_t threads[SWAPPERS];
    for (int i = 0; i < SWAPPERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, swap_models, metrics), 0);
    for (int i = 0; i < PAGES; i++)
        free(page(metrics));
    for (int i = 0; i < SWAPPERS; i++)
        pthread_join(threads[i], NULL);
    assert_false(is_on_page(metrics, "model=\"m\""));
    metrics_free(metrics);
}

static void test_statistics(void **state) {
    (void)state;
    struct metrics *metrics = metrics_new(routes, 2, 2);
    struct metrics_statistics found;
    metrics_statistics(metrics, 1, &found);
    const struct metrics_statistics nothing = {0};
    assert_memory_equal(&found, &nothing, sizeof found);
    metrics_count_inference(metrics, 1, true, 5000);
    metrics_count_inference(metrics, 1, true, 7000);
    metrics_count_inference(metrics, 1, false, 11);
    metrics_count_stages(metrics, 1, 1, 20, 300);
    metrics_count_stages(metrics, 1, 60000000000, 20, 300); /* above every bound */
    metrics_count_step(metrics, 1, &(struct metrics_step){.items = {2, 3}, .tokens = {128, 12}});
    metrics_statistics(metrics, 1, &found);
    assert_int_equal(found.ok.count, 2);
    assert_int_equal(found.ok.total, 12000);
    assert_int_equal(found.failed.count, 1);
    assert_int_equal(found.failed.total, 11);
    assert_int_equal(found.stages[METRICS_QUEUE].count, 2);
    assert_int_equal(found.stages[METRICS_QUEUE].total, 60000000001);
    assert_int_equal(found.stages[METRICS_PREPROCESS].total, 40);
    assert_int_equal(found.stages[METRICS_INFERENCE].total, 600);
    assert_int_equal(found.step_items.count, 1);
    assert_int_equal(found.step_items.total, 5);
    assert_true(found.last_step_ms > 1700000000000);
    metrics_statistics(metrics, 0, &found);
    assert_memory_equal(&found, &nothing, sizeof found);
    metrics_free(metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_a_page_without_models),
        cmocka_unit_test(test_every_sample_is_announced),
        cmocka_unit_test(test_models_come_and_go),
        cmocka_unit_test(test_a_model_that_is_closed_leaves_the_page),
        cmocka_unit_test(test_counters_of_models_that_are_gone_take_no_memory),
        cmocka_unit_test(test_scraped_while_models_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
