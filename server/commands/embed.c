/* embed.c - limoe embed: texts and pictures, in the order of the command line. One thread. */
#include <string.h>

#include "server/api/answer.h"
#include "server/commands/commands.h"
#include "server/commands/session.h"
#include "server/commands/table.h"
#include "server/options/command.h"
#include "server/options/model_dir.h"

/* With more items than this the table of cosines would not fit a page. */
#define MOST_COSINES 16

struct task {
    struct session_options shared;
    struct arena *arena;
    struct option_list asked; /* --text and --image, in order */
    /* Of those that could be read. */
    struct limoe_item *items; /* [n] */
    const char **names;       /* [n] */
    size_t *index;            /* [n]: which of asked */
    size_t n;
    struct usage usage;
};

enum row { ROW_TEXT, ROW_IMAGE };

static const struct option_row table[] = {
    [ROW_TEXT] = {.name = "text",
                  .kind = OPTION_LIST,
                  .offset = offsetof(struct task, asked),
                  .metavar = "T",
                  .help = "a text"},
    [ROW_IMAGE] = {.name = "image",
                   .kind = OPTION_LIST,
                   .offset = offsetof(struct task, asked),
                   .metavar = "FILE",
                   .help = "a picture"},
    COMMAND_ROWS(offsetof(struct task, shared)),
};

static const struct task defaults = {0};
static const struct option_note exits[] = {
    {"0", "every item is answered"},
    {"1", "an item could not be read (the others are answered), or the model is not sound"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe embed --text \"a cat\" --text \"a dog\" --image examples/cat.png",
     "How alike two texts and a picture are"},
    {"limoe embed --image examples/cat.png --json >cat.json",
     "A picture's vector, as POST /v1/embeddings answers"},
    {NULL, NULL},
};

