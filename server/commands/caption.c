/* caption.c - limoe caption: pictures to texts, by a model that has a decoder. One thread. */
#include <string.h>

#include "limoe_caption.h"
#include "server/api/captions.h"
#include "server/api/prepare.h"
#include "server/commands/commands.h"
#include "server/commands/session.h"
#include "server/options/command.h"

struct task {
    struct session_options shared;
    unsigned n, beams, top_k, min_length, max_length;
    double temperature;
    uint64_t seed;
    struct arena *arena;
    struct limoe_caption_options options; /* the same, checked */
    const char *const *paths;             /* [n_paths] */
    size_t n_paths;
    /* Of the pictures that could be read. */
    struct limoe_item *items; /* [n_items] */
    size_t *index;            /* [n_items]: which of paths */
    size_t n_items;
    struct limoe_caption *captions; /* [n_items, options.n] */
    char *text;                     /* [LIMOE_CAPTION_TEXT] */
};

#define AT(field)     .only_flag = true, .offset = offsetof(struct task, field)
#define SHARED(field) .offset = offsetof(struct task, shared.field)

static const struct option_row table[] = {
    {.name = "n",
     AT(n),
     .kind = OPTION_UNSIGNED,
     .least = 1,
     .most = LIMOE_CAPTION_MAX,
     .metavar = "N",
     .help = "captions of each picture: the best of --beams, or as many samples with --top-k"},
    {.name = "beams",
     AT(beams),
     .kind = OPTION_UNSIGNED,
     .least = 1,
     .most = LIMOE_CAPTION_MAX_BEAMS,
     .metavar = "N",
     .help = "keep the N most probable beginnings at each token",
     .fallback = "1: the most probable token each time"},
    {.name = "top-k",
     AT(top_k),
     .kind = OPTION_UNSIGNED,
     .least = 1,
     .most = UINT32_MAX,
     .metavar = "K",
     .help = "draw each token among the K most probable, instead of searching",
     .fallback = "no drawing"},
    {.name = "temperature",
     AT(temperature),
     .kind = OPTION_DOUBLE,
     .most = 100,
     .metavar = "T",
     .help = "with --top-k: below 1 the probable is drawn more often, above 1 less; from 0.01",
     .fallback = "1"},
    {.name = "seed",
     AT(seed),
     .kind = OPTION_U64,
     .most = INT64_MAX,
     .metavar = "N",
     .help = "with --top-k: another seed, other captions"},
    {.name = "min-length",
     AT(min_length),
     .kind = OPTION_UNSIGNED,
     .least = 0,
     .most = LIMOE_CAPTION_MAX_TOKENS,
     .metavar = "N",
     .help = "tokens before a caption may end"},
    {.name = "max-length",
     AT(max_length),
     .kind = OPTION_UNSIGNED,
     .least = 1,
     .most = LIMOE_CAPTION_MAX_TOKENS,
     .metavar = "N",
     .help = "tokens after which a caption is cut",
     .fallback = "all that the model has positions for"},
    COMMAND_MODEL_ROW(SHARED(model), .fallback = MODEL_DIR_DEFAULT),
    COMMAND_DEVICE_ROW(SHARED(compute.device)),
    COMMAND_DTYPE_ROW(SHARED(compute.dtype)),
    COMMAND_THREADS_ROW(SHARED(compute.threads)),
    COMMAND_JSON_ROW(SHARED(json),
                     .help = "print one JSON object: of each picture its captions, with their logarithms of "
                             "probability"),
    COMMAND_HELP_ROW,
};

static const struct task defaults = {.n = 1};
static const struct option_note exits[] = {
    {"0", "every picture is captioned"},
    {"1",
     "a picture could not be read (the others are captioned), or the model has no decoder or is not sound"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe caption --model /srv/models/captions examples/cat.png",
     "One caption, the most probable token each time"},
    {"limoe caption --model /srv/models/captions --beams 5 --min-length 5 examples/cat.png",
     "The best of five beams"},
    {"limoe caption --model /srv/models/captions --top-k 50 --n 10 --seed 1 examples/cat.png",
     "Ten that are drawn, the same ten each time"},
    {NULL, NULL},
};

