/* classify.c - labels → prompts, embeddings → ordered predictions. No state, any thread. */
#include "codec/classify.h"

#include <stdlib.h>
#include <string.h>

size_t classify_prompt_count(const struct classify_request *request) {
    return request->n_labels * request->n_templates;
}

/* "a picture of a {}" + "cat" → "a picture of a cat". */
static bool fill_template(struct text template, struct text label, struct arena *arena, struct text *out) {
    const char *hole = memmem(template.data, template.size, "{}", 2);
    const size_t before = (size_t)(hole - template.data), after = template.size - before - 2;
    if (before + after == 0) {
        *out = label;
        return true;
    }
    char *prompt = arena_alloc(arena, before + label.size + after);
    if (!prompt)
        return false;
    memcpy(prompt, template.data, before);
    memcpy(prompt + before, label.data, label.size);
    memcpy(prompt + before + label.size, hole + 2, after);
    *out = (struct text){.data = prompt, .size = before + label.size + after};
    return true;
}

bool classify_prompts(const struct classify_request *request, struct arena *arena,
                      struct request_item *prompts) {
    for (size_t i = 0; i < request->n_labels; i++) {
        const char *param = arena_print(arena, "labels[%zu]", i);
        if (!param)
            return false;
        for (size_t k = 0; k < request->n_templates; k++) {
            struct text prompt;
            if (!fill_template(request->templates[k], request->labels[i], arena, &prompt))
                return false;
            *prompts++ = (struct request_item){.modality = LIMOE_TEXT,
                                               .bytes = (const uint8_t *)prompt.data,
                                               .size = prompt.size,
                                               .param = param};
        }
    }
    return true;
}

void classify_labels(const float *prompts, size_t n_labels, size_t n_templates, size_t embed, float *labels) {
    if (n_templates ==
        1) { /* the vector itself, not its normalisation: one prompt's bits are its embedding's */
        if (labels != prompts)
            memcpy(labels, prompts, n_labels * embed * sizeof *labels);
        return;
    }
    for (size_t i = 0; i < n_labels; i++)
        limoe_ensemble(prompts + i * n_templates * embed, n_templates, embed, labels + i * embed);
}

/* Scores that underflow to the same value still differ in cosine. */
static int by_score(const void *left, const void *right) {
    const struct prediction *a = left, *b = right;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->cosine != b->cosine)
        return a->cosine > b->cosine ? -1 : 1;
    return a->label < b->label ? -1 : a->label > b->label;
}

bool classify_rank(const float *image, const float *labels, size_t n_labels, size_t embed, float logit_scale,
                   size_t top_k, struct arena *arena, struct classification *out) {
    float *cosines = arena_array(arena, n_labels, sizeof *cosines);
    float *scores = arena_array(arena, n_labels, sizeof *scores);
    struct prediction *all = arena_array(arena, n_labels, sizeof *all);
    if (!cosines || !scores || !all)
        return false;
    limoe_scores(image, labels, n_labels, embed, logit_scale, cosines, scores);
    for (size_t i = 0; i < n_labels; i++)
        all[i] = (struct prediction){.label = i, .score = scores[i], .cosine = cosines[i]};
    qsort(all, n_labels, sizeof *all, by_score);
    out->predictions = all;
    out->count = top_k < n_labels ? top_k : n_labels;
    return true;
}
