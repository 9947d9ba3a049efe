/* config_open_clip.c - open_clip_config.json: "model_cfg" as open_clip's factory takes it, with its defaults.
 *
 * Image towers are open_clip's own ViT, or of timm's the SigLIP family, whose sizes are known by their names; text
 * towers are open_clip's own. What would change the forward pass and is not done here is refused by name; keys of
 * training are ignored. No state, no threads. */
#include <stdio.h>
#include <string.h>

#include "model/checkpoint/config_format.h"
#include "model/checkpoint/strict_json.h"

/* Refuses keys of `object` that ask for another network, unless they are false, null or 0. */
static void refuse(struct fields *f, const cJSON *object, const char *half, const char *const *keys) {
    for (; *keys; keys++) {
        const cJSON *item = fields_find(f, object, *keys);
        char found[METADATA_DESCRIPTION];
        if (item && !cJSON_IsFalse(item) && !(cJSON_IsNumber(item) && item->valuedouble == 0))
            fields_fail(f, LIMOE_UNSUPPORTED, "\"model_cfg.%s.%s\" is %s, which is not supported", half,
                        *keys, metadata_describe(item, found));
    }
}

/* "norm_kwargs": {"eps"}, "act_kwargs": {"approximate"} of the tower's object. */
static void read_layers(struct fields *f, const cJSON *object, const char *half, bool quick_gelu,
                        struct config_tower *tower) {
    static const char *const known_norm[] = {"eps", NULL}, *const known_act[] = {"approximate", NULL};
    static const char *const approximations[] = {"none", "tanh", NULL};
    char path[64];
    const cJSON *norm = fields_find(f, object, "norm_kwargs"), *act = fields_find(f, object, "act_kwargs");
    snprintf(path, sizeof path, "\"model_cfg.%s.norm_kwargs\"", half);
    fields_known(f, norm, path, known_norm);
    snprintf(path, sizeof path, "model_cfg.%s.norm_kwargs.eps", half);
    tower->ln_eps = fields_number_or(f, norm, path, 1e-12, 0.1, 1e-5);
    snprintf(path, sizeof path, "\"model_cfg.%s.act_kwargs\"", half);
    fields_known(f, act, path, known_act);
    snprintf(path, sizeof path, "model_cfg.%s.act_kwargs.approximate", half);
    tower->activation = fields_word(f, act, path, approximations, 0) ? CONFIG_GELU_TANH : CONFIG_GELU;
    if (quick_gelu)
        tower->activation = CONFIG_QUICK_GELU;
}

/* "mlp_ratio" times the width, cut to a whole number as open_clip does. */
static void read_mlp(struct fields *f, const cJSON *object, const char *path, struct config_tower *tower) {
    const cJSON *item = fields_find(f, object, path);
    double ratio = item && cJSON_IsNumber(item) ? item->valuedouble : 4;
    fields_number_or(f, object, path, 1.0 / CONFIG_MAX_WIDTH, 64, 4);
    if (f->status != LIMOE_OK)
        return;
    const double mlp = tower->width * ratio;
    if (!(mlp >= 1 && mlp <= CONFIG_MAX_MLP)) {
        fields_fail(f, LIMOE_CORRUPT, "\"%s\" is %g, which makes an MLP of %g; 1 to %u are accepted", path,
                    ratio, mlp, CONFIG_MAX_MLP);
        return;
    }
    tower->mlp = (uint32_t)mlp;
}

