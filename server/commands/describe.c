/* describe.c - limoe describe: what /v1/describe does, for files, through the same functions of server/api. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/api/classify.h"
#include "server/api/describe.h"
#include "server/commands/commands.h"
#include "server/commands/session.h"
#include "server/commands/table.h"
#include "server/options/command.h"
#include "server/vocabulary/vocabulary.h"

/* Terms that are embedded between two looks at the clock. */
#define PART 256u

/* A vocabulary, or the reference pictures, and what the model makes of it. */
struct set {
    const char *file;          /* NULL: the program's own */
    const struct text *labels; /* [n] */
    size_t n;
    float *matrix; /* [n, embed] */
};

struct task {
    struct session_options shared;
    const char *files[DESCRIBE_LISTS]; /* NULL: the program's own; of captions none */
    uint64_t most;
    enum describe_mode mode;
    const char *threshold, *question, *ocr;
    struct arena *arena;
    const char *const *paths; /* [n_paths] */
    size_t n_paths;
    struct describe_request request; /* its images are those that could be read */
    struct set sets[DESCRIBE_LISTS], reference;
    struct limoe_item *items; /* [n_images] */
    float *images;            /* [n_images, embed] */
    struct usage usage;
};

static const struct option_choice modes[] = {{"paper", DESCRIBE_PAPER},   {"all", DESCRIBE_ALL},
                                             {"vision", DESCRIBE_VISION}, {"vqa", DESCRIBE_VQA},
                                             {"hm", DESCRIBE_HM},         {NULL, 0}};

static const struct option_row table[] = {
    {.name = "tags",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct task, files[DESCRIBE_TAGS]),
     .metavar = "FILE",
     .help = "what tags are taken from: a file with a term a line",
     .fallback = "the program's own"},
    {.name = "attributes",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct task, files[DESCRIBE_ATTRIBUTES]),
     .metavar = "FILE",
     .help = "the same of attributes",
     .fallback = "the program's own"},
    {.name = "captions",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct task, files[DESCRIBE_CAPTIONS]),
     .metavar = "FILE",
     .help = "captions to choose the nearest from, a line each",
     .fallback = "none"},
    {.name = "most",
     .only_flag = true,
     .kind = OPTION_U64,
     .offset = offsetof(struct task, most),
     .most = DESCRIBE_MOST_TERMS,
     .metavar = "K",
     .help = "tags, attributes and captions of a picture"},
    {.name = "threshold",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct task, threshold),
     .metavar = "T",
     .help = "the least cosine of a tag or attribute, or auto: what is unusual for the term"},
    {.name = "mode",
     .only_flag = true,
     .kind = OPTION_CHOICE,
     .choices = modes,
     .offset = offsetof(struct task, mode),
     .metavar = "MODE",
     .help = "the prompt's form: " DESCRIBE_MODES},
    {.name = "question",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct task, question),
     .metavar = "TEXT",
     .help = "what a language model is to be asked: a prompt is printed",
     .fallback = "none"},
    {.name = "ocr",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct task, ocr),
     .metavar = "TEXT",
     .help = "what is written on the pictures, for a prompt of mode paper",
     .fallback = "nothing"},
    COMMAND_ROWS(offsetof(struct task, shared)),
};

