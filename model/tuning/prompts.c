/* prompts.c - labels and templates to token ids. The caller owns them; one thread. */
#include "model/tuning/prompts.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"

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
    if (count > PROMPTS_MAX)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "%zu prompts, of labels in %u templates; at most %u are accepted", count, templates,
                          PROMPTS_MAX);
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

enum limoe_status prompts_create(const struct limoe_processor *processor, const char *const *label,
                                 uint32_t classes, const char *const *template, uint32_t templates,
                                 struct prompts *out, struct limoe_error *err) {
    const uint32_t longest = limoe_processor_info(processor)->text_length;
    const size_t count = (size_t)classes * templates;
    *out = (struct prompts){.classes = classes, .templates = templates, .count = count};
    enum limoe_status status = check(template, templates, count, err);
    if (status)
        return status;
    out->item = calloc(count, sizeof *out->item);
    out->start = calloc(count + 1, sizeof *out->start);
    out->token = calloc(count * longest, sizeof *out->token);
    if (!out->item || !out->start || !out->token)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu prompts", count);
    for (size_t i = 0; i < count && !status; i++) {
        status = tokenise(processor, label[i / templates], template[i % templates], &out -> item[i],
                          out -> token + i * longest, err);
        out->start[i + 1] = out->start[i] + out->item[i].length;
    }
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
