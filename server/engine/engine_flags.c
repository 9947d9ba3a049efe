/* engine_flags.c - the table of flags, and what goes with what. */
#include "server/engine/engine_flags.h"

#include "server/options/command.h"

/* Flags alone: the front passes on what it was configured with, and an environment must not contradict it. */
#define AT(field) .only_flag = true, .offset = offsetof(struct engine_flags, field)

static const struct option_row table[] = {
    COMMAND_MODEL_ROW(AT(model)),
    COMMAND_DEVICE_ROW(AT(compute.device)),
    COMMAND_DTYPE_ROW(AT(compute.dtype)),
    COMMAND_THREADS_ROW(AT(compute.threads)),
    {.name = "step-tokens",
     .kind = OPTION_U64,
     AT(step_tokens),
     .least = 1,
     .most = UINT32_MAX,
     .metavar = "N",
     .help = "most tokens computed in one step",
     .fallback = "as many as fill the device"},
    COMMAND_LOAD_ROW(AT(compute.load_file)),
    COMMAND_EXPERT_BYTES_ROW(AT(compute.expert_bytes)),
    {.name = "adapters",
     .kind = OPTION_STRING,
     AT(adapters.dir),
     .metavar = "DIR",
     .help = "where adapters' files are",
     .fallback = "there are none"},
    {.name = "adapter-memory",
     .kind = OPTION_BYTES,
     AT(adapters.tail_bytes),
     .most = UINT64_C(1) << 50,
     .metavar = "N",
     .help = "bytes that adapters may take in memory"},
    {.name = "trunk-cache",
     .kind = OPTION_BYTES,
     AT(adapters.trunk_bytes),
     .most = UINT64_C(1) << 50,
     .metavar = "N",
     .help = "bytes of what adapters leave as it is, kept of pictures and texts seen with one; 0: none"},
    {.name = "connect",
     .kind = OPTION_STRING,
     AT(connect),
     .metavar = "ADDRESS",
     .help = "the front, of which this is one of several ranks: unix:PATH or tcp:HOST:PORT",
     .fallback = "the socket that it was given"},
    {.name = "rank",
     .kind = OPTION_UNSIGNED,
     AT(rank),
     .most = 1023,
     .metavar = "N",
     .help = "with --ranks: which one this is, from 0 on"},
    {.name = "ranks",
     .kind = OPTION_UNSIGNED,
     AT(ranks),
     .most = 1024,
     .metavar = "N",
     .help = "how many ranks, each on a GPU, the front brings together; 0: this is none of them"},
    COMMAND_HELP_ROW,
};

static const struct option_command command = {
    .name = "engine",
    .usage = "limoe engine --model DIR [options]",
    .about =
        "Holds a model's weights and computes embeddings for limoe serve, which starts it, watches over "
        "it and restarts it. It speaks over a socket that it is given as descriptor 3, or goes to the front "
        "as one of several ranks that mpirun or a session has started, and is of no use by hand.",
    .table = table,
    .n = sizeof table / sizeof *table,
};

bool engine_flags_parse(int argc, char **argv, struct arena *arena, struct engine_flags *flags, int *status) {
    struct options options;
    if (!command_options(&command, argc, argv, flags, arena, &options, status))
        return false;
    *status = COMMAND_USAGE;
    if (options.n_operands > 0)
        command_usage("engine", "unexpected argument \"%s\"", options.operands[0]);
    else if (!flags->model)
        command_usage("engine", "--model is missing");
    else if (flags->ranks ? flags->rank >= flags->ranks : flags->rank > 0)
        command_usage("engine", "--rank is %u and --ranks is %u; accepted: a rank below their number",
                      flags->rank, flags->ranks);
    else
        return true;
    return false;
}
