/* config.h - what a model is: one description, from which tensors, forward pass and checks follow.
 *
 * A folder says it in one of several ways, each with a reader of its own (config_limoe.c,
 * config_transformers.c, config_open_clip.c); past those nobody asks which it was but layout.c, for the tensors' names. */
#ifndef LIMOE_MODEL_CHECKPOINT_CONFIG_H
#define LIMOE_MODEL_CHECKPOINT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "limoe_caption.h"
#include "model/checkpoint/fingerprint.h"

/* Whose names the tensors have (names.c). */
enum config_format {
    CONFIG_LIMOE_1,      /* docs/format.md: one tower */
    CONFIG_LIMOE_2,      /* docs/format.md: two towers, or one of them, or one for both; a decoder */
    CONFIG_CLIP,         /* transformers' CLIPModel, and either tower of one alone */
    CONFIG_SIGLIP,       /* transformers' SiglipModel and Siglip2Model, and either tower of one alone */
    CONFIG_CHINESE_CLIP, /* transformers' ChineseCLIPModel: a CLIP whose texts pass a BERT */
    CONFIG_OPEN_CLIP,    /* open_clip's CLIP */
    CONFIG_OPEN_CLIP_CUSTOM, /* open_clip's CustomTextCLIP over its own ViT: "text." before the text tower's names */
    CONFIG_OPEN_CLIP_TIMM, /* the same with an image tower of timm's (SigLIP) */
};

enum config_activation { CONFIG_GELU_TANH, CONFIG_GELU, CONFIG_QUICK_GELU };
enum config_pad { CONFIG_IGNORE, CONFIG_ATTEND };

/* How a sequence becomes one vector. */
enum config_pool {
    CONFIG_POOL_MEAN,  /* the mean of its tokens */
    CONFIG_POOL_REST,  /* the mean of all but the first, a class token */
    CONFIG_POOL_FIRST, /* the first: a class token, of a text its start token */
    CONFIG_POOL_LAST, /* the last: a text's end token, or where padding is attended to, whatever stands there */
    CONFIG_POOL_ATTENTION, /* a learned query attends to all, then an MLP with a residual (SigLIP's head) */
};

/* What scores are made of cosines: softmax over the labels, or of each by itself sigmoid(exp(s) cosine + b). */
enum config_scores { CONFIG_SOFTMAX, CONFIG_SIGMOID };

/* Accepted ranges; the readers refuse anything outside them, so that no product of sizes below overflows 64
 * bits. */
#define CONFIG_MAX_WIDTH        16384u
#define CONFIG_MAX_BLOCKS       256u /* of both towers together */
#define CONFIG_MAX_MLP          65536u
#define CONFIG_MAX_EMBED        16384u
#define CONFIG_MAX_IMAGE_SIZE   LIMOE_MAX_IMAGE_SIZE
#define CONFIG_MAX_IMAGE_TOKENS 65536u
#define CONFIG_MAX_VOCAB        1048576u
#define CONFIG_MAX_TEXT_LENGTH  4096u
#define CONFIG_MAX_EXPERTS      1024u
#define CONFIG_MAX_TOP_K        16u
#define CONFIG_MAX_CAPTION      LIMOE_CAPTION_MAX_TOKENS

/* A transformer. */
struct config_tower {
    uint32_t width, blocks, heads, mlp;
    enum config_activation activation;
    float ln_eps;
    bool qk_norm;
    bool causal;   /* a token attends to itself and those before it alone */
    bool pre_norm; /* LayerNorm on the embedded input, too (CLIP's pictures, BERT) */
    bool
        post_norm; /* with pre_norm: a sublayer's norm is of the sum behind it, and there is no final one (BERT) */
    bool late_norm; /* the final LayerNorm is of what was pooled, not of each token before */
    enum config_pool pool;
};

/* To add a field: config.c reads it within its bounds, tests/unit/model/checkpoint/test_config.c, docs/format.md,
 * train/model.py (docs/development.md#an-architecture). */
