/* config_open_clip.c - open_clip_config.json: "model_cfg" as open_clip's factory takes it, with its defaults.
 *
 * Image towers are open_clip's own ViT, or of timm's the SigLIP family, whose sizes are known by their names; text
 * towers are open_clip's own. What would change the forward pass and is not done here is refused by name; keys of
 * training are ignored. No state, no threads. */
#include <stdio.h>
#include <string.h>

#include "model/checkpoint/config_format.h"
#include "model/checkpoint/strict_json.h"

/* Refuses keys that ask for another network, unless they are false, null or 0. */
static void refuse(const struct fields *f, const char *const *keys) {
    for (; *keys; keys++) {
        const cJSON *item = fields_find(f, *keys);
        if (item && !cJSON_IsFalse(item) && !(cJSON_IsNumber(item) && item->valuedouble == 0))
            fields_refuse(f, LIMOE_UNSUPPORTED, *keys, item, "false, or a file without it,");
    }
}

/* "norm_kwargs": {"eps"}, "act_kwargs": {"approximate"} of the tower's object; `paths` are theirs. */
static void read_layers(const struct fields *f, const char *const paths[2], bool quick_gelu,
                        struct config_tower *tower) {
    static const char *const known_norm[] = {"eps", NULL}, *const known_act[] = {"approximate", NULL};
    static const char *const approximations[] = {"none", "tanh", NULL};
    const struct fields norm = fields_enter(f, "norm_kwargs", paths[0], true);
    const struct fields act = fields_enter(f, "act_kwargs", paths[1], true);
    fields_known(&norm, known_norm);
    tower->ln_eps = (float)fields_number(&norm, "eps", 1e-12, 0.1, 1e-5);
    fields_known(&act, known_act);
    tower->activation = fields_word(&act, "approximate", approximations, 0) ? CONFIG_GELU_TANH : CONFIG_GELU;
    if (quick_gelu)
        tower->activation = CONFIG_QUICK_GELU;
}

/* "mlp_ratio" times the width, cut to a whole number as open_clip does. */
static void read_mlp(const struct fields *f, struct config_tower *tower) {
    const double ratio = fields_number(f, "mlp_ratio", 1.0 / CONFIG_MAX_WIDTH, 64, 4),
                 mlp = tower->width * ratio;
    tower->mlp = mlp >= 1 && mlp <= CONFIG_MAX_MLP ? (uint32_t)mlp : 1;
    if (tower->mlp != (uint32_t)mlp)
        fields_fail(f, LIMOE_CORRUPT,
                    "\"%smlp_ratio\" is %g, which makes an MLP of %.0f; 1 to %u are accepted", f->prefix,
                    ratio, mlp, CONFIG_MAX_MLP);
}

/* timm's names of SigLIP's image towers: sizes by the name's second part, the activation by the whole of it. */
static void read_timm(const struct fields *f, struct config *config) {
    static const struct size {
        const char *name;
        uint32_t width, blocks, heads, mlp;
    } sizes[] = {{"base", 768, 12, 12, 3072},
                 {"large", 1024, 24, 16, 4096},
                 {"so400m", 1152, 27, 16, 4304},
                 {"giantopt", 1536, 40, 16, 6144}};
    /* Those whose GELU is the tanh approximation; the others' is exact. */
    static const char *const tanh_names[] = {"base_patch32", "giantopt_patch16", "so400m_patch16", NULL};
    static const char large_tanh[] = "vit_large_patch16_siglip_512";
    const cJSON *item = fields_find(f, "timm_model_name");
    const char *name = cJSON_IsString(item) ? item->valuestring : "";
    char size[16];
    unsigned patch, side;
    int end = 0;
    const struct size *s = NULL;
    if (sscanf(name, "vit_%15[a-z0-9]_patch%4u_siglip_%4u%n", size, &patch, &side, &end) == 3 && !name[end]) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            if (strcmp(sizes[i].name, size) == 0)
                s = &sizes[i];
    }
    if (!s || patch < 1 || patch > 64) {
        fields_refuse(f, LIMOE_UNSUPPORTED, "timm_model_name", item,
                      "vit_SIZE_patchP_siglip_S with SIZE base, large, so400m or giantopt");
        return;
    }
    struct config_tower *tower = &config->tower[LIMOE_IMAGE];
    *tower = (struct config_tower){.width = s->width,
                                   .blocks = s->blocks,
                                   .heads = s->heads,
                                   .mlp = s->mlp,
                                   .activation = CONFIG_GELU,
                                   .ln_eps = 1e-6f,
                                   .pool = CONFIG_POOL_ATTENTION};
    for (const char *const *t = tanh_names; *t; t++)
        if (strncmp(name + 4, *t, strlen(*t)) == 0 || strcmp(name, large_tanh) == 0)
            tower->activation = CONFIG_GELU_TANH;
    config->format = CONFIG_OPEN_CLIP_TIMM;
    config->image.patch = patch;
    config->image.patch_bias = true;
}

