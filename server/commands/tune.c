/* tune.c - limoe tune: an adapter from folders of pictures. One thread, beside the model's.
 *
 * Signals that ask to stop stay blocked, also in the model's threads, and are looked for whenever the run tells how far it is:
 * so it stops where its state is kept. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "limoe_tune.h"
#include "server/commands/adapters.h"
#include "server/commands/commands.h"
#include "server/options/command.h"

struct tune_options {
    const char *model, *output;
    enum limoe_tune_kind kind;
    unsigned start_block, epochs, threads;
    double rate, held_out;
    uint64_t seed;
    struct option_list templates, labels;
    bool flip, skip_broken, quiet, json;
};

static const struct option_choice kinds[] = {
    {"auto", LIMOE_TUNE_AUTO}, {"probe", LIMOE_TUNE_PROBE}, {"tail", LIMOE_TUNE_TAIL}, {NULL, 0}};

#define FIELD(name) .offset = offsetof(struct tune_options, name), .only_flag = true

static const struct option_row table[] = {
    COMMAND_MODEL_ROW(.offset = offsetof(struct tune_options, model), .fallback = MODEL_DIR_DEFAULT),
    {.name = "output",
     .letter = 'o',
     FIELD(output),
     .kind = OPTION_STRING,
     .metavar = "FILE",
     .help = "the adapter to write; one that is there is replaced",
     .fallback = "none: it must be given"},
    {.name = "kind",
     FIELD(kind),
     .kind = OPTION_CHOICE,
     .choices = kinds,
     .metavar = "KIND",
     .help = "probe, a linear layer on embeddings; tail, other weights from a block on; auto learns both and "
             "keeps what "
             "answers held-out pictures better"},
    {.name = "start-block",
     FIELD(start_block),
     .kind = OPTION_UNSIGNED,
     .most = 256,
     .metavar = "N",
     .help = "of a tail: the first block, of each tower, that is tuned; a tower's number of blocks: what "
             "follows them alone",
     .fallback = "the middle"},
    {.name = "epochs",
     FIELD(epochs),
     .kind = OPTION_UNSIGNED,
     .least = 1,
     .most = LIMOE_TUNE_MAX_EPOCHS,
     .metavar = "N",
     .help = "of a tail: how often all pictures are seen"},
    {.name = "learning-rate",
     FIELD(rate),
     .kind = OPTION_DOUBLE,
     .most = 10,
     .metavar = "RATE",
     .help = "the highest step",
     .fallback = "0.0005 of a tail; a probe's is chosen from 0.1, 0.03 and 0.3 by held-out pictures"},
    {.name = "held-out",
     FIELD(held_out),
     .kind = OPTION_SHARE,
     .metavar = "SHARE",
     .help = "of each class' pictures, up to 0.5, that are held out to judge by; 0: nothing is",
     .fallback = "0.2"},
    {.name = "seed",
     FIELD(seed),
     .kind = OPTION_U64,
     .most = INT64_MAX,
     .metavar = "N",
     .help = "draws the split, the order and the augmentation"},
    {.name = "template",
     FIELD(templates),
     .kind = OPTION_LIST,
     .metavar = "T",
     .help = "a prompt with {} for the label (\"a picture of a {}\"); several are ensembled",
     .fallback = "{}"},
    {.name = "label",
     FIELD(labels),
     .kind = OPTION_LIST,
     .metavar = "FOLDER=TEXT",
     .help = "what a folder's class is called; may be repeated",
     .fallback = "the folder's name"},
    {.name = "flip",
     FIELD(flip),
     .kind = OPTION_SWITCH,
     .help = "mirrored pictures are of the same class, and are learnt, too"},
    {.name = "skip-broken",
     FIELD(skip_broken),
     .kind = OPTION_SWITCH,
     .help = "leave out pictures that cannot be read, each of which is named"},
    COMMAND_THREADS_ROW(.offset = offsetof(struct tune_options, threads)),
    {.name = "quiet", FIELD(quiet), .kind = OPTION_SWITCH, .help = "show no progress"},
    COMMAND_JSON_ROW(.offset = offsetof(struct tune_options, json),
                     .help = "print the object that limoe adapters show --json prints of the adapter"),
    COMMAND_HELP_ROW,
};
static const struct tune_options defaults = {.start_block = LIMOE_TUNE_MIDDLE, .epochs = 10, .held_out = 0.2};
static const struct option_note exits[] = {
    {"0", "the adapter is there, whole"},
    {"1", "pictures, model or place are at fault, or it was stopped; the adapter is not there"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note files[] = {
    {"FILE.partial",
     "a tail's state after its last epoch, until the adapter is written: the same command goes on from it"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe tune pets --output pets.safetensors",
     "An adapter of the classes whose pictures are in pets/cat and pets/dog"},
    {"limoe tune pets -o pets.safetensors --kind probe --label dog=\"a puppy\"",
     "A probe, in seconds, with a name of its own"},
    {"limoe adapters merge /srv/models/base pets.safetensors /srv/models/pets",
     "A model of its own, of what a tail has learnt"},
    {NULL, NULL},
};

const struct option_command tune_command = {
    .name = "tune",
    .summary = "teach a model classes by a few pictures of each",
    .usage = "limoe tune DIR --output FILE [options]",
    .operand = "DIR",
    .about = "Learns an adapter from the pictures in DIR, which has a folder for each class, and writes it "
             "to FILE. Where "
             "each class has four pictures or more, a fifth of them is held out, and tells which of a probe "
             "and a tail is "
             "kept, and at which strength. The same pictures, options and kind of processor give the same "
             "file, whatever "
             "the threads.",
    .more = "Killed or stopped, it leaves FILE.partial: the same command goes on from the last epoch, to the "
            "same bytes.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .files = files,
    .uses = uses,
};

/* ---- progress */