static const struct task defaults = {.most = DESCRIBE_TERMS, .threshold = "auto", .mode = DESCRIBE_PAPER};
static const struct option_note exits[] = {
    {"0", "every picture is described"},
    {"1", "a picture or a file of terms could not be read (other pictures are described), or the model is "
          "not sound"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe describe examples/cat.png", "Tags and attributes of a picture"},
    {"limoe describe --question \"What animal is it?\" examples/cat.png",
     "The same with a prompt for a language model"},
    {"limoe describe --tags words.txt --threshold 0.3 --json *.png", "Tags from a file's lines, as JSON"},
    {NULL, NULL},
};

const struct option_command describe_command = {
    .name = "describe",
    .summary = "tell a picture in words",
    .usage = "limoe describe [options] IMAGE...",
    .operand = "FILE",
    .about = "Finds the tags and attributes that fit each picture (\"-\": standard input) in vocabularies, "
             "and writes the "
             "prompt that tells them to a language model. Before the first picture a vocabulary is embedded, "
             "which takes "
             "seconds.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

/* ---- the command line */

static bool read_threshold(struct task *task, int *status) {
    const bool automatic = strcmp(task->threshold, "auto") == 0;
    char *end = NULL;
    const double number = automatic ? 0 : strtod(task->threshold, &end);
    if (!automatic && (end == task->threshold || *end || !(number >= -1 && number <= 1))) {
        *status = command_usage("describe", "--threshold is \"%s\"; accepted: auto or a cosine, -1 to 1",
                                task->threshold);
        return false;
    }
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        task->request.words[i] = (struct describe_words){
            .most = (size_t)task->most, .automatic = automatic, .threshold = (float)number};
    task->request.words[DESCRIBE_CAPTIONS].automatic = false;
    task->request.words[DESCRIBE_CAPTIONS].threshold = -2;
    task->request.words[DESCRIBE_CAPTIONS].most = task->files[DESCRIBE_CAPTIONS] ? (size_t)task->most : 0;
    return true;
}

static bool read_prompt(struct task *task, int *status) {
    struct describe_prompt *prompt = &task->request.prompt;
    struct api_error error;
    if (task->question || task->mode == DESCRIBE_HM)
        prompt->mode = task->mode;
    if (task->question)
        prompt->question = text_of(task->question);
    if (task->ocr)
        prompt->ocr = text_of(task->ocr);
    if (text_check(prompt->question.data, prompt->question.size) < prompt->question.size ||
        text_check(prompt->ocr.data, prompt->ocr.size) < prompt->ocr.size) {
        *status = command_usage("describe", "--question or --ocr is not UTF-8");
        return false;
    }
    if (!describe_check(&task->request, &error)) {
        *status = command_usage("describe", "%s", error.message);
        return false;
    }
    return true;
}

/* False: exit with *status. */
static bool parse(struct task *task, int argc, char **argv, int *status) {
    struct options options;
    if (!command_options(&describe_command, argc, argv, task, task->arena, &options, status) ||
        !read_threshold(task, status) || !read_prompt(task, status))
        return false;
    task->paths = options.operands;
    task->n_paths = options.n_operands;
    if (!task->n_paths)
        *status = command_usage("describe", "no image");
    return task->n_paths > 0;
}

/* ---- vocabularies */

static bool read_file(struct task *task, struct set *set) {
    struct request_item file;
    struct api_error error;
    if (!session_read_image(set->file, task->arena, &file))
        return false;
    if (describe_read_terms(file.param, (const char *)file.bytes, file.size, task->arena, &set->labels,
                            &set->n, &error))
        return true;
    command_complain("%s", error.message);
    return false;
}

static bool list_terms(struct task *task) {
    static const char *const own[] = {VOCABULARY_TAGS, VOCABULARY_ATTRIBUTES};
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        struct set *set = &task->sets[i];
        const bool wanted = task->request.words[i].most > 0;
        const struct vocabulary *found =
            wanted && !task->files[i] && i < DESCRIBE_CAPTIONS ? vocabulary_find(text_of(own[i])) : NULL;
        *set = (struct set){.file = wanted ? task->files[i] : NULL};
        if (set->file && !read_file(task, set))
            return false;
        if (found) {
            set->labels = found->terms;
            set->n = found->n;
        }
    }
    return true;
}

/* For people: a terminal alone is told. */
static void tell(const char *what, size_t done, size_t n) {
    if (n > PART && isatty(STDERR_FILENO))
        fprintf(stderr, "\rlimoe: embedding %s, %zu %% %s", what, done * 100 / n, done == n ? "\n" : "");
}

/* inputs[n] → embeddings [n, embed], a part at a time. */
static bool embed(struct task *task, struct session *session, const char *what,
                  const struct request_item *inputs, size_t n, float **embeddings) {
    const size_t width = limoe_model_info(session->model)->embed;
    struct limoe_item *items = arena_array(task->arena, PART, sizeof *items);
    float *rows = arena_array(task->arena, n * width, sizeof *rows);
    struct usage usage = {0};
    struct api_error error;
    if (!items || !rows) {
        command_complain("no memory for %zu embeddings", n);
        return false;
    }
    const size_t mark = arena_mark(task->arena);
    for (size_t first = 0; first < n; first += PART) {
        const size_t part = n - first < PART ? n - first : PART;
        tell(what, first, n);
        if (!prepare_items(session->processor, inputs + first, part, task->arena, items, &usage, &error)) {
            command_complain("%s", error.message);
            return false;
        }
        if (!session_embed(session, items, part, rows + first * width))
            return false;
        arena_rewind(task->arena, mark);
    }
    tell(what, n, n);
    *embeddings = rows;
    return true;
}

static bool embed_set(struct task *task, struct session *session, struct set *set, enum describe_list list) {
    const struct text as_it_is = text_of("{}");
    const struct classify_request definition = {
        .labels = set->labels, .n_labels = set->n, .templates = &as_it_is, .n_templates = 1};
    struct request_item *prompts = arena_array(task->arena, set->n, sizeof *prompts);
    if (!prompts || !classify_prompts(&definition, task->arena, prompts)) {
        command_complain("no memory for %zu terms", set->n);
        return false;
    }
    return embed(task, session, describe_names[list], prompts, set->n, &set->matrix);
}

static bool embed_reference(struct task *task, struct session *session) {
    struct request_item *pictures = arena_array(task->arena, vocabulary_references, sizeof *pictures);
    if (!pictures) {
        command_complain("no memory for the reference pictures");
        return false;
    }
    for (size_t i = 0; i < vocabulary_references; i++)
        pictures[i] = (struct request_item){.modality = LIMOE_IMAGE,
                                            .bytes = vocabulary_reference[i].bytes,
                                            .size = vocabulary_reference[i].size,
                                            .param = "reference"};
    task->reference.n = vocabulary_references;
    return embed(task, session, "pictures", pictures, vocabulary_references, &task->reference.matrix);
}

static bool embed_vocabularies(struct task *task, struct session *session) {
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        if (task->sets[i].n && !embed_set(task, session, &task->sets[i], (enum describe_list)i))
            return false;
    return embed_reference(task, session);
}

/* ---- pictures */

/* Those that fail are named and left out, and *status says so; index[i] is which path picture i is. */
static bool read_images(struct task *task, struct session *session, size_t *index, int *status) {
    const struct limoe_info *info = limoe_model_info(session->model);
    size_t n = 0;
    for (size_t i = 0; i < task->n_paths; i++) {
        struct request_item input;
        struct api_error error;
        if (!session_read_image(task->paths[i], task->arena, &input)) {
            *status = COMMAND_INPUT;
        } else if (!prepare_item(session->processor, &input, task->arena, &task->items[n], &task->usage,
                                 &error)) {
            command_complain("%s", error.message);
            *status = COMMAND_INPUT;
        } else {
            index[n++] = i;
        }
    }
    task->request.n_images = n;
    task->images = arena_array(task->arena, n * info->embed, sizeof *task->images);
    if (!task->images)
        command_complain("no memory for %zu embeddings", n);
    return task->images && session_embed(session, task->items, n, task->images);
}

/* The vocabularies as the model sees them. */
static bool measure(struct task *task, size_t embed, struct describe_vocabulary *vocabularies) {
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        const struct set *set = &task->sets[i];
        vocabularies[i] = (struct describe_vocabulary){.terms = set->labels,
                                                       .matrix = set->matrix,
                                                       .n = set->n,
                                                       .reference = task->reference.matrix,
                                                       .n_reference = task->reference.n,
                                                       .embed = embed};
        if (set->n && !describe_measure(&vocabularies[i], task->arena))
            return false;
    }
    return true;
}

