/* describe.c - cosines → words that pass their thresholds; words → a prompt. */
#include "server/api/describe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "limoe_shortlist.h"

const char *const describe_names[DESCRIBE_LISTS] = {
    [DESCRIBE_TAGS] = "tags", [DESCRIBE_ATTRIBUTES] = "attributes", [DESCRIBE_CAPTIONS] = "captions"};

/* ---- ranking */

size_t describe_rank_bytes(size_t terms) {
    return terms * sizeof(float);
}

/* The terms with the highest cosines, in order, but those whose cosine is no number. Most terms are below the lowest
 * that is kept, so that inserting costs little: of 100,000 about 800 are ever kept. */
static size_t find_highest(const float *cosine, size_t n, struct described *kept) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(cosine[i]) || (count == DESCRIBE_CANDIDATES && cosine[i] <= kept[count - 1].cosine))
            continue;
        size_t at = count < DESCRIBE_CANDIDATES ? count++ : count - 1;
        for (; at > 0 && cosine[i] > kept[at - 1].cosine; at--)
            kept[at] = kept[at - 1];
        kept[at] = (struct described){.term = i, .cosine = cosine[i]};
    }
    return count;
}

/* How much of a term's own mean is expected of it; the rest is the vocabulary's. Of a few reference pictures a term's mean is
 * known roughly, and a term that the model has not learnt well is near no picture: its own mean would be met by chance. */
#define OWN_SHARE 0.25

/* The sum of a term's cosines with the reference pictures, which go to cosine[n_reference]. */
static double sum_reference(const struct describe_vocabulary *vocabulary, size_t term, float *cosine) {
    double sum = 0;
    limoe_scores(vocabulary->matrix + term * vocabulary->embed, vocabulary->reference,
                 vocabulary->n_reference, vocabulary->embed, NULL, cosine, NULL);
    for (size_t i = 0; i < vocabulary->n_reference; i++)
        sum += cosine[i];
    return sum;
}

bool describe_measure(struct describe_vocabulary *vocabulary, struct arena *arena) {
    const size_t terms = vocabulary->n < DESCRIBE_SAMPLE ? vocabulary->n : DESCRIBE_SAMPLE;
    const size_t n = terms * vocabulary->n_reference;
    float *cosine = arena_array(arena, n, sizeof *cosine);
    double sum = 0, squares = 0;
    if (!cosine)
        return false;
    for (size_t i = 0; i < terms; i++)
        sum += sum_reference(vocabulary, i * vocabulary->n / terms, cosine + i * vocabulary->n_reference);
    vocabulary->mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (cosine[i] - vocabulary->mean) * (cosine[i] - vocabulary->mean);
    vocabulary->deviation = sqrt(squares / (double)n);
    return true;
}

/* The terms with the highest cosines, in order: kept[DESCRIBE_CANDIDATES]. False: no memory. */
static bool find_candidates(const struct describe_vocabulary *vocabulary, const float *image,
                            struct described *kept, size_t *count) {
    if (!vocabulary->shortlist) {
        float *cosine = malloc(vocabulary->n * sizeof *cosine);
        if (!cosine)
            return false;
        limoe_scores(image, vocabulary->matrix, vocabulary->n, vocabulary->embed, NULL, cosine, NULL);
        *count = find_highest(cosine, vocabulary->n, kept);
        free(cosine);
        return true;
    }
    size_t term[DESCRIBE_CANDIDATES];
    float cosine[DESCRIBE_CANDIDATES];
    if (limoe_shortlist_find(vocabulary->shortlist, image, DESCRIBE_CANDIDATES, term, cosine, count, NULL))
        return false;
    for (size_t i = 0; i < *count; i++)
        kept[i] = (struct described){.term = term[i], .cosine = cosine[i]};
    return true;
}

/* 0 where all cosines are alike. */
static float score_of(const struct describe_vocabulary *vocabulary, const struct described *word,
                      float *cosine) {
    const double own = sum_reference(vocabulary, word->term, cosine) / (double)vocabulary->n_reference;
    const double expected = vocabulary->mean + OWN_SHARE * (own - vocabulary->mean);
    return vocabulary->deviation > 0 ? (float)((word->cosine - expected) / vocabulary->deviation) : 0;
}

