/* classify.c - limoe classify: what the route does, for files, through the same functions of server/api.
 * One thread. */
#include <string.h>

#include "server/api/answer.h"
#include "server/api/classify.h"
#include "server/commands/commands.h"
#include "server/commands/session.h"
#include "server/commands/table.h"
#include "server/options/command.h"
#include "server/options/model_dir.h"

/* What the command line asks. The lists live in the arena; there is room for whatever argv can hold. */
struct task {
    struct session_options shared;
    struct option_list asked; /* --labels, --label, --template */
    struct arena *arena;
    struct text *labels, *templates; /* what request points to */
    struct classify_request request; /* its images are those that could be read */
    const char *const *paths;        /* [n_paths] */
    size_t n_paths;
    /* Of the pictures that were read, prompts after them. */
    struct request_item *inputs;
    struct limoe_item *items;
    size_t *index; /* [n_images]: which path */
    struct usage usage;
};

/* Rows of the table by which the lists' values are told apart. */
enum row { ROW_LABELS, ROW_LABEL, ROW_TEMPLATE };

static const struct option_row table[] = {
    [ROW_LABELS] = {.name = "labels",
                    .kind = OPTION_LIST,
                    .offset = offsetof(struct task, asked),
                    .metavar = "A,B,...",
                    .help = "labels, separated by commas; may be repeated"},
    [ROW_LABEL] = {.name = "label",
                   .kind = OPTION_LIST,
                   .offset = offsetof(struct task, asked),
                   .metavar = "TEXT",
                   .help = "one label, taken whole, commas and all; may be repeated"},
    [ROW_TEMPLATE] = {.name = "template",
                      .kind = OPTION_LIST,
                      .offset = offsetof(struct task, asked),
                      .metavar = "T",
                      .help = "a prompt with {} for the label (\"a picture of a {}\"); several are ensembled",
                      .fallback = "{}"},
    {.name = "top-k",
     .only_flag = true,
     .kind = OPTION_U64,
     .offset = offsetof(struct task, request.top_k),
     .least = 1,
     .most = REQUEST_MAX_LABELS,
     .metavar = "K",
     .help = "print the K best labels",
     .fallback = "all"},
    COMMAND_ROWS(offsetof(struct task, shared)),
};