/* timm's names of SigLIP's image towers: sizes by the name's second part, the activation by the whole of it. */
static void read_timm(struct fields *f, const cJSON *vision, struct config *config) {
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
    const cJSON *item = fields_find(f, vision, "timm_model_name");
    const char *name = cJSON_IsString(item) ? item->valuestring : "";
    char size[16], found[METADATA_DESCRIPTION];
    unsigned patch, side;
    int end = 0;
    const struct size *s = NULL;
    if (sscanf(name, "vit_%15[a-z0-9]_patch%4u_siglip_%4u%n", size, &patch, &side, &end) == 3 && !name[end]) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            if (strcmp(sizes[i].name, size) == 0)
                s = &sizes[i];
    }
    if (!s || patch < 1 || patch > 64) {
        fields_fail(
            f, LIMOE_UNSUPPORTED,
            "\"model_cfg.vision_cfg.timm_model_name\" is %s; vit_SIZE_patchP_siglip_S with SIZE base, large, "
            "so400m or giantopt is accepted",
            metadata_describe(item, found));
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

static void check_timm(struct fields *f, const cJSON *vision) {
    static const char *const pools[] = {"map", NULL}, *const projections[] = {"none", "", NULL};
    if (!fields_find(f, vision, "timm_pool"))
        fields_fail(f, LIMOE_UNSUPPORTED,
                    "\"model_cfg.vision_cfg.timm_pool\" is missing; \"map\" is accepted");
    fields_word(f, vision, "model_cfg.vision_cfg.timm_pool", pools, 0);
    if (!fields_find(f, vision, "timm_proj"))
        fields_fail(f, LIMOE_UNSUPPORTED,
                    "\"model_cfg.vision_cfg.timm_proj\" is missing; \"none\" is accepted");
    fields_word(f, vision, "model_cfg.vision_cfg.timm_proj", projections, 0);
}

static void read_vit(struct fields *f, const cJSON *vision, bool quick_gelu, struct config *config) {
    static const char *const refused[] = {
        "ls_init_value", "attentional_pool", "block_type", "qk_norm",  "scaled_cosine_attn",
        "scale_heads",   "scale_attn_inner", "scale_attn", "scale_fc", NULL};
    static const char *const positions[] = {"learnable", NULL};
    static const char *const pools[] = {"tok", "avg", NULL};
    struct config_tower *tower = &config->tower[LIMOE_IMAGE];
    refuse(f, vision, "vision_cfg", refused);
    fields_word(f, vision, "model_cfg.vision_cfg.pos_embed_type", positions, 0);
    tower->width = fields_integer_or(f, vision, "model_cfg.vision_cfg.width", 1, CONFIG_MAX_WIDTH, 768);
    tower->blocks = fields_integer_or(f, vision, "model_cfg.vision_cfg.layers", 1, CONFIG_MAX_BLOCKS, 12);
    const uint32_t head =
        fields_integer_or(f, vision, "model_cfg.vision_cfg.head_width", 1, CONFIG_MAX_WIDTH, 64);
    if (tower->width % head != 0)
        fields_fail(f, LIMOE_CORRUPT,
                    "\"model_cfg.vision_cfg.width\" is %u; a multiple of \"head_width\" (%u) is accepted",
                    tower->width, head);
    tower->heads = tower->width / head ? tower->width / head : 1;
    read_mlp(f, vision, "model_cfg.vision_cfg.mlp_ratio", tower);
    read_layers(f, vision, "vision_cfg", quick_gelu, tower);
    tower->pre_norm = !fields_bool_or(f, vision, "model_cfg.vision_cfg.no_ln_pre", false);
    tower->late_norm = fields_bool_or(f, vision, "model_cfg.vision_cfg.final_ln_after_pool", false);
    tower->pool = fields_word(f, vision, "model_cfg.vision_cfg.pool_type", pools, 0) ? CONFIG_POOL_REST
                                                                                     : CONFIG_POOL_FIRST;
    config->image.patch =
        fields_integer_or(f, vision, "model_cfg.vision_cfg.patch_size", 1, CONFIG_MAX_IMAGE_SIZE, 16);
    config->image.class_token = config->image.projection = true;
}

/* A number, or a pair of equal ones. */
static void read_side(struct fields *f, const cJSON *vision, struct config *config) {
    const char path[] = "model_cfg.vision_cfg.image_size";
    const cJSON *item = fields_find(f, vision, path);
    if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2) {
        char name[64];
        config->image.size =
            fields_integer_of(f, fields_element(item, 0, path, name), name, 1, CONFIG_MAX_IMAGE_SIZE);
        const uint32_t width =
            fields_integer_of(f, fields_element(item, 1, path, name), name, 1, CONFIG_MAX_IMAGE_SIZE);
        if (width != config->image.size)
            fields_fail(f, LIMOE_UNSUPPORTED, "\"%s\" is %u by %u; a square is accepted", path,
                        config->image.size, width);
        return;
    }
    config->image.size = fields_integer_or(f, vision, path, 1, CONFIG_MAX_IMAGE_SIZE, 224);
}

static void read_image(struct fields *f, const cJSON *vision, bool quick_gelu, struct config *config) {
    static const float half[3] = {0.5f, 0.5f, 0.5f};
    read_side(f, vision, config);
    if (fields_find(f, vision, "timm_model_name")) {
        check_timm(f, vision);
        read_timm(f, vision, config);
    } else {
        read_vit(f, vision, quick_gelu, config);
    }
    memcpy(config->image.mean, half, sizeof half);
    memcpy(config->image.std, half, sizeof half);
    memset(config->image.background, 255, sizeof config->image.background);
}