static void check_timm(const struct fields *f) {
    static const char *const pools[] = {"map", NULL}, *const projections[] = {"none", "", NULL};
    if (!fields_find(f, "timm_pool"))
        fields_refuse(f, LIMOE_UNSUPPORTED, "timm_pool", NULL, "\"map\"");
    fields_word(f, "timm_pool", pools, 0);
    if (!fields_find(f, "timm_proj"))
        fields_refuse(f, LIMOE_UNSUPPORTED, "timm_proj", NULL, "\"none\"");
    fields_word(f, "timm_proj", projections, 0);
}

static void read_vit(const struct fields *f, bool quick_gelu, struct config *config) {
    static const char *const refused[] = {
        "ls_init_value",    "attentional_pool",   "block_type", "qk_norm",  "scale_heads",
        "scale_attn_inner", "scaled_cosine_attn", "scale_attn", "scale_fc", NULL};
    static const char *const paths[] = {"model_cfg.vision_cfg.norm_kwargs.",
                                        "model_cfg.vision_cfg.act_kwargs."};
    static const char *const positions[] = {"learnable", NULL}, *const pools[] = {"tok", "avg", NULL};
    struct config_tower *tower = &config->tower[LIMOE_IMAGE];
    refuse(f, refused);
    fields_word(f, "pos_embed_type", positions, 0);
    tower->width = fields_integer(f, "width", 1, CONFIG_MAX_WIDTH, 768);
    tower->blocks = fields_integer(f, "layers", 1, CONFIG_MAX_BLOCKS, 12);
    const uint32_t head = fields_integer(f, "head_width", 1, CONFIG_MAX_WIDTH, 64);
    if (tower->width % head != 0)
        fields_fail(f, LIMOE_CORRUPT, "\"%swidth\" is %u; a multiple of \"head_width\" (%u) is accepted",
                    f->prefix, tower->width, head);
    tower->heads = tower->width % head ? 1 : tower->width / head;
    read_mlp(f, tower);
    read_layers(f, paths, quick_gelu, tower);
    tower->pre_norm = !fields_bool(f, "no_ln_pre", false);
    tower->late_norm = fields_bool(f, "final_ln_after_pool", false);
    tower->pool = fields_word(f, "pool_type", pools, 0) ? CONFIG_POOL_REST : CONFIG_POOL_FIRST;
    config->image.patch = fields_integer(f, "patch_size", 1, CONFIG_MAX_IMAGE_SIZE, 16);
    config->image.class_token = config->image.projection = true;
}

/* A number, or a pair of equal ones; preprocess_open_clip.c refuses others. */
static uint32_t read_side(const struct fields *f) {
    uint32_t height, width;
    if (!cJSON_IsArray(fields_find(f, "image_size")))
        return fields_integer(f, "image_size", 1, CONFIG_MAX_IMAGE_SIZE, 224);
    fields_pair(f, "image_size", 1, CONFIG_MAX_IMAGE_SIZE, &height, &width);
    if (height != width)
        fields_fail(f, LIMOE_UNSUPPORTED, "\"%simage_size\" is %u by %u; a square is accepted", f->prefix,
                    height, width);
    return height;
}

