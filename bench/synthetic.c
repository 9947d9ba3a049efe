/* synthetic.c - writes a model of any size with random weights: shapes can be tried without weights.
 *
 *     bench/synthetic --preset b16|l16|h14 --out DIR [options]
 *
 * A preset is a published size of LIMoE (arXiv 2206.02770); any number may then be changed. Answers of such a
 * model mean nothing, but they are answers: finite, different for different inputs, spread over the experts.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "bench/synthetic.h"
#include "model/checkpoint/layout.h"

struct numbers {
    uint64_t width, blocks, heads, mlp, embed, image_size, patch, vocab, text_length, experts, top_k,
        moe_layers;
};

static const struct preset {
    const char *name;
    struct numbers numbers;
} presets[] = {
    {"b16", {768, 12, 12, 3072, 768, 224, 16, 32000, 16, 32, 1, 6}},
    {"l16", {1024, 24, 16, 4096, 1024, 224, 16, 32000, 16, 32, 1, 12}},
    {"h14", {1280, 32, 16, 5120, 1280, 224, 14, 32000, 16, 32, 1, 12}},
    {"small", {384, 12, 6, 1536, 384, 64, 8, 12000, 16, 16, 1, 6}},
};

static const struct field {
    const char *flag, *about;
    size_t offset;
} fields[] = {
    {"width", "of the tower", offsetof(struct numbers, width)},
    {"blocks", "of the tower", offsetof(struct numbers, blocks)},
    {"heads", "of attention", offsetof(struct numbers, heads)},
    {"mlp", "hidden width of dense blocks and experts", offsetof(struct numbers, mlp)},
    {"embed", "numbers in an embedding", offsetof(struct numbers, embed)},
    {"image-size", "pixels a side", offsetof(struct numbers, image_size)},
    {"patch", "pixels a side", offsetof(struct numbers, patch)},
    {"vocab", "pieces, at least as many as the tokenizer has", offsetof(struct numbers, vocab)},
    {"text-length", "tokens", offsetof(struct numbers, text_length)},
    {"experts", "in a MoE block", offsetof(struct numbers, experts)},
    {"top-k", "experts for a token", offsetof(struct numbers, top_k)},
    {"moe-layers", "the last of every second block; 0: a dense model", offsetof(struct numbers, moe_layers)},
};
enum { FIELDS = sizeof fields / sizeof *fields, PRESETS = sizeof presets / sizeof *presets };

struct arguments {
    const char *out, *tokenizer, *name;
    struct numbers numbers;
    enum kernels_storage dtype;
    uint64_t seed, shard_bytes;
};

static int usage(FILE *to) {
    fputs("usage: bench/synthetic --preset b16|l16|h14|small --out DIR [options]\n"
          "  --dtype float32|bfloat16|float16   of the checkpoint; default bfloat16\n"
          "  --seed N                           default 1\n"
          "  --shard-bytes N                    files of about this size; default 5000000000\n"
          "  --tokenizer FILE                   default models/pictograms/tokenizer.model\n"
          "  --name NAME                        default the preset's\n"
          "in place of the preset's:\n",
          to);
    for (size_t i = 0; i < FIELDS; i++)
        fprintf(to, "  --%-12s N   %s\n", fields[i].flag, fields[i].about);
    return to == stdout ? 0 : 2;
}

static bool read_number(const char *text, uint64_t *out) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static bool read_preset(const char *name, struct arguments *a) {
    for (size_t i = 0; i < PRESETS; i++) {
        if (strcmp(name, presets[i].name) == 0) {
            a->numbers = presets[i].numbers;
            a->name = presets[i].name;
            return true;
        }
    }
    return false;
}

static bool read_dtype(const char *text, enum kernels_storage *out) {
    static const char *const names[] = {
        [KERNELS_F32] = "float32", [KERNELS_BF16] = "bfloat16", [KERNELS_F16] = "float16"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum kernels_storage)i;
            return true;
        }
    }
    return false;
}

/* The preset is read first, wherever it stands; numbers then change it. */
static bool read_arguments(int argc, char **argv, struct arguments *a) {
    enum { PRESET = FIELDS, OUT, DTYPE, SEED, SHARD, TOKENIZER, NAME, OPTIONS };
    static const char *const others[] = {"preset",      "out",       "dtype", "seed",
                                         "shard-bytes", "tokenizer", "name"};
    struct option known[OPTIONS + 1] = {{0}};
    for (int i = 0; i < OPTIONS; i++)
        known[i] =
            (struct option){i < FIELDS ? fields[i].flag : others[i - FIELDS], required_argument, NULL, i + 1};
    *a = (struct arguments){.tokenizer = "models/pictograms/tokenizer.model",
                            .dtype = KERNELS_BF16,
                            .seed = 1,
                            .shard_bytes = 5000000000};
    const char *name = NULL;
    bool preset = false;
    for (int pass = 0; pass < 2; pass++) {
        int option;
        optind = 1;
        while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
            bool ok = option != '?';
            if (ok && (option == PRESET + 1) == (pass == 0)) {
                switch (option - 1) {
                case PRESET:
                    ok = preset = read_preset(optarg, a);
                    break;
                case OUT:
                    a->out = optarg;
                    break;
                case DTYPE:
                    ok = read_dtype(optarg, &a->dtype);
                    break;
                case SEED:
                    ok = read_number(optarg, &a->seed);
                    break;
                case SHARD:
                    ok = read_number(optarg, &a->shard_bytes) && a->shard_bytes;
                    break;
                case TOKENIZER:
                    a->tokenizer = optarg;
                    break;
                case NAME:
                    name = optarg;
                    break;
                default:
                    ok = read_number(optarg,
                                     (uint64_t *)(void *)((char *)&a->numbers + fields[option - 1].offset));
                }
            }
            if (!ok && option != '?')
                fprintf(stderr, "bench/synthetic: --%s is \"%s\", which it cannot be\n",
                        known[option - 1].name, optarg);
            if (!ok)
                return false;
        }
    }
    a->name = name ? name : a->name;
    if (!preset || !a->out)
        fprintf(stderr, "bench/synthetic: --preset and --out are needed\n");
    if (optind < argc)
        fprintf(stderr, "bench/synthetic: unexpected \"%s\"\n", argv[optind]);
    return preset && a->out && optind == argc;
}