static bool rank(struct task *task, const struct describe_vocabulary *vocabularies, size_t image,
                 struct described_words *words) {
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        const struct describe_vocabulary *vocabulary = &vocabularies[i];
        words[i] = (struct described_words){0};
        if (vocabulary->n && !describe_rank(vocabulary, &task->request.words[i],
                                            task->images + image * vocabulary->embed, task->arena, &words[i]))
            return false;
    }
    return true;
}

/* ---- output */

static bool print_words(struct task *task, const struct description *description, struct buffer *out) {
    static const bool right[] = {false, false, true, true};
    const char **cells = arena_array(task->arena, 4 * DESCRIBE_LISTS * DESCRIBE_MOST_TERMS, sizeof *cells),
               **row = cells;
    for (size_t list = 0; cells && list < DESCRIBE_LISTS; list++) {
        const struct described_words *words = &description->words[list];
        for (size_t i = 0; i < words->n; i++, row += 4) {
            char term[REQUEST_MAX_LABEL_BYTES + 4];
            text_quote(description->terms[list][words->words[i].term], term, sizeof term);
            row[0] = i ? "" : describe_names[list];
            row[1] = arena_copy(task->arena, term, strlen(term));
            row[2] = arena_print(task->arena, "%.4f", (double)words->words[i].cosine);
            row[3] = arena_print(task->arena, "%+.1f", (double)words->words[i].score);
            if (!row[1] || !row[2] || !row[3])
                return false;
        }
    }
    if (cells)
        table_append(out, 2, 4, right, cells, (size_t)(row - cells) / 4);
    return cells != NULL;
}