bool describe_rank(const struct describe_vocabulary *vocabulary, const struct describe_words *wanted,
                   const float *image, struct arena *arena, struct described_words *out) {
    struct described candidates[DESCRIBE_CANDIDATES];
    struct described *words = arena_array(arena, wanted->most, sizeof *words);
    float *reference = arena_array(arena, vocabulary->n_reference, sizeof *reference);
    size_t count;
    if (!words || !reference || !find_candidates(vocabulary, image, candidates, &count))
        return false;
    *out = (struct described_words){.words = words};
    for (size_t i = 0; i < count && out->n < wanted->most; i++) {
        candidates[i].score = score_of(vocabulary, &candidates[i], reference);
        if (wanted->automatic ? candidates[i].score >= DESCRIBE_AUTO
                              : candidates[i].cosine >= wanted->threshold)
            words[out->n++] = candidates[i];
    }
    return true;
}

/* ---- prompts */

static const char *const mode_names[] = {[DESCRIBE_PAPER] = "paper",
                                         [DESCRIBE_ALL] = "all",
                                         [DESCRIBE_VISION] = "vision",
                                         [DESCRIBE_VQA] = "vqa",
                                         [DESCRIBE_HM] = "hm"};

enum describe_mode describe_mode_of(struct text name) {
    for (size_t i = DESCRIBE_PAPER; i <= DESCRIBE_HM; i++)
        if (text_is(name, mode_names[i]))
            return (enum describe_mode)i;
    return DESCRIBE_NO_PROMPT;
}

static void append(struct buffer *out, struct text text) {
    buffer_bytes(out, text.data, text.size);
}

/* A list, behind its title. */
static void join(struct buffer *out, const char *title, const struct description *description,
                 enum describe_list list, const char *between) {
    const struct described_words *words = &description->words[list];
    buffer_string(out, title);
    for (size_t i = 0; i < words->n; i++) {
        buffer_string(out, i ? between : "");
        append(out, description->terms[list][words->words[i].term]);
    }
}

void describe_write_words(struct buffer *out, const struct description *description) {
    join(out, "Tags: ", description, DESCRIBE_TAGS, ", ");
    join(out, " Attributes: ", description, DESCRIBE_ATTRIBUTES, ", ");
    join(out, " Captions: ", description, DESCRIBE_CAPTIONS, ", ");
    buffer_string(out, ".");
}

static void write_paper(struct buffer *out, const struct describe_prompt *prompt,
                        const struct description *description) {
    describe_write_words(out, description);
    if (prompt->ocr.data) {
        buffer_string(out, " OCR: this is an image with written \"");
        append(out, prompt->ocr);
        buffer_string(out, "\" on it.");
    }
    buffer_string(out, " Question: ");
    append(out, prompt->question);
    buffer_string(out, " \n Short Answer:");
}

static void write_hm(struct buffer *out, const struct description *description) {
    const struct described_words *captions = &description->words[DESCRIBE_CAPTIONS];
    buffer_string(out, "Image:\nCaption:");
    if (captions->n)
        append(out, description->terms[DESCRIBE_CAPTIONS][captions->words[0].term]);
    join(out, "\nAttributes:", description, DESCRIBE_ATTRIBUTES, ",");
    join(out, "\nTags:", description, DESCRIBE_TAGS, ",");
    buffer_string(out, "\nQuestion: Is the image hateful or not-hateful?\nShort Answer:");
}

static void write_lists(struct buffer *out, enum describe_mode mode, const struct description *description) {
    if (mode == DESCRIBE_ALL) {
        join(out, "Tags:\n-", description, DESCRIBE_TAGS, "\n-");
        join(out, "\nAttributes:\n-", description, DESCRIBE_ATTRIBUTES, "\n-");
        join(out, "\nCaptions:\n-", description, DESCRIBE_CAPTIONS, "\n-");
    } else if (mode == DESCRIBE_VISION) {
        join(out, "Tag: ", description, DESCRIBE_TAGS, ",");
        join(out, "\nAttributes: ", description, DESCRIBE_ATTRIBUTES, ",");
    } else {
        join(out, "Image:\nCaptions:", description, DESCRIBE_CAPTIONS, ".");
    }
}

void describe_write_prompt(struct buffer *out, const struct describe_prompt *prompt,
                           const struct description *description) {
    for (size_t i = 0; i < prompt->n_examples; i++) {
        append(out, prompt->examples[i].prompt);
        buffer_string(out, " ");
        append(out, prompt->examples[i].answer);
        buffer_string(out, "\n\n");
    }
    if (prompt->mode == DESCRIBE_PAPER) {
        write_paper(out, prompt, description);
    } else if (prompt->mode == DESCRIBE_HM) {
        write_hm(out, description);
    } else {
        write_lists(out, prompt->mode, description);
        buffer_string(out, "\nQuestion:");
        append(out, prompt->question);
        buffer_string(out, "\nShort Answer:");
    }
}
