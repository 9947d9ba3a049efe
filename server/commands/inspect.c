/* inspect.c - limoe inspect: what a model directory holds, from its headers alone. One thread. */
#include <math.h>
#include <string.h>

#include "base/device_name.h"
#include "server/api/answer.h"
#include "server/commands/commands.h"
#include "server/commands/inspect_cards.h"
#include "server/commands/inspect_compare.h"
#include "server/commands/inspect_ranks.h"
#include "server/commands/session.h"
#include "server/commands/table.h"
#include "server/options/command.h"
#include "server/options/model_dir.h"

struct inspect_options {
    const char *model;
    bool json;
    bool digest;
    unsigned ranks; /* 0: not asked for */
    struct limoe_rank_options placed;
    uint64_t card_bytes, step_tokens; /* of GPUs; 0: not said */
    enum limoe_dtype compare;         /* AUTO: not asked for */
};

static const struct option_choice compared[] = {
    {"float32", LIMOE_FLOAT32}, {"bfloat16", LIMOE_BFLOAT16}, {"int8", LIMOE_INT8}, {NULL, 0}};

#define AT(field)   .offset = offsetof(struct inspect_options, field)
#define FLAG(field) .only_flag = true, AT(field)

static const struct option_row table[] = {
    COMMAND_MODEL_ROW(AT(model), .fallback = MODEL_DIR_DEFAULT),
    COMMAND_JSON_ROW(AT(json), .help = "print one JSON object"),
    {.name = "digest",
     .kind = OPTION_SWITCH,
     FLAG(digest),
     .help = "print alone the 32 hexadecimal digits that an adapter names as its base; reads all weights"},
    {.name = "ranks",
     .kind = OPTION_UNSIGNED,
     FLAG(ranks),
     .least = 1,
     .most = 1024,
     .metavar = "N",
     .help = "also print how N ranks would share the experts, and the memory of each"},
    {.name = "load",
     .kind = OPTION_STRING,
     FLAG(placed.load),
     .metavar = "FILE",
     .help = "with --ranks: a measured load; experts are spread so that ranks get equal rows"},
    {.name = "expert-bytes",
     .kind = OPTION_BYTES,
     FLAG(placed.expert_bytes),
     .least = 1,
     .most = INT64_MAX,
     .metavar = "N",
     .help = "with --load: the most that a rank's experts may take; copies of the hottest fill it",
     .fallback = "an even share"},
    {.name = "card-memory",
     .kind = OPTION_BYTES,
     FLAG(card_bytes),
     .least = 1,
     .most = INT64_MAX,
     .metavar = "N",
     .help = "with --ranks and --device cuda: memory of each GPU, as 80GiB; also print what fits, and on how "
             "many"},
    {.name = "step-tokens",
     .kind = OPTION_U64,
     FLAG(step_tokens),
     .least = 64,
     .most = 1 << 20,
     .metavar = "N",
     .help = "with --ranks and --device cuda: as of limoe serve",
     .fallback = "as many as fill the device"},
    {.name = "device",
     .kind = OPTION_DEVICE,
     AT(placed.device),
     .metavar = "DEVICE",
     .help = "with --ranks: auto, cpu or cuda, which need not be there; weights are packed for it; with "
             "--compare: where",
     .fallback = "auto: a GPU where there is one, else the CPU"},
    COMMAND_DTYPE_ROW(AT(placed.dtype)),
    {.name = "compare",
     .kind = OPTION_CHOICE,
     .choices = compared,
     FLAG(compare),
     .metavar = "TYPE",
     .help =
         "also embed pictures and texts made here as --dtype and as float32, bfloat16 or int8, and print how "
         "alike the vectors are"},
    COMMAND_HELP_ROW,
};