struct config {
    enum config_format format;
    char name[128];
    uint32_t embed;
    enum config_scores scores;
    /* By modality (enum limoe_modality). One tower for both: `towers` is 1, and both entries are it. Of two, one may be
     * absent: it has no blocks, and the model does without its modality (config_has). */
    uint32_t towers;
    struct config_tower tower[LIMOE_MODALITIES];
    struct {
        uint32_t size, patch; /* a remainder of size / patch is cut off at the right and at the bottom */
        bool class_token;     /* a learned token before the patches, with a position of its own */
        bool patch_bias, projection;
        struct limoe_preprocess picture; /* how a picture becomes size x size pixels */
        float mean[3], std[3];           /* a byte b becomes (b / 255 - mean) / std */
    } image;
    struct {
        uint32_t vocab, length;
        int32_t eos_id, pad_id;
        enum config_pad pad; /* default ignore */
        uint32_t
            types; /* rows of a table of token types, whose first is added to each token (BERT); 0: none */
        bool projection, projection_bias;
    } text;
    /* Experts in either tower. Blocks are counted through: the image tower's, then the text tower's. */
    struct {
        uint32_t layers;                   /* 0: a dense model ("moe" absent) */
        uint32_t block[CONFIG_MAX_BLOCKS]; /* [layers], ascending, distinct, < config_blocks() */
        uint32_t experts, top_k;
        bool renormalize;
        /* Parity mode, absent = 0 = dropless. A group is `group` consecutive rows of the call's packed rows,
         * images first, then texts, each in item order; the last may be shorter. Each expert's capacity in a
         * group of S rows is ceil(S * top_k * capacity / experts), rounded up to a multiple of 4. */
        float capacity; /* the factor C */
        uint32_t group; /* rows in a group; 0: all of a call's rows are one */
        bool priority;  /* Batch Priority Routing, else order of arrival */
    } moe;
    /* Writes captions of pictures, in the pieces of the model's own tokenizer (model/forward/decoder.h). Of the tower the sizes,
     * the activation and the eps mean something; without blocks the model has none (config_has_decoder). */
    struct {
        struct config_tower tower;
        uint32_t length; /* positions: the most tokens of a caption, the end included */
        int32_t begin_id, end_id;
    } decoder;
};

/* Parses and checks `size` bytes of a config.json, of whichever format it is. `where` (a file name) begins every
 * message. In limoe's own formats unknown keys are refused: a misspelt switch must not be silently ignored. In those
 * of others, which are full of keys that do not concern inference, a key is refused where its value asks for
 * something that is not done here. */
enum limoe_status config_parse(const char *json, size_t size, const char *where, struct config *config,
                               struct limoe_error *err);
/* Reads the config of the folder (at most 1 MiB), and adds its bytes to `fingerprint` (NULL: to none).
 * open_clip_config.json where there are open_clip's weights and not transformers', else config.json. A model whose
 * config has no name has its folder's. */
enum limoe_status config_load(const char *dir, struct config *config, struct fingerprint *fingerprint,
                              struct limoe_error *err);

/* The file that such a config is read from: "config.json", "open_clip_config.json". */
const char *config_file_name(const struct config *config);

/* Whether the model takes pictures, or texts. What the config says of a modality that it lacks is 0. */
bool config_has(const struct config *config, enum limoe_modality modality);
/* Whether it takes both, so that one can be scored by the other. */
bool config_has_scores(const struct config *config);
/* Whether it captions pictures. */
bool config_has_decoder(const struct config *config);

uint32_t config_patches(const struct config *config); /* (size / patch)^2; 0: no pictures */
uint32_t
config_image_tokens(const struct config *config); /* patches, and the class token where there is one */

/* ---- blocks, counted through */

uint32_t config_blocks(const struct config *config);
bool config_is_moe(const struct config *config, uint32_t block);
/* Whose tower the block is in; of one tower for both, LIMOE_IMAGE. */
enum limoe_modality config_block_tower(const struct config *config, uint32_t block);
/* The first of a tower's blocks, and the first of its MoE layers among all. */
uint32_t config_first_block(const struct config *config, enum limoe_modality tower);
uint32_t config_first_layer(const struct config *config, enum limoe_modality tower);
/* How many MoE layers a modality's tokens pass. */
uint32_t config_layers(const struct config *config, enum limoe_modality modality);

#endif