const struct option_command caption_command = {
    .name = "caption",
    .summary = "write captions of pictures",
    .usage = "limoe caption [options] IMAGE...",
    .operand = "FILE",
    .about =
        "Writes captions of pictures (\"-\": standard input) by a model whose config.json has \"decoder\". "
        "Before each stands the natural logarithm of its probability. A caption depends on its picture, the "
        "options and the seed alone.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

/* False: exit with *status. */
static bool parse(struct task *task, int argc, char **argv, int *status) {
    struct options options;
    if (!command_options(&caption_command, argc, argv, task, task->arena, &options, status))
        return false;
    task->paths = options.operands;
    task->n_paths = options.n_operands;
    task->options = (struct limoe_caption_options){.n = task->n,
                                                   .beams = task->beams,
                                                   .top_k = task->top_k,
                                                   .temperature = (float)task->temperature,
                                                   .min_length = task->min_length,
                                                   .max_length = task->max_length,
                                                   .seed = task->seed};
    if (!task->n_paths)
        *status = command_usage("caption", "no image");
    else if (task->beams && task->top_k)
        *status = command_usage("caption", "--beams and --top-k are given; one of them is accepted");
    else if ((task->temperature != 0 || task->seed) && !task->top_k)
        *status = command_usage("caption", "--temperature and --seed go with --top-k");
    else
        return true;
    return false;
}

/* What the model's sizes forbid is the command line's fault, too. */
static bool check(struct task *task, const struct session *session, int *status) {
    struct limoe_error err;
    const enum limoe_status found =
        limoe_caption_check(limoe_model_info(session->model), &task->options, &task->options, &err);
    if (found == LIMOE_INVALID)
        *status = command_usage("caption", "%s", err.message);
    else if (found)
        command_complain("%s", err.message);
    return !found;
}

static bool make_room(struct task *task) {
    task->items = arena_array(task->arena, task->n_paths, sizeof *task->items);
    task->index = arena_array(task->arena, task->n_paths, sizeof *task->index);
    task->captions = arena_array(task->arena, task->n_paths * task->options.n, sizeof *task->captions);
    task->text = arena_alloc(task->arena, LIMOE_CAPTION_TEXT);
    return task->items && task->index && task->captions && task->text;
}

/* Pictures that fail are named and left out, and *status says so. */
static void read_pictures(struct task *task, const struct session *session, int *status) {
    for (size_t i = 0; i < task->n_paths; i++) {
        struct request_item input;
        struct usage usage = {0};
        struct api_error error;
        if (!session_read_image(task->paths[i], task->arena, &input)) {
            *status = COMMAND_INPUT;
        } else if (!prepare_item(session->processor, &input, task->arena, &task->items[task->n_items], &usage,
                                 &error)) {
            command_complain("%s", error.message);
            *status = COMMAND_INPUT;
        } else {
            task->index[task->n_items++] = i;
        }
    }
}

/* ---- output */

static void add_line(const struct limoe_caption *caption, const char *text, struct buffer *out) {
    buffer_print(out, "%8.2f  %s%s\n", caption->logprob, text, caption->ended ? "" : " …");
}

/* Captions of one picture; those that a search did not find are left out. */
static enum limoe_status print_picture(const struct task *task, const struct session *session, size_t i,
                                       struct buffer *out, struct limoe_error *err) {
    const struct limoe_caption *captions = task->captions + i * task->options.n;
    if (task->n_paths > 1)
        buffer_print(out, "%s%s\n", i ? "\n" : "", task->paths[task->index[i]]);
    for (uint32_t c = 0; c < task->options.n && (captions[c].length || captions[c].ended); c++) {
        const enum limoe_status status =
            limoe_caption_text(session->processor, &captions[c], task->text, LIMOE_CAPTION_TEXT, err);
        if (status)
            return status;
        add_line(&captions[c], task->text, out);
    }
    return LIMOE_OK;
}

static enum limoe_status print_json(const struct task *task, const struct session *session,
                                    struct buffer *out, struct limoe_error *err) {
    const struct limoe_info *model = limoe_model_info(session->model);
    struct captions_usage usage = {.image_tokens = (uint64_t)task->n_items * model->image_tokens};
    enum limoe_status status = LIMOE_OK;
    captions_begin(out, model->name);
    for (size_t i = 0; i < task->n_items && !status; i++)
        status =
            captions_append(out, i == 0, task->index[i], session->processor,
                            task->captions + i * task->options.n, task->options.n, task->text, &usage, err);
    captions_end(out, &usage);
    return status;
}

static bool add_all(const struct task *task, const struct session *session, struct buffer *out) {
    enum limoe_status status = LIMOE_OK;
    struct limoe_error err;
    if (task->shared.json)
        status = print_json(task, session, out, &err);
    for (size_t i = 0; i < task->n_items && !status && !task->shared.json; i++)
        status = print_picture(task, session, i, out, &err);
    if (status)
        command_complain("%s", err.message);
    return !status;
}

static bool answer(const struct task *task, const struct session *session) {
    struct limoe_error err;
    struct buffer out = {0};
    if (limoe_model_caption(session->model, task->items, task->n_items, &task->options, task->captions,
                            &err) != LIMOE_OK) {
        command_complain("%s", err.message);
        return false;
    }
    bool good = add_all(task, session, &out);
    if (good && out.failed) {
        command_complain("no memory for the answer");
        good = false;
    }
    good = good && command_print(&out, task->shared.json);
    buffer_free(&out);
    return good;
}

int caption_main(int argc, char **argv) {
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
    if (!session_open(&session, &task.shared) || !check(&task, &session, &status))
        goto out;
    if (!make_room(&task)) {
        command_complain("no memory for %zu pictures", task.n_paths);
        goto out;
    }
    status = COMMAND_OK;
    read_pictures(&task, &session, &status);
    if (task.n_items && !answer(&task, &session))
        status = COMMAND_INPUT;
out:
    session_close(&session);
    arena_free(task.arena);
    return status;
}