static const struct inspect_options defaults = {0};
static const struct option_note exits[] = {
    {"0", "the model is sound, as far as its headers show"},
    {"1", "it is not"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};
static const struct option_note uses[] = {
    {"limoe inspect", "What the bundled model is"},
    {"limoe inspect /srv/models/large --ranks 4 --device cuda",
     "What each of four GPUs would hold of another, which need not be there"},
    {"limoe inspect /srv/models/large --ranks 2 --device cuda --card-memory 80GiB",
     "Whether it fits on two cards of 80 GiB, and how many are needed"},
    {"limoe inspect --dtype int8 --compare float32", "What 8-bit weights and activations cost in accuracy"},
    {NULL, NULL},
};

const struct option_command inspect_command = {
    .name = "inspect",
    .summary = "show what a model directory holds",
    .usage = "limoe inspect [DIR] [options]",
    .operand = "DIR",
    .about = "Prints the sizes, experts and parameters of a model directory, and a table by block. Reads no "
             "weights but to compare. DIR goes before --model.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .defaults = &defaults,
    .exits = exits,
    .uses = uses,
};

static const char *number(struct arena *arena, uint64_t value) {
    char digits[32];
    table_number(digits, value);
    return arena_copy(arena, digits, strlen(digits));
}

static const char *tower(struct arena *arena, const struct limoe_info *info, enum limoe_modality modality) {
    const struct limoe_tower *tower = &info->tower[modality];
    if (!limoe_has(info, modality))
        return "none";
    return arena_print(arena, "%u blocks, width %u, %u heads, mlp %u", tower->blocks, tower->width,
                       tower->heads, tower->mlp);
}

/* The last row, of models that have one. */
static const char *decoder(struct arena *arena, const struct limoe_info *info) {
    const struct limoe_tower *tower = &info->decoder;
    return arena_print(arena, "%u blocks, width %u, %u heads, mlp %u: captions of up to %u tokens",
                       tower->blocks, tower->width, tower->heads, tower->mlp, info->caption_length);
}

static const char *scores(struct arena *arena, const struct limoe_info *info) {
    const struct limoe_scoring *scoring = &info->scoring;
    const double scale = (double)scoring->scale;
    if (!limoe_has(info, LIMOE_IMAGE) || !limoe_has(info, LIMOE_TEXT))
        return "none: pictures are scored by texts";
    return scoring->kind == LIMOE_SOFTMAX
               ? arena_print(arena, "softmax of cosines × %.1f (logit scale %.4f)", exp(scale), scale)
               : arena_print(arena,
                             "sigmoid of cosines × %.1f %+.2f, each label by itself (logit scale %.4f)",
                             exp(scale), (double)scoring->bias, scale);
}

static bool print_facts(const struct limoe_inspection *model, const char *dir, struct arena *arena,
                        struct buffer *out) {
    static const bool right[] = {false, false};
    const struct limoe_info *info = &model->info;
    struct buffer blocks = {0};
    for (uint32_t i = 0; i < info->moe_layers; i++)
        buffer_print(&blocks, "%s%u", i ? ", " : "", info->moe_blocks[i]);
    buffer_bytes(&blocks, "", 1);
    const char *const cells[] = {
        "name",
        info->name,
        "architecture",
        info->architecture,
        "directory",
        dir,
        "parameters",
        number(arena, info->total_parameters),
        "active",
        arena_print(arena, "%s for one token", number(arena, info->active_parameters)),
        "weights",
        arena_print(arena, "%.1f MB, %s", (double)info->weight_bytes / 1e6, model->checkpoint_dtypes),
        info->towers == 1 ? "tower" : "image tower",
        tower(arena, info, LIMOE_IMAGE),
        "text tower",
        info->towers == 1 ? "the same" : tower(arena, info, LIMOE_TEXT),
        "experts",
        info->moe_layers ? arena_print(arena, "%u in each of blocks %s, top-%u", info->experts,
                                       blocks.failed ? "" : blocks.data, info->top_k)
                         : "none: every block is dense",
        "image",
        limoe_has(info, LIMOE_IMAGE)
            ? arena_print(arena, "%u × %u pixels in patches of %u × %u: %u tokens", info->image_size,
                          info->image_size, info->patch, info->patch, info->image_tokens)
            : "refused",
        "text",
        limoe_has(info, LIMOE_TEXT)
            ? arena_print(arena, "%u pieces, up to %u tokens", info->vocab, info->text_length)
            : "refused",
        "embedding",
        arena_print(arena, "%u numbers", info->embed),
        "scores",
        scores(arena, info),
        "decoder",
        decoder(arena, info),
    };
    const size_t rows = sizeof cells / sizeof *cells, n = info->decoder.blocks ? rows : rows - 2;
    bool ok = !blocks.failed;
    for (size_t i = 0; i < n; i++)
        ok = ok && cells[i];
    if (ok)
        table_append(out, 0, 2, right, cells, n / 2);
    buffer_free(&blocks);
    return ok;
}

static bool print_blocks(const struct limoe_inspection *model, struct arena *arena, struct buffer *out) {
    enum { COLUMNS = 6 };
    static const bool right[COLUMNS] = {true, false, true, true, true, true};
    static const char *const heads[COLUMNS] = {"block", "kind", "attention", "router", "mlp", "active mlp"};
    const size_t n = model->info.blocks;
    const char **cells = arena_array(arena, COLUMNS * (n + 1), sizeof *cells);
    if (!cells)
        return false;
    memcpy(cells, heads, sizeof heads);
    for (size_t i = 0; i < n; i++) {
        const struct limoe_block_info *block = &model->block[i];
        const char **row = cells + COLUMNS * (i + 1);
        row[0] = arena_print(arena, "%zu", i);
        row[1] = block->moe ? arena_print(arena, "%u experts", model->info.experts) : "dense";
        row[2] = number(arena, block->attention_parameters);
        row[3] = block->moe ? number(arena, block->router_parameters) : "-";
        row[4] = number(arena, block->mlp_parameters);
        row[5] = number(arena, block->active_mlp_parameters);
        for (size_t k = 0; k < COLUMNS; k++)
            if (!row[k])
                return false;
    }
    buffer_string(out, "\n");
    table_append(out, 0, COLUMNS, right, cells, n + 1);
    return true;
}

static int print_digest(const char *dir, bool json, struct buffer *out) {
    struct limoe_error err;
    char digits[33];
    if (limoe_base(dir, digits, &err) != LIMOE_OK) {
        command_complain("%s", err.message);
        return COMMAND_INPUT;
    }
    buffer_print(out, json ? "{\"base\":\"%s\"}" : "%s\n", digits);
    return command_print(out, json) ? COMMAND_OK : COMMAND_INPUT;
}

/* What was found; free with release. */
struct findings {
    struct limoe_inspection *inspection;
    struct limoe_placement *ranks;
    struct limoe_cards *cards;
    struct answer_cards gpus;
    struct answer_comparison comparison;
};

static void release(struct findings *found) {
    limoe_cards_free(found->cards);
    limoe_placement_free(found->ranks);
    limoe_inspection_free(found->inspection);
}

static bool names_gpus(const struct inspect_options *asked) {
    enum device_kind kind;
    uint32_t index;
    return device_name_parse(asked->placed.device, &kind, &index) && kind == DEVICE_CUDA;
}

/* NULL, or what is wrong with the options together. */
static const char *contradiction(const struct inspect_options *asked) {
    if (asked->placed.load && !asked->ranks)
        return "--load goes with --ranks";
    if (asked->placed.expert_bytes && !asked->placed.load)
        return asked->ranks ? "--expert-bytes goes with --load" : "--load goes with --ranks";
    if ((asked->card_bytes || asked->step_tokens) && !(asked->ranks && names_gpus(asked)))
        return "--card-memory and --step-tokens go with --ranks and --device cuda";
    return NULL;
}

static enum limoe_status find_cards(const struct inspect_options *asked, struct findings *found,
                                    struct limoe_error *err) {
    const uint64_t tokens = asked->step_tokens;
    enum limoe_status status =
        limoe_inspect_cards(found->inspection, found->ranks, tokens, &found->cards, err);
    found->gpus = (struct answer_cards){.cards = found->cards, .card_bytes = asked->card_bytes};
    return status || !asked->card_bytes
               ? status
               : limoe_fewest_ranks(found->inspection, &asked->placed, tokens, asked->card_bytes,
                                    &found->gpus.fewest_ranks, err);
}

/* False: what is wrong has been said. */
static bool look(const char *dir, const struct inspect_options *asked, struct arena *arena,
                 struct findings *found) {
    const struct limoe_options compute = {.device = asked->placed.device, .dtype = asked->placed.dtype};
    struct limoe_error err;
    enum limoe_status status = limoe_inspect(dir, &found->inspection, &err);
    if (!status && asked->ranks)
        status = limoe_inspect_ranks(found->inspection, &asked->placed, &found->ranks, &err);
    if (!status && asked->ranks && names_gpus(asked))
        status = find_cards(asked, found, &err);
    if (status) {
        command_complain("%s", err.message);
        return false;
    }
    return !asked->compare || inspect_compare(dir, &compute, asked->compare, arena, &found->comparison);
}

/* False: no memory. */
static bool print_findings(const struct findings *found, const char *dir, bool compared_too,
                           struct arena *arena, struct buffer *out) {
    return print_facts(found->inspection, dir, arena, out) && print_blocks(found->inspection, arena, out) &&
           (!found->ranks || inspect_ranks_print(found->ranks, arena, out)) &&
           (!found->cards || inspect_cards_print(&found->gpus, arena, out)) &&
           (!compared_too || inspect_compare_print(&found->comparison, arena, out));
}

int inspect_main(int argc, char **argv) {
    struct inspect_options asked = {0};
    struct options options;
    struct findings found = {0};
    struct arena *arena = arena_new();
    struct buffer out = {0};
    const char *wrong;
    char room[PATH_MAX];
    int status = COMMAND_INPUT;
    if (!arena) {
        command_complain("no memory");
        goto out;
    }
    if (!command_options(&inspect_command, argc, argv, &asked, arena, &options, &status))
        goto out;
    if (options.n_operands > 1) {
        status = command_usage("inspect", "one directory at a time; found \"%s\" after \"%s\"",
                               options.operands[1], options.operands[0]);
        goto out;
    }
    if ((wrong = contradiction(&asked))) {
        status = command_usage("inspect", "%s", wrong);
        goto out;
    }
    const char *dir = model_dir(options.n_operands ? options.operands[0] : asked.model, room);
    if (!dir) {
        status = command_usage("inspect", "no model: name a directory or set LIMOE_MODEL");
        goto out;
    }

    if (asked.digest) {
        status = print_digest(dir, asked.json, &out);
        goto out;
    }
    status = COMMAND_INPUT;
    asked.placed.ranks = asked.ranks;
    if (!look(dir, &asked, arena, &found))
        goto out;
    if (asked.json)
        answer_inspection(&out, found.inspection, found.ranks, found.cards ? &found.gpus : NULL,
                          asked.compare ? &found.comparison : NULL);
    else if (!print_findings(&found, dir, asked.compare, arena, &out)) {
        command_complain("no memory for the answer");
        goto out;
    }
    status = command_print(&out, asked.json) ? COMMAND_OK : COMMAND_INPUT;
out:
    buffer_free(&out);
    arena_free(arena);
    release(&found);
    return status;
}