static void read_text(struct fields *f, const cJSON *text, bool quick_gelu, bool custom,
                      struct config *config) {
    static const char *const refused[] = {"ls_init_value",
                                          "embed_cls",
                                          "block_type",
                                          "qk_norm",
                                          "scaled_cosine_attn",
                                          "scale_heads",
                                          "scale_attn_inner",
                                          "scale_attn",
                                          "scale_fc",
                                          "hf_model_name",
                                          NULL};
    static const char *const pools[] = {"argmax", "last", "eos", NULL}, *const projections[] = {"linear",
                                                                                                NULL};
    struct config_tower *tower = &config->tower[LIMOE_TEXT];
    refuse(f, text, "text_cfg", refused);
    tower->width = fields_integer_or(f, text, "model_cfg.text_cfg.width", 1, CONFIG_MAX_WIDTH, 512);
    tower->blocks = fields_integer_or(f, text, "model_cfg.text_cfg.layers", 1, CONFIG_MAX_BLOCKS, 12);
    tower->heads = fields_integer_or(f, text, "model_cfg.text_cfg.heads", 1, tower->width, 8);
    if (tower->width % tower->heads != 0)
        fields_fail(f, LIMOE_CORRUPT,
                    "\"model_cfg.text_cfg.width\" is %u; a multiple of \"heads\" (%u) is accepted",
                    tower->width, tower->heads);
    read_mlp(f, text, "model_cfg.text_cfg.mlp_ratio", tower);
    read_layers(f, text, "text_cfg", quick_gelu, tower);
    tower->causal = !fields_bool_or(f, text, "model_cfg.text_cfg.no_causal_mask", false);
    tower->pool = CONFIG_POOL_LAST;
    const int pool = fields_word(f, text, "model_cfg.text_cfg.pool_type", pools, 0);
    if (pool == 2 && !custom)
        fields_fail(f, LIMOE_UNSUPPORTED,
                    "\"model_cfg.text_cfg.pool_type\" is \"eos\" without \"custom_text\"");
    fields_word(f, text, "model_cfg.text_cfg.proj_type", projections, 0);
    config->text.vocab =
        fields_integer_or(f, text, "model_cfg.text_cfg.vocab_size", 1, CONFIG_MAX_VOCAB, 49408);
    config->text.length =
        fields_integer_or(f, text, "model_cfg.text_cfg.context_length", 1, CONFIG_MAX_TEXT_LENGTH, 77);
    config->text.pad_id =
        (int32_t)fields_integer_or(f, text, "model_cfg.text_cfg.pad_id", 0, config->text.vocab - 1, 0);
    /* Where the mask is off or the last place is read, what stands behind the text matters. */
    config->text.pad = !tower->causal || pool == 1 ? CONFIG_ATTEND : CONFIG_IGNORE;
    config->text.projection = true;
    config->text.projection_bias = fields_bool_or(f, text, "model_cfg.text_cfg.proj_bias", false);
}

void config_read_open_clip(struct fields *f, const cJSON *root, struct config *config) {
    const cJSON *model = fields_object(f, root, "model_cfg");
    const cJSON *vision = fields_object(f, model, "model_cfg.vision_cfg");
    const cJSON *text = fields_object(f, model, "model_cfg.text_cfg");
    const bool quick_gelu = fields_bool_or(f, model, "model_cfg.quick_gelu", false);
    const bool custom = fields_bool_or(f, model, "model_cfg.custom_text", false);
    if (fields_find(f, model, "multimodal_cfg"))
        fields_fail(f, LIMOE_UNSUPPORTED, "\"model_cfg.multimodal_cfg\": a CoCa is not supported");
    config->format = custom ? CONFIG_OPEN_CLIP_CUSTOM : CONFIG_OPEN_CLIP;
    config->towers = 2;
    config->embed = fields_integer(f, model, "model_cfg.embed_dim", 1, CONFIG_MAX_EMBED);
    config->scores = fields_find(f, model, "init_logit_bias") ? CONFIG_SIGMOID : CONFIG_SOFTMAX;
    read_image(f, vision, quick_gelu, config);
    read_text(f, text, quick_gelu, custom, config);
    if (config->format == CONFIG_OPEN_CLIP_TIMM && !custom)
        fields_fail(f, LIMOE_UNSUPPORTED,
                    "\"model_cfg.timm_model_name\" is accepted beside \"custom_text\": true");
}
