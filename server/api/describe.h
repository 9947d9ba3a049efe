/* describe.h - POST /v1/describe: a picture in words, from vocabularies, and a prompt that tells it to a language model.
 *
 * The prompts are those of LENS (Berrios et al., "Towards Language Models That Can See", arXiv 2306.16410): `paper` as the
 * paper prints it, the others as its authors' program does, but that `hm` lists tags where that lists the attributes again.
 * No state, any thread.
 */
#ifndef LIMOE_SERVER_API_DESCRIBE_H
#define LIMOE_SERVER_API_DESCRIBE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "limoe.h"
#include "server/api/api_error.h"
#include "server/api/prepare.h"
#include "server/api/request.h"

#define DESCRIBE_TERMS      5u  /* of tags, attributes and captions where a request does not say how many */
#define DESCRIBE_MOST_TERMS 50u /* that it may ask for */
/* Of a vocabulary as many terms, those with the highest cosines, are held against the threshold. */
#define DESCRIBE_CANDIDATES      100u
#define DESCRIBE_MOST_EXAMPLES   16u
#define DESCRIBE_MOST_VOCABULARY 100000u /* terms of a file */
/* What "auto" asks of a term: a score of this, in deviations. */
#define DESCRIBE_AUTO 2.0

/* The words of an answer, each list from a vocabulary of its own. */
enum describe_list { DESCRIBE_TAGS, DESCRIBE_ATTRIBUTES, DESCRIBE_CAPTIONS, DESCRIBE_LISTS };
extern const char *const describe_names[DESCRIBE_LISTS]; /* the fields that say what is wanted of them */

struct describe_words {
    struct text vocabulary; /* one of vocabulary.h's, a stored vocabulary, or a stored classifier */
    size_t most;            /* 0: none are wanted */
    bool automatic;         /* a term's own threshold, else: */
    float threshold;        /* the least cosine */
    bool told;              /* the request says either, and a stored vocabulary's own does not count */
};

enum describe_mode {
    DESCRIBE_NO_PROMPT,
    DESCRIBE_PAPER,
    DESCRIBE_ALL,
    DESCRIBE_VISION,
    DESCRIBE_VQA,
    DESCRIBE_HM
};
/* "paper" → DESCRIBE_PAPER; DESCRIBE_NO_PROMPT: there is none of this name. */
enum describe_mode describe_mode_of(struct text name);
#define DESCRIBE_MODES "paper, all, vision, vqa and hm"

/* A prompt and its answer, which stand before the one that is asked. */
struct describe_example {
    struct text prompt, answer;
};

struct describe_prompt {
    enum describe_mode mode;
    struct text question; /* not of DESCRIBE_HM, which has its own */
    struct text ocr;      /* of DESCRIBE_PAPER: what is written on the picture; data NULL: nothing */
    const struct describe_example *examples; /* [n_examples] */
    size_t n_examples;
};

struct describe_request {
    size_t model;                      /* which of the hosted models it asks for */
    const struct request_item *images; /* [n_images], at least 1 */
    size_t n_images;
    struct describe_words words[DESCRIBE_LISTS];
    struct describe_prompt prompt;
};

/* What a request wants that says nothing of it. */
struct describe_request describe_defaults(void);

extern const struct field_table describe_fields;
bool describe_read(const struct request_models *models, const char *body, size_t size, struct arena *arena,
                   struct describe_request *out, struct api_error *error);
/* What holds between the fields, of a command line, too. */
bool describe_check(const struct describe_request *request, struct api_error *error);

/* A file with a term a line → terms, slices of the bytes; lines that are blank are left out. `name` is the file's. */
bool describe_read_terms(const char *name, const char *bytes, size_t size, struct arena *arena,
                         const struct text **terms, size_t *n, struct api_error *error);

/* ---- ranking */

struct described {
    size_t term; /* index into the vocabulary */
    float cosine;
    float score; /* how many deviations the cosine is above what is expected of the term */
};
struct described_words {
    const struct described *words; /* [n], by descending cosine; ties: the lower index */
    size_t n;
};

struct limoe_shortlist;

/* A vocabulary as a model sees it, and the reference pictures. */
struct describe_vocabulary {
    const struct text *terms;
    const float *matrix; /* [n, embed] unit vectors */
    const struct limoe_shortlist
        *shortlist; /* of the matrix; NULL: there is none, and all cosines are made */
    size_t n;
    const float *reference; /* [n_reference, embed] */
    size_t n_reference;
    size_t embed;
    /* Of the cosines of terms and reference pictures: describe_measure's. */
    double mean, deviation;
};
/* Sets mean and deviation, of up to DESCRIBE_SAMPLE terms that are spread over the vocabulary. False: no memory. */
#define DESCRIBE_SAMPLE 128u
bool describe_measure(struct describe_vocabulary *vocabulary, struct arena *arena);

/* image [embed] → the words that are wanted, in the arena. False: no memory. */
bool describe_rank(const struct describe_vocabulary *vocabulary, const struct describe_words *wanted,
                   const float *image, struct arena *arena, struct described_words *out);
/* Memory that describe_rank takes besides, while it runs. */
size_t describe_rank_bytes(size_t terms);

/* ---- answers */

/* A picture, described; lists that are not wanted are empty. */
struct description {
    const struct described_words *words; /* [DESCRIBE_LISTS] */
    const struct text *const *terms;     /* [DESCRIBE_LISTS]: of the vocabularies; may be NULL where n is 0 */
};
/* As the paper's prompt begins: "Tags: … Attributes: … Captions: …." */
void describe_write_words(struct buffer *out, const struct description *description);
void describe_write_prompt(struct buffer *out, const struct describe_prompt *prompt,
                           const struct description *description);

/* The answer, piece by piece: begin, each picture, end. */
void describe_begin(struct buffer *out, const char *model);
void describe_append(struct buffer *out, bool first, size_t index, const struct describe_prompt *prompt,
                     const struct description *description);
void describe_end(struct buffer *out, const struct usage *usage);

#endif
