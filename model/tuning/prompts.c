/* prompts.c - labels and templates to token ids. The caller owns them; one thread. */
#include "model/tuning/prompts.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "limoe_tune.h"

static enum limoe_status tokenise(const struct limoe_processor *processor, const char *label,
                                  const char *template, struct limoe_item *item, int32_t *token,
                                  struct limoe_error *err) {
    const char *place = strstr(template, "{}");
    struct buffer text = {0};
    struct limoe_error why;
    enum limoe_status status;
    buffer_bytes(&text, template, (size_t)(place - template));
    buffer_string(&text, label);
    buffer_string(&text, place + 2);
    if (text.failed)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a prompt");
    else if ((status = limoe_process_text(processor, text.data, text.size, token, &item->length, &why)))
        limoe_fail(err, status, "the prompt of label \"%.100s\" in template \"%.100s\": %.280s", label,
                   template, why.message);
    buffer_free(&text);
    item->modality = LIMOE_TEXT;
    item->tokens = token;
    return status;
}

static enum limoe_status check(const char *const *template, uint32_t templates, size_t count,
                               struct limoe_error *err) {
    if (count > LIMOE_TUNE_MAX_PROMPTS)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "%zu prompts, of labels in %u templates; at most %u are accepted", count, templates,
                          LIMOE_TUNE_MAX_PROMPTS);
    for (uint32_t i = 0; i < templates; i++) {
        const char *place = strstr(template[i], "{}");
        if (!place || strstr(place + 2, "{}"))
            return limoe_fail(
                err, LIMOE_INVALID,
                "template \"%.200s\" has {} %s; one with {} once, where the label goes, is accepted",
                template[i], place ? "more than once" : "nowhere");
    }
    return LIMOE_OK;
}

static enum limoe_status fill(const struct limoe_processor *processor, const char *const *label,
                              const char *const *template, struct prompts *p, struct limoe_error *err) {
    const uint32_t longest = limoe_processor_info(processor)->text_length;
    enum limoe_status status = LIMOE_OK;
    p->item = calloc(p->count + 1, sizeof *p->item);
    p->start = calloc(p->count + 1, sizeof *p->start);
    p->token = calloc(p->count * longest + 1, sizeof *p->token);
    if (!p->item || !p->start || !p->token)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu prompts", p->count);
    for (size_t i = 0; i < p->count && !status; i++) {
        status = tokenise(processor, label[i / p->templates], template[i % p->templates], &p -> item[i],
                          p -> token + i * longest, err);
        p->start[i + 1] = p->start[i] + p->item[i].length;
    }
    return status;
}

enum limoe_status prompts_create(const struct limoe_processor *processor, const char *const *label,
                                 uint32_t classes, const char *const *template, uint32_t templates,
                                 struct prompts *out, struct limoe_error *err) {
    *out = (struct prompts){.classes = classes, .templates = templates, .count = (size_t)classes * templates};
    enum limoe_status status = check(template, templates, out->count, err);
    if (!status)
        status = fill(processor, label, template, out, err);
    if (status)
        prompts_free(out);
    return status;
}

void prompts_free(struct prompts *p) {
    free(p->item);
    free(p->start);
    free(p->token);
    *p = (struct prompts){0};
}
