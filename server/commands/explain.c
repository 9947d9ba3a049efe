/* explain.c - limoe explain: what /v1/attention does, for a file, through the same functions of server/api.
 * One thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/api/attention.h"
#include "server/api/request_parts.h"
#include "server/commands/commands.h"
#include "server/commands/session.h"
#include "server/options/command.h"

/* What the command line asks, and what it comes to. */
struct task {
    struct session_options shared;
    const char *out; /* the map's file; NULL: numbers */
    struct arena *arena;
    const char *const *operands; /* the picture, then n texts */
    size_t n;
    struct request_item *inputs; /* [1 + n] */
    struct limoe_item *items;    /* [1 + n] */
    float *embeddings, *shares;
    struct usage usage;
};

static const struct option_row table[] = {
    {.name = "out",
     .letter = 'o',
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct task, out),
     .metavar = "FILE",
     .help = "write a PNG: the picture in grey, red where the cosine comes from more than from an equal "
             "share, blue "
             "where less; of one text",
     .fallback = "none: the shares are printed"},
    COMMAND_ROWS(offsetof(struct task, shared)),
};

static const struct task defaults = {0};
static const struct option_note exits[] = {
    {"0", "all is answered"},
    {"1", "the picture could not be read, the file not be written, or the model is not sound"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe explain examples/cat.png \"a cat\"", "What each patch adds to the cosine with a text"},
    {"limoe explain -o map.png examples/cat.png \"a cat\"", "The same, laid over the picture"},
    {NULL, NULL},
};

const struct option_command explain_command = {
    .name = "explain",
    .summary = "say which parts of a picture fit a text",
    .usage = "limoe explain [options] IMAGE TEXT...",
    .operand = "FILE",
    .about = "Splits the cosine of a picture (\"-\": standard input) and each text by the picture's patches: "
             "their "
             "shares sum to it. What is no patch's, the rest, is spread equally.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

/* False: exit with *status. */
static bool parse(struct task *task, int argc, char **argv, int *status) {
    struct options options;
    if (!command_options(&explain_command, argc, argv, task, task->arena, &options, status))
        return false;
    task->operands = options.operands;
    task->n = options.n_operands ? options.n_operands - 1 : 0;
    if (!options.n_operands)
        *status = command_usage("explain", "no image");
    else if (!task->n)
        *status = command_usage("explain", "no text to explain the picture by");
    else if (task->n > ATTENTION_MOST_TEXTS)
        *status = command_usage("explain", "%zu texts; up to %u are accepted", task->n, ATTENTION_MOST_TEXTS);
    else if (task->out && task->n > 1)
        *status = command_usage("explain", "--out writes the map of one text, and there are %zu", task->n);
    else if (task->out && task->shared.json)
        *status = command_usage("explain", "--out and --json are given; one of them is accepted");
    else
        return true;
    return false;
}

static bool make_room(struct task *task) {
    task->inputs = arena_array(task->arena, 1 + task->n, sizeof *task->inputs);
    task->items = arena_array(task->arena, 1 + task->n, sizeof *task->items);
    return task->inputs && task->items;
}

/* The texts, as inputs. False: exit with *status. */
static bool read_texts(struct task *task, int *status) {
    for (size_t i = 1; i <= task->n; i++) {
        const struct text text = text_of(task->operands[i]);
        const char *param = arena_print(task->arena, "text %zu", i);
        struct api_error error;
        if (!param)
            command_complain("no memory");
        else if (text_check(text.data, text.size) < text.size)
            *status = command_usage("explain", "%s is not UTF-8", param);
        else if (!request_read_text(text, param, &task->inputs[i], &error))
            *status = command_usage("explain", "%s", error.message);
        else
            continue;
        return false;
    }
    return true;
}

static bool embed(struct task *task, struct session *session) {
    const struct limoe_info *info = limoe_model_info(session->model);
    struct api_error error;
    if (!attention_check(info, task->n, &error) ||
        !prepare_items(session->processor, task->inputs, 1 + task->n, task->arena, task->items, &task->usage,
                       &error)) {
        command_complain("%s", error.message);
        return false;
    }
    task->embeddings = arena_array(task->arena, (1 + task->n) * info->embed, sizeof *task->embeddings);
    task->shares = arena_array(task->arena, attention_shares_size(info), sizeof *task->shares);
    if (!task->embeddings || !task->shares) {
        command_complain("no memory for %zu embeddings", 1 + task->n);
        return false;
    }
    task->items[0].shares = task->shares;
    return session_embed(session, task->items, 1 + task->n, task->embeddings);
}

/* ---- output */

static bool print_shares(const struct task *task, const struct attention *attention, struct buffer *out) {
    const size_t side = attention_side(attention->model);
    float *share = arena_array(task->arena, side * side, sizeof *share), cosine, rest;
    char name[256];
    if (!share)
        return false;
    for (size_t i = 0; i < task->n; i++) {
        attention_shares(attention, i, &cosine, &rest, share);
        text_quote(text_of(task->operands[1 + i]), name, sizeof name);
        buffer_print(out, "%s%s  cosine %.4f, rest %.4f\n", i ? "\n" : "", name, (double)cosine,
                     (double)rest);
        for (size_t p = 0; p < side * side; p++)
            buffer_print(out, "%s%8.4f%s", p % side ? "" : " ", (double)share[p],
                         p % side == side - 1 ? "\n" : "");
    }
    return true;
}

/* Writes the map; what was begun is left, with a message. */
static bool write_map(const char *path, const struct buffer *png) {
    FILE *file = fopen(path, "wbe");
    bool good = file && fwrite(png->data, 1, png->size, file) == png->size;
    good = file && fclose(file) == 0 && good;
    if (!good)
        command_complain("%s: %s", path, strerror(errno));
    return good;
}

static bool answer(struct task *task, struct session *session) {
    const struct attention attention = {.model = limoe_model_info(session->model),
                                        .pixels = task->items[0].pixels,
                                        .embeddings = task->embeddings,
                                        .shares = task->shares,
                                        .n = task->n};
    struct buffer out = {0};
    bool good = true;
    if (task->out)
        good = attention_draw(&out, &attention);
    else if (task->shared.json)
        attention_answer(&out, &attention, &task->usage);
    else
        good = print_shares(task, &attention, &out);
    if (!good || out.failed) {
        command_complain("no memory for the answer");
        good = false;
    } else
        good = task->out ? write_map(task->out, &out) : command_print(&out, task->shared.json);
    buffer_free(&out);
    return good;
}

int explain_main(int argc, char **argv) {
    struct task task = {.arena = arena_new()};
    struct session session = {0};
    int status = COMMAND_INPUT;
    if (!task.arena) {
        command_complain("no memory");
        return status;
    }
    if (!parse(&task, argc, argv, &status))
        goto out;
    status = COMMAND_INPUT;
    if (!make_room(&task)) {
        command_complain("no memory for %zu texts", task.n);
        goto out;
    }
    if (!read_texts(&task, &status))
        goto out;
    if (session_read_image(task.operands[0], task.arena, task.inputs) &&
        session_open(&session, &task.shared) && embed(&task, &session) && answer(&task, &session))
        status = COMMAND_OK;
out:
    session_close(&session);
    arena_free(task.arena);
    return status;
}