static void read_text(const struct fields *f, bool quick_gelu, bool custom, struct config *config) {
    static const char *const refused[] = {
        "ls_init_value",      "embed_cls",  "block_type", "qk_norm",       "scale_heads", "scale_attn_inner",
        "scaled_cosine_attn", "scale_attn", "scale_fc",   "hf_model_name", NULL};
    static const char *const paths[] = {"model_cfg.text_cfg.norm_kwargs.", "model_cfg.text_cfg.act_kwargs."};
    static const char *const projections[] = {"linear", NULL}, *const pools[] = {"argmax", "last", "eos",
                                                                                 NULL};
    enum { ARGMAX, LAST, EOS };
    struct config_tower *tower = &config->tower[LIMOE_TEXT];
    refuse(f, refused);
    tower->width = fields_integer(f, "width", 1, CONFIG_MAX_WIDTH, 512);
    tower->blocks = fields_integer(f, "layers", 1, CONFIG_MAX_BLOCKS, 12);
    tower->heads = fields_integer(f, "heads", 1, CONFIG_MAX_WIDTH, 8);
    if (tower->width % tower->heads != 0)
        fields_fail(f, LIMOE_CORRUPT, "\"%swidth\" is %u; a multiple of \"heads\" (%u) is accepted",
                    f->prefix, tower->width, tower->heads);
    read_mlp(f, tower);
    read_layers(f, paths, quick_gelu, tower);
    tower->causal = !fields_bool(f, "no_causal_mask", false);
    tower->pool = CONFIG_POOL_LAST;
    const uint32_t pool = fields_word(f, "pool_type", pools, ARGMAX);
    if (pool == EOS && !custom)
        fields_refuse(f, LIMOE_UNSUPPORTED, "pool_type", fields_find(f, "pool_type"),
                      "\"argmax\" or \"last\", unless \"custom_text\" is true,");
    fields_word(f, "proj_type", projections, 0);
    config->text.vocab = fields_integer(f, "vocab_size", 1, CONFIG_MAX_VOCAB, 49408);
    config->text.length = fields_integer(f, "context_length", 1, CONFIG_MAX_TEXT_LENGTH, 77);
    config->text.pad_id = (int32_t)fields_integer(f, "pad_id", 0, config->text.vocab - 1, 0);
    /* Where the mask is off or the last place is read, what stands behind the text matters. */
    config->text.pad = !tower->causal || pool == LAST ? CONFIG_ATTEND : CONFIG_IGNORE;
    config->text.projection = true;
    config->text.projection_bias = fields_bool(f, "proj_bias", false);
}

void config_read_open_clip(const struct fields *root, struct config *config) {
    const struct fields model = fields_enter(root, "model_cfg", "model_cfg.", false);
    const struct fields vision = fields_enter(&model, "vision_cfg", "model_cfg.vision_cfg.", false);
    const struct fields text = fields_enter(&model, "text_cfg", "model_cfg.text_cfg.", false);
    const bool quick_gelu = fields_bool(&model, "quick_gelu", false);
    const bool custom = fields_bool(&model, "custom_text", false);
    if (fields_find(&model, "multimodal_cfg"))
        fields_fail(root, LIMOE_UNSUPPORTED, "\"model_cfg.multimodal_cfg\": a CoCa is not supported");
    config->format = custom ? CONFIG_OPEN_CLIP_CUSTOM : CONFIG_OPEN_CLIP;
    config->towers = 2;
    config->embed = fields_integer_needed(&model, "embed_dim", 1, CONFIG_MAX_EMBED);
    config->scores = fields_find(&model, "init_logit_bias") ? CONFIG_SIGMOID : CONFIG_SOFTMAX;
    config->image.size = read_side(&vision);
    if (fields_find(&vision, "timm_model_name")) {
        check_timm(&vision);
        read_timm(&vision, config);
    } else {
        read_vit(&vision, quick_gelu, config);
    }
    read_text(&text, quick_gelu, custom, config);
    if (config->format == CONFIG_OPEN_CLIP_TIMM && !custom)
        fields_fail(root, LIMOE_UNSUPPORTED,
                    "\"model_cfg.timm_model_name\" is accepted beside \"custom_text\": true");
}
