/* prompts.h - the texts that stand for classes: each label in each template, as items of the model. */
#ifndef LIMOE_MODEL_TUNING_PROMPTS_H
#define LIMOE_MODEL_TUNING_PROMPTS_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct prompts {
    uint32_t classes, templates;
    size_t count;            /* classes * templates: a label's templates are next to each other */
    struct limoe_item *item; /* [count] */
    uint32_t *start;         /* [count + 1]: where its tokens begin, all end to end */
    int32_t *token;
};

/* Each template has "{}" once. LIMOE_INVALID names the prompt that is none. On failure *out is empty. */
enum limoe_status prompts_create(const struct limoe_processor *processor, const char *const *label,
                                 uint32_t classes, const char *const *template, uint32_t templates,
                                 struct prompts *out, struct limoe_error *err);
void prompts_free(struct prompts *p); /* empty ones are fine */

#endif