const struct option_command embed_command = {
    .name = "embed",
    .summary = "map texts and pictures to vectors",
    .usage = "limoe embed [--text T]... [--image FILE]... [options]",
    .about = "Maps texts and pictures (\"-\": standard input) to unit vectors, in the order given. Without "
             "--json it "
             "prints the vectors' first numbers and, for up to 16 items, how alike they are.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

static bool is_text(const struct task *task, size_t asked) {
    return task->asked.values[asked].option == &table[ROW_TEXT];
}

/* False: exit with *status. */
static bool parse(struct task *task, int argc, char **argv, int *status) {
    struct options options;
    if (!command_options(&embed_command, argc, argv, task, task->arena, &options, status))
        return false;
    for (size_t i = 0; i < task->asked.n; i++) {
        const char *value = task->asked.values[i].value;
        if (is_text(task, i) && !*value) {
            *status = command_usage("embed", "--text is empty");
            return false;
        }
        if (is_text(task, i) && strlen(value) > REQUEST_MAX_TEXT_BYTES) {
            *status = command_usage("embed", "--text has %zu bytes; up to %u are accepted", strlen(value),
                                    REQUEST_MAX_TEXT_BYTES);
            return false;
        }
    }
    if (options.n_operands) {
        *status = command_usage("embed", "\"%s\" is neither --text nor --image", options.operands[0]);
        return false;
    }
    if (!task->asked.n) {
        *status = command_usage("embed", "nothing to embed; say --text \"a cat\" or --image cat.png");
        return false;
    }
    return true;
}

/* Items that fail are named and left out, and *status says so. */
static void read_items(struct task *task, struct session *session, int *status) {
    for (size_t i = 0; i < task->asked.n; i++) {
        const char *value = task->asked.values[i].value;
        struct request_item input = {.modality = LIMOE_TEXT,
                                     .bytes = (const uint8_t *)value,
                                     .size = strlen(value),
                                     .param = "--text"};
        struct api_error error;
        if (!is_text(task, i) && !session_read_image(value, task->arena, &input)) {
            *status = COMMAND_INPUT;
            continue;
        }
        if (!prepare_item(session->processor, &input, task->arena, &task->items[task->n], &task->usage,
                          &error)) {
            command_complain("%s", error.message);
            *status = COMMAND_INPUT;
            continue;
        }
        task->names[task->n] = is_text(task, i) ? value : input.param;
        task->index[task->n++] = i;
    }
}

/* ---- output */

static const char *name_cell(struct task *task, size_t i) {
    char name[64];
    text_quote(text_of(task->names[i]), name, sizeof name);
    return arena_copy(task->arena, name, strlen(name));
}

/* Item, tokens, the first numbers of its vector. */
static bool print_vectors(struct task *task, const float *embeddings, size_t embed, struct buffer *out) {
    static const bool right[] = {true, false, true, false};
    const char **cells = arena_array(task->arena, 4 * (task->n + 1), sizeof *cells);
    if (!cells)
        return false;
    cells[0] = "";
    cells[1] = "item";
    cells[2] = "tokens";
    cells[3] = arena_print(task->arena, "embedding (%zu numbers)", embed);
    for (size_t i = 0; i < task->n; i++) {
        struct buffer vector = {0};
        for (size_t k = 0; k < embed && k < 4; k++)
            buffer_print(&vector, "%s%7.4f", k ? " " : "", (double)embeddings[i * embed + k]);
        buffer_string(&vector, embed > 4 ? " …" : "");
        const char **row = cells + 4 * (i + 1);
        row[0] = arena_print(task->arena, "%zu", task->index[i]);
        row[1] = name_cell(task, i);
        row[2] = arena_print(task->arena, "%u", task->items[i].length);
        row[3] = vector.failed ? NULL : arena_copy(task->arena, vector.data, vector.size);
        buffer_free(&vector);
        if (!row[0] || !row[1] || !row[2] || !row[3])
            return false;
    }
    if (!cells[3])
        return false;
    table_append(out, 0, 4, right, cells, task->n + 1);
    return true;
}

/* How alike each two are. */
static bool print_cosines(struct task *task, const float *embeddings, size_t embed, struct buffer *out) {
    static const struct limoe_scoring plain = {.kind = LIMOE_SOFTMAX}; /* scores are not shown */
    bool right[MOST_COSINES + 1];
    float cosine[MOST_COSINES], score[MOST_COSINES];
    const size_t n = task->n, columns = n + 1;
    const char **cells = arena_array(task->arena, columns * columns, sizeof *cells);
    if (!cells)
        return false;
    for (size_t i = 0; i <= n; i++)
        right[i] = true;
    cells[0] = "cosine";
    for (size_t i = 0; i < n; i++) {
        limoe_scores(embeddings + i * embed, embeddings, n, embed, &plain, cosine, score);
        cells[i + 1] = cells[(i + 1) * columns] = arena_print(task->arena, "%zu", task->index[i]);
        if (!cells[i + 1])
            return false;
        for (size_t k = 0; k < n; k++) {
            const char *cell = arena_print(task->arena, "%.4f", (double)cosine[k]);
            if (!cell)
                return false;
            cells[(i + 1) * columns + k + 1] = cell;
        }
    }
    buffer_string(out, "\n");
    table_append(out, 0, columns, right, cells, columns);
    return true;
}

static bool answer(struct task *task, struct session *session, bool json) {
    const struct limoe_info *info = limoe_model_info(session->model);
    float *embeddings = arena_array(task->arena, task->n * info->embed, sizeof *embeddings);
    struct buffer out = {0};
    if (!embeddings) {
        command_complain("no memory for %zu embeddings", task->n);
        return false;
    }
    if (!session_embed(session, task->items, task->n, embeddings))
        return false;

    bool ok = true;
    if (json)
        answer_embeddings(&out, info->name, embeddings, task->index, task->n, info->embed, REQUEST_FLOAT,
                          &task->usage);
    else
        ok = print_vectors(task, embeddings, info->embed, &out) &&
             (task->n < 2 || task->n > MOST_COSINES || print_cosines(task, embeddings, info->embed, &out));
    if (!ok)
        command_complain("no memory for the answer");
    ok = ok && command_print(&out, json);
    buffer_free(&out);
    return ok;
}

int embed_main(int argc, char **argv) {
    struct task task = {.arena = arena_new()};
    struct session session = {0};
    int status = COMMAND_INPUT;
    if (task.arena) {
        task.items = arena_array(task.arena, (size_t)argc, sizeof *task.items);
        task.names = arena_array(task.arena, (size_t)argc, sizeof *task.names);
        task.index = arena_array(task.arena, (size_t)argc, sizeof *task.index);
    }
    if (!task.items || !task.names || !task.index) {
        command_complain("no memory");
        goto out;
    }
    if (!parse(&task, argc, argv, &status))
        goto out;
    status = COMMAND_INPUT;
    if (!session_open(&session, &task.shared))
        goto out;
    status = COMMAND_OK;
    read_items(&task, &session, &status);
    if (task.n && !answer(&task, &session, task.shared.json))
        status = COMMAND_INPUT;
out:
    session_close(&session);
    arena_free(task.arena);
    return status;
}