/* A picture's name, its words, its prompt. */
static bool print_one(struct task *task, const char *path, const struct description *description,
                      struct buffer *out) {
    char name[256];
    text_quote(text_of(strcmp(path, "-") == 0 ? "standard input" : path), name, sizeof name);
    buffer_print(out, "%s%s\n", out->size ? "\n" : "", name);
    if (!print_words(task, description, out))
        return false;
    if (task->request.prompt.mode == DESCRIBE_NO_PROMPT)
        return true;
    buffer_string(out, "\n");
    describe_write_prompt(out, &task->request.prompt, description);
    buffer_string(out, "\n");
    return true;
}

static bool answer(struct task *task, struct session *session, const size_t *index) {
    const struct limoe_info *info = limoe_model_info(session->model);
    struct describe_vocabulary vocabularies[DESCRIBE_LISTS];
    const struct text *terms[DESCRIBE_LISTS];
    struct buffer out = {0};
    bool good = measure(task, info->embed, vocabularies);
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        terms[i] = task->sets[i].labels;
    if (task->shared.json)
        describe_begin(&out, info->name);
    for (size_t i = 0; good && i < task->request.n_images; i++) {
        struct described_words words[DESCRIBE_LISTS];
        const struct description description = {.words = words, .terms = terms};
        good = rank(task, vocabularies, i, words);
        if (good && task->shared.json)
            describe_append(&out, i == 0, index[i], &task->request.prompt, &description);
        else if (good)
            good = print_one(task, task->paths[index[i]], &description, &out);
    }
    if (task->shared.json)
        describe_end(&out, &task->usage);
    if (!good || out.failed) {
        command_complain("no memory for the answer");
        good = false;
    } else
        good = command_print(&out, task->shared.json);
    buffer_free(&out);
    return good;
}

/* The pictures first: whoever has misspelt one need not wait for the vocabularies. */
static bool run(struct task *task, struct session *session, int *status) {
    size_t *index = arena_array(task->arena, task->n_paths, sizeof *index);
    task->items = arena_array(task->arena, task->n_paths, sizeof *task->items);
    if (!index || !task->items) {
        command_complain("no memory for %zu pictures", task->n_paths);
        return false;
    }
    return list_terms(task) && session_open(session, &task->shared) && session_classifies(session) &&
           read_images(task, session, index, status) &&
           (!task->request.n_images || (embed_vocabularies(task, session) && answer(task, session, index)));
}

int describe_main(int argc, char **argv) {
    struct task task = defaults;
    struct session session = {0};
    int status = COMMAND_INPUT;
    task.arena = arena_new();
    if (!task.arena)
        command_complain("no memory");
    else if (parse(&task, argc, argv, &status)) {
        status = COMMAND_OK;
        if (!run(&task, &session, &status))
            status = COMMAND_INPUT;
    }
    session_close(&session);
    arena_free(task.arena);
    return status;
}
