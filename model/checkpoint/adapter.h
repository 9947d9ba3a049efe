/* adapter.h - an adapter's file (docs/format.md, "limoe-adapter-1"): what it is for, and its tensors.
 *
 * One safetensors file, whose metadata has one JSON text. It comes from anyone: file, text and bounds are checked here;
 * whether the tensors fit a model is tuned.h's business. */
#ifndef LIMOE_MODEL_CHECKPOINT_ADAPTER_H
#define LIMOE_MODEL_CHECKPOINT_ADAPTER_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "base/buffer.h"
#include "limoe.h"
#include "model/checkpoint/safetensors.h"

#define ADAPTER_KEY             "limoe-adapter" /* of the metadata */
#define ADAPTER_FORMAT          "limoe-adapter-1"
#define ADAPTER_MAX_TEXT        (16u << 20)
#define ADAPTER_MAX_LABELS      10000u
#define ADAPTER_MAX_TEMPLATES   100u
#define ADAPTER_MAX_LABEL_BYTES 1024u /* also of a template */

struct limoe_adapter {
    struct limoe_adapter_info info; /* its strings lie in about, its lists are its own */
    struct safetensors *st;         /* stays open: a tail's weights are read when a model is adapted */
    cJSON *about;
    const char *prefix; /* of a LoRA: what stands before the names of the base's modules; static */
    double scale;       /* what its products are multiplied by */
    float *probe;       /* [labels, embed], then [labels]; NULL but of a probe */
};

/* Reads the file at `path`, or a LoRA from the folder at `path` (peft.h), and of a probe its weights too. Free with adapter_free. */
enum limoe_status adapter_open(const char *path, struct limoe_adapter **out, struct limoe_error *err);
/* The same of a file's bytes, not owned and not copied (for tests and fuzzing). */
enum limoe_status adapter_open_memory(const void *bytes, size_t size, const char *where,
                                      struct limoe_adapter **out, struct limoe_error *err);
void adapter_free(struct limoe_adapter *a); /* NULL is fine */

/* What a LoRA's products are multiplied by; 0: it is none. */
double adapter_scale(const struct limoe_adapter_info *info);

/* The metadata's text that says all that the info does of its kind; `base` in place of its own. */
void adapter_print_about(struct buffer *out, const struct limoe_adapter_info *info, const char *base);

/* Whether it was made of the model `name`, whose digits are `base`, as far as it says: PEFT's folders do not.
 * LIMOE_INVALID. */
enum limoe_status adapter_check_base(const struct limoe_adapter *a, const char *name, const char *base,
                                     struct limoe_error *err);

/* Whether all of value[n] are finite: LIMOE_CORRUPT names the first that is not. */
enum limoe_status adapter_check_finite(const struct safetensors *st, const char *name, const float *value,
                                       size_t n, struct limoe_error *err);

#endif
