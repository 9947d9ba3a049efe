/* test_metrics.c - protects the page's format, which a scraper reads strictly, and the arithmetic of its
 * counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/metrics.h"

static const char *const routes[] = {"/a", "/b"};
static const uint32_t blocks[] = {1, 3};
static const struct limoe_info model = {
    .name = "a \"b\"\\\n", .moe_layers = 2, .experts = 2, .moe_blocks = blocks};

static char *page(struct metrics *metrics) {
    struct buffer out = {0};
    const struct metrics_gauges gauges = {
        .ready = true, .queue_items = 3, .queue_tokens = 48, .queue_bytes = 5};
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
    struct metrics *metrics = metrics_new(routes, 2);
    metrics_set_model(metrics, &model, "float32", "cpu");
    metrics_count_request(metrics, 0, 200, 400000);
    metrics_count_request(metrics, 0, 200, 500000);
    metrics_count_request(metrics, 0, 429, 2000000000);
    metrics_count_request(metrics, 1, 599, 60000000000);
    metrics_count_disconnect(metrics);
    metrics_count_stage(metrics, METRICS_PREPROCESS, 3000000);
    const struct metrics_step step = {{2, 3}, {128, 12}, 1000000};
    metrics_count_step(metrics, &step);
    metrics_count_step(metrics, &step);
    const uint64_t load[] = {1, 2, 3, 4, 5, 6, 7, 8};
    metrics_experts(metrics, load);
    metrics_experts(metrics, load);
    char *text = page(metrics);
    assert_line(text, "limoe_requests_total{route=\"/a\",code=\"200\"} 2");
    assert_line(text, "limoe_requests_total{route=\"/a\",code=\"429\"} 1");
    assert_line(text, "limoe_requests_total{route=\"/b\",code=\"599\"} 1");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/a\",le=\"0.0005\"} 2");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/a\",le=\"1\"} 2");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/a\",le=\"2.5\"} 3");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/b\",le=\"30\"} 0");
    assert_line(text, "limoe_request_duration_seconds_bucket{route=\"/b\",le=\"+Inf\"} 1");
    assert_line(text, "limoe_request_duration_seconds_sum{route=\"/a\"} 2.0009");
    assert_line(text, "limoe_request_duration_seconds_count{route=\"/a\"} 3");
    assert_line(text, "limoe_stage_duration_seconds_count{stage=\"preprocess\"} 1");
    assert_line(text, "limoe_client_disconnects_total 1");
    assert_line(text, "limoe_items_total{modality=\"text\"} 6");
    assert_line(text, "limoe_tokens_total{modality=\"image\"} 256");
    assert_line(text, "limoe_step_tokens_bucket{le=\"128\"} 0");
    assert_line(text, "limoe_step_tokens_bucket{le=\"256\"} 2");
    assert_line(text, "limoe_step_tokens_sum 280");
    assert_line(text, "limoe_expert_tokens_total{layer=\"1\",expert=\"1\",modality=\"image\"} 4");
    assert_line(text, "limoe_expert_tokens_total{layer=\"3\",expert=\"0\",modality=\"text\"} 14");
    assert_line(text, "limoe_queue_depth 3");
    assert_line(text, "limoe_queue_depth_tokens 48");
    assert_line(text, "limoe_ready 1");
    assert_line(text, "limoe_build_info{version=\"" LIMOE_VERSION
                      "\",model=\"a \\\"b\\\"\\\\\\n\",dtype=\"float32\",backend=\"cpu\"} 1");
    free(text);
    metrics_free(metrics);
}

/* Every sample is announced by HELP and TYPE, once, and all samples of a metric stand together. */
static void test_every_sample_is_announced(void **state) {
    (void)state;
    struct metrics *metrics = metrics_new(routes, 2);
    metrics_set_model(metrics, &model, "float32", "cpu");
    metrics_count_request(metrics, 1, 200, 1);
    char *text = page(metrics), *rest = text;
    char current[128] = "", type[32] = "";
    char seen[8192] = "";
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
            bool histogram = strcmp(type, "histogram") == 0;
            assert_true(histogram ? strncmp(suffix, "_bucket", 7) == 0 || strncmp(suffix, "_sum", 4) == 0 ||
                                        strncmp(suffix, "_count", 6) == 0
                                  : length == strlen(current));
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_every_sample_is_announced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
