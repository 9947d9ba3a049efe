/* check.c - every kernel of a device against its formula in double precision, on fresh random data.
 *
 *     check [--device cuda|cuda:N|cpu] [--seed N] [--quick] [--tiny] [--report FILE]
 *
 * The shapes are those of LIMoE B/16, L/16 and H/14, and of SigLIP SO400M/14. Results are poisoned first: an element that is not
 * written is NaN, and NaN passes no comparison. --tiny has shapes of the same kind for a device that is
 * emulated, where a product of B/16's would take minutes. Exit status: 0, 1 (a check failed), 2 (usage, or
 * there is no GPU).
 */
#include "bench/gpu/check.h"

#include <math.h>
#include <stdio.h>

double check_act_limit(const struct check *c) {
    return c->k->dtype == LIMOE_FLOAT32 ? CHECK_F32_LIMIT : 3e-3;
}

size_t check_not_numbers(const float *v, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += isnan(v[i]) != 0;
    return count;
}

void check_judge(struct check *c, const struct size *s, const char *what, const struct distance *d,
                 double limit, size_t unwritten) {
    char name[80];
    snprintf(name, sizeof name, "%s %s", s->name, what);
    report_check(c->report, !unwritten && distance_relative(d) <= limit, name,
                 "width %u, error %.2e (limit %.0e), %zu not numbers", s->width, distance_relative(d), limit,
                 unwritten);
}

static const struct size sizes[] = {
    {"B/16", 768, 12, 3072, 224, 16}, {"L/16", 1024, 16, 4096, 224, 16}, {"H/14", 1280, 16, 5120, 224, 14}};
/* Heads of 32, widths that no tile divides; and heads that only the plain kernel takes. */
static const struct size tiny[] = {{"tiny", 96, 3, 160, 32, 8}, {"odd", 60, 3, 76, 24, 8}};
/* Heads that fill no unit, patches that fill no picture: for what they are about alone. */
static const struct size ragged = {"SO400M/14", 1152, 16, 4304, 384, 14},
                         tiny_ragged = {"ragged", 144, 2, 0, 31, 14};

static void check_ragged(struct check *c) {
    const struct size *s = c->setting->tiny ? &tiny_ragged : &ragged;
    check_embed(c, s);
    check_sequences(c, s);
}

static void check_size(struct check *c, const struct size *s, bool thorough) {
    static const uint32_t experts[] = {32, 8, 64};
    check_embed(c, s);
    check_rows(c, s);
    check_sequences(c, s);
    check_linear(c, s);
    for (int i = 0; i < (thorough ? 3 : 1); i++) {
        check_grouped(c, s, c->setting->tiny ? experts[i] / 4 : experts[i]);
        check_moe(c, s, experts[i], 1);
        check_moe(c, s, experts[i], 2);
    }
}

static int check_dtype(const struct setting *setting, enum limoe_dtype dtype) {
    int status;
    struct report report;
    struct kernels *k = setting_open(setting, dtype, &status);
    if (!k)
        return status;
    if (setting->probe) {
        k->ops->destroy(k);
        return 0;
    }
    if (!report_open(&report, "check", setting->report)) {
        k->ops->destroy(k);
        return 1;
    }
    printf("         %s, %s, seed %llu\n", k->name, limoe_dtype_name(dtype),
           (unsigned long long)setting->seed);
    struct check c = {k, setting, &report, random_seeded(setting->seed)};
    const bool whole = dtype == LIMOE_BFLOAT16 && !setting->quick && !setting->tiny;
    if (setting->tiny) {
        check_size(&c, &tiny[0], dtype == LIMOE_BFLOAT16);
        check_size(&c, &tiny[1], false);
    }
    for (size_t i = 0; !setting->tiny && i < (whole ? sizeof sizes / sizeof *sizes : 1); i++)
        check_size(&c, &sizes[i], whole);
    check_ragged(&c);
    struct limoe_error err = {.message = "no failure"};
    report_check(&report, k->ops->sync(k, &err) == LIMOE_OK, "the device", "%s", err.message);
    k->ops->destroy(k);
    return report_close(&report);
}

int main(int argc, char **argv) {
    struct setting setting;
    int status = setting_read(argc, argv, &setting);
    if (status)
        return status;
    status = check_dtype(&setting, LIMOE_BFLOAT16);
    if (status == 2 || setting.probe)
        return status;
    return check_dtype(&setting, LIMOE_FLOAT32) || status;
}