struct shown {
    bool quiet;
    bool begun;       /* a tail has */
    int64_t since;    /* when it began here, */
    double had;       /* and which share was done then */
    uint32_t printed; /* epochs of the stage whose line is there */
    const char *stage;
};

static bool wanted(void) {
    sigset_t pending;
    return sigpending(&pending) != 0 || (!sigismember(&pending, SIGINT) && !sigismember(&pending, SIGTERM));
}

/* How long it will still take shows only after more than one batch. */
static void show_epoch(const struct shown *s, const struct limoe_tune_progress *p) {
    const double passed = (double)(clock_now() - s->since) / (double)CLOCK_SECOND, share = p->done - s->had;
    fprintf(stderr, "%s: epoch %u of %u, loss %.4f", p->stage, p->epoch, p->epochs, (double)p->loss);
    if (share > 0)
        fprintf(stderr, ", %.0f s left", passed * (1 - p->done) / share);
    fputc('\n', stderr);
}

static bool show(void *context, const struct limoe_tune_progress *p) {
    struct shown *s = context;
    if (p->note) {
        fprintf(stderr, "limoe: %s\n", p->note);
        return wanted();
    }
    if (p->done > 0 && !s->begun) {
        s->begun = true;
        s->since = clock_now();
        s->had = p->done;
    }
    const bool again = p->stage == s->stage && p->epoch == s->printed;
    if (!s->quiet && !again && p->done > 0 && p->epoch > 0)
        show_epoch(s, p);
    else if (!s->quiet && !again && p->done == 0 && p->epoch == p->epochs)
        fprintf(stderr, "%s: %u of %u\n", p->stage, p->epoch, p->epochs);
    s->stage = p->stage;
    s->printed = p->epoch;
    return wanted();
}

/* ---- the command */

static const char **values_of(const struct option_list *list, struct arena *arena) {
    const char **values = arena_array(arena, list->n + 1, sizeof *values);
    for (size_t i = 0; values && i < list->n; i++)
        values[i] = list->values[i].value;
    return values;
}

static void explain(enum limoe_status status, const char *message, const char *output) {
    char state[PATH_MAX];
    struct stat st;
    const bool kept = snprintf(state, sizeof state, "%s.partial", output) < PATH_MAX && stat(state, &st) == 0;
    if (status == LIMOE_LOST && kept)
        command_complain("%s; %s is kept: the same command goes on from there", message, state);
    else if (status == LIMOE_LOST)
        command_complain("%s; nothing is kept", message);
    else
        command_complain("%s%s", message,
                         status == LIMOE_BAD_IMAGE ? " (--skip-broken leaves such files out)" : "");
}

static int tune(const struct tune_options *asked, const char *pictures, struct arena *arena) {
    char room[PATH_MAX];
    struct limoe_error err;
    struct shown shown = {.quiet = asked->quiet};
    const char *dir = model_dir(asked->model, room);
    const struct limoe_tune_options options = {.kind = asked->kind,
                                               .start_block = asked->start_block,
                                               .epochs = asked->epochs,
                                               .rate = asked->rate,
                                               .held_out = asked->held_out > 0 ? asked->held_out : -1,
                                               .seed = asked->seed,
                                               .templates = values_of(&asked->templates, arena),
                                               .n_templates = (uint32_t)asked->templates.n,
                                               .labels = values_of(&asked->labels, arena),
                                               .n_labels = (uint32_t)asked->labels.n,
                                               .threads = asked->threads,
                                               .flip = asked->flip,
                                               .skip_broken = asked->skip_broken,
                                               .tell = show,
                                               .context = &shown};
    if (!dir || !options.templates || !options.labels) {
        command_complain(dir ? "no memory" : "no model: give --model DIR or set LIMOE_MODEL");
        return COMMAND_INPUT;
    }
    const enum limoe_status status = limoe_tune(dir, pictures, asked->output, &options, &err);
    if (status) {
        explain(status, err.message, asked->output);
        return COMMAND_INPUT;
    }
    return adapters_show(asked->output, asked->json, arena);
}

int tune_main(int argc, char **argv) {
    struct tune_options asked = defaults;
    struct options options;
    struct arena *arena = arena_new();
    int status = COMMAND_INPUT;
    sigset_t stopping;
    if (!arena) {
        command_complain("no memory");
        return status;
    }
    if (!command_options(&tune_command, argc, argv, &asked, arena, &options, &status))
        ;
    else if (options.n_operands != 1)
        status = command_usage("tune", "%zu folders; one with a folder of pictures for each class is needed",
                               options.n_operands);
    else if (!asked.output)
        status = command_usage("tune", "no --output; the adapter's file is needed");
    else {
        sigemptyset(&stopping);
        sigaddset(&stopping, SIGINT);
        sigaddset(&stopping, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &stopping, NULL);
        status = tune(&asked, options.operands[0], arena);
    }
    arena_free(arena);
    return status;
}