/* MoE in the last n of blocks 1, 3, 5, …, as V-MoE's "last n". */
static char *make_config(const struct arguments *a, size_t *size) {
    const struct numbers *n = &a->numbers;
    char *text = NULL;
    FILE *f = open_memstream(&text, size);
    if (!f)
        return NULL;
    fprintf(f, "{\"format\":\"limoe-1\",\"name\":\"%s\",", a->name);
    fprintf(f, "\"width\":%" PRIu64 ",\"blocks\":%" PRIu64 ",\"heads\":%" PRIu64 ",", n->width, n->blocks,
            n->heads);
    fprintf(f, "\"mlp\":%" PRIu64 ",\"embed\":%" PRIu64 ",\n", n->mlp, n->embed);
    fprintf(f, "\"image\":{\"size\":%" PRIu64 ",\"patch\":%" PRIu64 ",", n->image_size, n->patch);
    fputs("\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],\"resize\":\"pad\"},\n", f);
    fprintf(f, "\"text\":{\"vocab\":%" PRIu64 ",\"length\":%" PRIu64 ",\"eos_id\":2,\"pad_id\":0}", n->vocab,
            n->text_length);
    if (n->moe_layers) {
        const uint64_t every_second = n->blocks / 2;
        const uint64_t skip = every_second > n->moe_layers ? every_second - n->moe_layers : 0;
        fputs(",\n\"moe\":{\"blocks\":[", f);
        for (uint64_t i = skip; i < every_second; i++)
            fprintf(f, "%s%" PRIu64, i > skip ? "," : "", 2 * i + 1);
        fprintf(f, "],\"experts\":%" PRIu64 ",\"top_k\":%" PRIu64 ",\"renormalize\":false}", n->experts,
                n->top_k);
    }
    fputs("}\n", f);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

enum limoe_status synthetic_write(const char *dir, const char *name, const void *bytes, size_t size,
                                  struct limoe_error *err) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return limoe_fail(err, LIMOE_INVALID, "%.300s: too long a path", dir);
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(bytes, 1, size, f) == size;
    if (f && fclose(f) != 0)
        ok = false;
    return ok ? LIMOE_OK : limoe_fail(err, LIMOE_IO, "cannot write %.400s", path);
}

static enum limoe_status generate(const struct arguments *a, struct config *config, struct limoe_error *err) {
    size_t size = 0;
    char *json = make_config(a, &size);
    if (!json)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the config");
    enum limoe_status status = config_parse(json, size, "these numbers", config, err);
    if (status == LIMOE_OK && mkdir(a->out, 0777) != 0 && errno != EEXIST)
        status = limoe_fail(err, LIMOE_IO, "cannot make the directory %.400s", a->out);
    if (status == LIMOE_OK)
        status = synthetic_tokenizer(a->out, a->tokenizer, config->text.vocab, err);
    if (status == LIMOE_OK)
        status = synthetic_weights(a->out, config, a->dtype, a->seed, a->shard_bytes, err);
    if (status == LIMOE_OK) /* last, so that a directory with a config is whole */
        status = synthetic_write(a->out, "config.json", json, size, err);
    free(json);
    return status;
}

int main(int argc, char **argv) {
    struct arguments a;
    struct config config;
    struct limoe_error err;
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return usage(stdout);
    if (!read_arguments(argc, argv, &a))
        return usage(stderr);
    if (generate(&a, &config, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    uint64_t total, active;
    layout_count(&config, &total, &active);
    printf("%s: %" PRIu64 " parameters, %" PRIu64 " active\n", a.out, total, active);
    return 0;
}
