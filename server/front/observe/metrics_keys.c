/* metrics_keys.c - what keys with names have asked for: their part of the page. */
#include <stddef.h>
#include <string.h>

#include "server/front/observe/metrics_parts.h"

/* A sample of each key: the number at `offset`. */
static void write_of_each(const struct metrics_gauges *gauges, const char *name, const char *label,
                          size_t offset, struct buffer *out) {
    for (size_t i = 0; i < gauges->n_keys; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&gauges->keys[i] + offset, sizeof value);
        buffer_print(out, "%s{key=\"", name);
        metrics_label(out, gauges->keys[i].name);
        buffer_print(out, "\"%s} %llu\n", label, (unsigned long long)value);
    }
}

void metrics_write_keys(const struct metrics_gauges *gauges, struct buffer *out) {
    static const struct {
        const char *name, *label, *help; /* help NULL: of the family above */
        size_t offset;
    } rows[] = {
        {"limoe_key_requests_total", "", "Requests let in, by the name of their key.",
         offsetof(struct metrics_key, requests)},
        {"limoe_key_tokens_total", "", "Tokens of requests that were computed, by the name of their key.",
         offsetof(struct metrics_key, tokens)},
        {"limoe_key_pictures_total", "", "Pictures of requests that were computed, by the name of their key.",
         offsetof(struct metrics_key, pictures)},
        {"limoe_key_refused_total", ",quota=\"requests\"",
         "Requests refused because the key's quota was used up, by its name and the quota.",
         offsetof(struct metrics_key, refused_requests)},
        {"limoe_key_refused_total", ",quota=\"tokens\"", NULL, offsetof(struct metrics_key, refused_tokens)},
    };
    for (size_t i = 0; gauges->n_keys && i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].help)
            metrics_head(out, rows[i].name, "counter", rows[i].help);
        write_of_each(gauges, rows[i].name, rows[i].label, rows[i].offset, out);
    }
}
