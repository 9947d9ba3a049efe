/* time.c - how long each operation takes on a device, beside the least that its bytes and operations allow.
 *
 *     time [--device cuda|cuda:N|cpu] [--bandwidth GB/S] [--rate TFLOP/S] [--quick] [--tiny] [--report FILE]
 *
 * --bandwidth and --rate are what `card` measured on the same card. Shapes are LIMoE B/16's with 32 experts:
 * 256 pictures of 196 patches, 50,176 rows, and one picture. Data are random, since zeros draw less power and
 * let a card run faster. Two targets: products of experts with 50,000 rows at 60 % of the measured rate, with
 * 256 rows at 70 % of the measured bandwidth.
 */
#include "bench/gpu/timer.h"

#include <math.h>
#include <stdio.h>

#include "bench/gpu/pace.h"

size_t timer_sets(const struct timer *t, double bytes) {
    const double sets = ceil((double)CACHE_BYTES / bytes);
    return t->setting->tiny ? 2 : sets < 2 ? 2 : sets > MOST_SETS ? MOST_SETS : (size_t)sets;
}

void timer_report(struct timer *t, const char *name, struct floors floors,
                  void (*queue)(void *context, size_t turn), void *context) {
    const double seconds = pace(t->k, queue, context, t->budget);
    const double by_bytes = t->setting->bandwidth > 0 ? floors.bytes / t->setting->bandwidth : 0;
    const double by_operations = t->setting->rate > 0 ? floors.operations / t->setting->rate : 0;
    const double floor = fmax(by_bytes, by_operations), share = 100 * floor / seconds;
    if (seconds < 0) {
        report_check(t->report, false, name, "the device failed");
        return;
    }
    if (floor > 0)
        report_figure(t->report, name, seconds * 1e6, "us", 0,
                      "; floors: bytes %.1f us, operations %.1f us; %.0f %% of the larger", by_bytes * 1e6,
                      by_operations * 1e6, share);
    else
        report_figure(t->report, name, seconds * 1e6, "us", 0, "; %.1f GB/s, %.2f TFLOP/s",
                      floors.bytes / seconds * 1e-9, floors.operations / seconds * 1e-12);
    if (floor > 0 && floors.target > 0)
        report_figure(t->report, name, share, "%", 100 * floors.target,
                      " of what the card was measured to do");
}

int main(int argc, char **argv) {
    struct setting setting;
    struct report report;
    int status = setting_read(argc, argv, &setting);
    if (status)
        return status;
    struct kernels *k = setting_open(&setting, LIMOE_BFLOAT16, &status);
    if (!k)
        return status;
    if (!report_open(&report, "time", setting.report)) {
        k->ops->destroy(k);
        return 1;
    }
    struct timer t = {k, &setting, &report, random_seeded(setting.seed),
                      setting.tiny    ? 0.001
                      : setting.quick ? 0.05
                                      : 0.3};
    time_products(&t, setting.tiny ? 128 : 50000, setting.tiny ? 8 : 256);
    if (!setting.tiny)
        time_rows(&t, 256);
    time_rows(&t, 1);
    k->ops->destroy(k);
    return report_close(&report);
}
