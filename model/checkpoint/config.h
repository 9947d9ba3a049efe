/* config.h - a model's config.json, format "limoe-1", checked. */
#ifndef LIMOE_MODEL_CHECKPOINT_CONFIG_H
#define LIMOE_MODEL_CHECKPOINT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/fingerprint.h"

enum config_activation { CONFIG_GELU_TANH, CONFIG_GELU, CONFIG_QUICK_GELU };
enum config_resize { CONFIG_PAD, CONFIG_SQUASH, CONFIG_CROP };
enum config_pad { CONFIG_IGNORE, CONFIG_ATTEND };

/* Accepted ranges; config.c refuses anything outside them, so that no product of sizes below overflows 64
 * bits. */
#define CONFIG_MAX_WIDTH       16384u
#define CONFIG_MAX_BLOCKS      256u
#define CONFIG_MAX_MLP         65536u
#define CONFIG_MAX_EMBED       16384u
#define CONFIG_MAX_IMAGE_SIZE  2048u
#define CONFIG_MAX_VOCAB       1048576u
#define CONFIG_MAX_TEXT_LENGTH 4096u
#define CONFIG_MAX_EXPERTS     1024u
#define CONFIG_MAX_TOP_K       16u

/* To add a field: config.c reads it within its bounds, tests/unit/model/checkpoint/test_config.c, docs/format.md,
 * train/model.py (docs/development.md#an-architecture). */
struct config {
    char name[128];
    uint32_t width, blocks, heads, mlp, embed;
    enum config_activation activation; /* default gelu_tanh */
    float ln_eps;                      /* default 1e-6 */
    bool qk_norm;                      /* default false */
    /* "pool": only "mean" is accepted */
    struct {
        uint32_t size, patch;
        float mean[3], std[3];
        enum config_resize resize; /* default pad */
        uint8_t background[3];     /* default white */
    } image;
    struct {
        uint32_t vocab, length;
        int32_t eos_id, pad_id;
        enum config_pad pad; /* default ignore */
    } text;
    struct {
        uint32_t layers;                   /* 0: a dense model ("moe" absent) */
        uint32_t block[CONFIG_MAX_BLOCKS]; /* [layers], ascending, distinct, < blocks */
        uint32_t experts, top_k;
        bool renormalize;
        /* Parity mode, absent = 0 = dropless. A group is `group` consecutive rows of the call's packed rows,
         * images first, then texts, each in item order; the last may be shorter. Each expert's capacity in a
         * group of S rows is ceil(S * top_k * capacity / experts), rounded up to a multiple of 4. */
        float capacity; /* the factor C */
        uint32_t group; /* rows in a group; 0: all of a call's rows are one */
        bool priority;  /* Batch Priority Routing, else order of arrival */
    } moe;
};

/* Parses and checks `size` bytes of JSON. `where` (a file name) begins every message. Unknown keys are
 * refused: a misspelt switch must not be silently ignored. */
enum limoe_status config_parse(const char *json, size_t size, const char *where, struct config *config,
                               struct limoe_error *err);
/* Reads dir/config.json (at most 1 MiB), and adds its bytes to `fingerprint` (NULL: to none). */
enum limoe_status config_load(const char *dir, struct config *config, struct fingerprint *fingerprint,
                              struct limoe_error *err);

uint32_t config_image_tokens(const struct config *config); /* (size / patch)^2 */
bool config_is_moe(const struct config *config, uint32_t block);

#endif