static const struct task defaults = {0};
static const struct option_note exits[] = {
    {"0", "every picture is answered"},
    {"1", "a picture could not be read (the others are answered), or the model is not sound"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe classify --labels cat,dog,bicycle examples/cat.png", "Which of three labels fits a picture"},
    {"limoe classify --labels cat,dog --template {} --template \"a picture of a {}\" --top-k 1 *.png",
     "The best label of many pictures, each label asked for in two templates"},
    {"curl -s https://example.com/cat.png | limoe classify --label \"a cat, asleep\" --label \"a dog\" "
     "--json -",
     "A picture from a pipe, labels with commas, the answer as JSON"},
    {NULL, NULL},
};

const struct option_command classify_command = {
    .name = "classify",
    .summary = "say which label fits a picture",
    .usage = "limoe classify --labels \"cat,dog\" [options] IMAGE...",
    .operand = "FILE",
    .about = "Says which of the labels fits each picture (\"-\": standard input), without training.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

/* "cat, dog" → two labels. */
static void split_labels(struct task *task, const char *list) {
    struct text rest = text_of(list);
    for (size_t n = text_comma_count(rest); n > 0; n--)
        task->labels[task->request.n_labels++] = text_comma_next(&rest);
}

static bool make_room(struct task *task, int argc, char **argv) {
    size_t labels = 0;
    for (int i = 0; i < argc; i++)
        labels += text_comma_count(text_of(argv[i]));
    task->labels = arena_array(task->arena, labels, sizeof *task->labels);
    task->templates = arena_array(task->arena, (size_t)argc, sizeof *task->templates);
    task->request.labels = task->labels;
    task->request.templates = task->templates;
    return task->labels && task->templates;
}

static bool check_utf8(const struct text *texts, size_t n, const char *option, int *status) {
    for (size_t i = 0; i < n; i++)
        if (text_check(texts[i].data, texts[i].size) < texts[i].size) {
            *status = command_usage("classify", "%s %zu is not UTF-8", option, i + 1);
            return false;
        }
    return true;
}

/* False: exit with *status. */
static bool parse(struct task *task, int argc, char **argv, int *status) {
    struct classify_request *request = &task->request;
    struct options options;
    struct api_error error;
    if (!command_options(&classify_command, argc, argv, task, task->arena, &options, status))
        return false;
    for (size_t i = 0; i < task->asked.n; i++) {
        const char *value = task->asked.values[i].value;
        switch ((enum row)(task->asked.values[i].option - table)) {
        case ROW_LABELS:
            split_labels(task, value);
            break;
        case ROW_LABEL:
            task->labels[request->n_labels++] = text_of(value);
            break;
        case ROW_TEMPLATE:
            task->templates[request->n_templates++] = text_of(value);
            break;
        }
    }
    if (!request->n_labels) {
        *status = command_usage("classify", "no labels; say --labels \"cat,dog\"");
        return false;
    }
    if (!check_utf8(task->labels, request->n_labels, "label", status) ||
        !check_utf8(task->templates, request->n_templates, "template", status))
        return false;
    if (!request_check_labels(request, &error)) {
        *status = command_usage("classify", "%s", error.message);
        return false;
    }
    task->paths = options.operands;
    task->n_paths = options.n_operands;
    if (!task->n_paths) {
        *status = command_usage("classify", "no image");
        return false;
    }
    return true;
}

/* Pictures → items, in front; those that fail are named and left out, and *status says so. */
static void read_images(struct task *task, struct session *session, int *status) {
    for (size_t i = 0; i < task->n_paths; i++) {
        const size_t n = task->request.n_images;
        struct api_error error;
        if (!session_read_image(task->paths[i], task->arena, &task->inputs[n]))
            *status = COMMAND_INPUT;
        else if (!prepare_item(session->processor, &task->inputs[n], task->arena, &task->items[n],
                               &task->usage, &error)) {
            command_complain("%s", error.message);
            *status = COMMAND_INPUT;
        } else {
            task->index[n] = i;
            task->request.n_images++;
        }
    }
}

static bool read_prompts(struct task *task, struct session *session) {
    const size_t first = task->request.n_images, n = classify_prompt_count(&task->request);
    struct api_error error;
    if (!classify_prompts(&task->request, task->arena, task->inputs + first)) {
        command_complain("no memory for %zu prompts", n);
        return false;
    }
    if (!prepare_items(session->processor, task->inputs + first, n, task->arena, task->items + first,
                       &task->usage, &error)) {
        command_complain("%s", error.message);
        return false;
    }
    return true;
}

/* ---- output */

/* Under each picture's name: label, score, cosine. */
static bool print_tables(struct task *task, const struct classification *rows, struct buffer *out) {
    static const bool right[] = {false, true, true};
    for (size_t i = 0; i < task->request.n_images; i++) {
        const size_t n = rows[i].count;
        const char **cells = arena_array(task->arena, 3 * (n + 1), sizeof *cells);
        if (!cells)
            return false;
        memcpy(cells, (const char *[]){"label", "score", "cosine"}, 3 * sizeof *cells);
        for (size_t k = 0; k < n; k++) {
            const struct prediction *prediction = &rows[i].predictions[k];
            char label[REQUEST_MAX_LABEL_BYTES + 4];
            text_quote(task->request.labels[prediction->label], label, sizeof label);
            cells[3 * k + 3] = arena_copy(task->arena, label, strlen(label));
            cells[3 * k + 4] = arena_print(task->arena, "%.2f %%", (double)prediction->score * 100);
            cells[3 * k + 5] = arena_print(task->arena, "%.4f", (double)prediction->cosine);
            if (!cells[3 * k + 3] || !cells[3 * k + 4] || !cells[3 * k + 5])
                return false;
        }
        char name[256];
        text_quote(text_of(task->inputs[i].param), name, sizeof name);
        buffer_print(out, "%s%s\n", i ? "\n" : "", name);
        table_append(out, 2, 3, right, cells, n + 1);
    }
    return true;
}

static bool answer(struct task *task, struct session *session, bool json) {
    const struct limoe_info *info = limoe_model_info(session->model);
    const struct classify_request *request = &task->request;
    const size_t n = request->n_images + classify_prompt_count(request);
    float *embeddings = arena_array(task->arena, n * info->embed, sizeof *embeddings);
    struct classification *rows = arena_array(task->arena, request->n_images, sizeof *rows);
    struct buffer out = {0};
    if (!embeddings || !rows) {
        command_complain("no memory for %zu embeddings", n);
        return false;
    }
    if (!session_embed(session, task->items, n, embeddings))
        return false;

    float *labels = embeddings + request->n_images * info->embed;
    classify_labels(labels, request->n_labels, request->n_templates, info->embed, labels);
    bool ok = true;
    for (size_t i = 0; ok && i < request->n_images; i++) {
        rows[i].index = task->index[i];
        ok = classify_rank(embeddings + i * info->embed, labels, request->n_labels, info->embed,
                           &info->scoring, NULL, request->top_k, task->arena, &rows[i]);
    }
    if (ok && json)
        answer_classify(&out, info->name, request->labels, rows, request->n_images, &task->usage);
    else if (ok)
        ok = print_tables(task, rows, &out);
    if (!ok)
        command_complain("no memory for the answer");
    ok = ok && command_print(&out, json);
    buffer_free(&out);
    return ok;
}

int classify_main(int argc, char **argv) {
    struct task task = {.arena = arena_new()};
    struct session session = {0};
    int status = COMMAND_INPUT;
    if (!task.arena || !make_room(&task, argc, argv)) {
        command_complain("no memory");
        goto out;
    }
    if (!parse(&task, argc, argv, &status))
        goto out;

    status = COMMAND_INPUT;
    const size_t most = task.n_paths + classify_prompt_count(&task.request);
    task.inputs = arena_array(task.arena, most, sizeof *task.inputs);
    task.items = arena_array(task.arena, most, sizeof *task.items);
    task.index = arena_array(task.arena, task.n_paths, sizeof *task.index);
    if (!task.inputs || !task.items || !task.index) {
        command_complain("no memory for %zu items", most);
        goto out;
    }
    if (!session_open(&session, &task.shared) || !session_classifies(&session))
        goto out;
    status = COMMAND_OK;
    read_images(&task, &session, &status);
    if (task.request.n_images &&
        (!read_prompts(&task, &session) || !answer(&task, &session, task.shared.json)))
        status = COMMAND_INPUT;
out:
    session_close(&session);
    arena_free(task.arena);
    return status;
}
