/* Protects: open_clip_config.json is read as open_clip reads it, or refused with a message that names the field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "tests/unit/model/support.h"

#define PREPROCESS                                                                                           \
    "\"preprocess_cfg\":{\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],\"interpolation\":\"bicubic\","        \
    "\"resize_mode\":\"shortest\"}"

static const char vit[] =
    "{\"model_cfg\":{\"embed_dim\":20,\"quick_gelu\":true,\"custom_text\":false,"
    "\"vision_cfg\":{\"image_size\":16,\"layers\":3,\"width\":32,\"head_width\":16,\"patch_size\":4,"
    "\"mlp_ratio\":2.3,\"norm_kwargs\":{\"eps\":1e-4},\"patch_dropout\":0.5},"
    "\"text_cfg\":{\"context_length\":12,\"vocab_size\":64,\"width\":24,\"heads\":3,\"layers\":2}}"
    "," PREPROCESS "}";

static const char timm[] =
    "{\"model_cfg\":{\"embed_dim\":768,\"custom_text\":true,\"init_logit_bias\":-10,"
    "\"vision_cfg\":{\"image_size\":224,\"timm_model_name\":\"vit_base_patch16_siglip_224\","
    "\"timm_model_pretrained\":false,\"timm_pool\":\"map\",\"timm_proj\":\"none\"},"
    "\"text_cfg\":{\"context_length\":64,\"vocab_size\":32000,\"width\":768,\"heads\":12,\"layers\":12,"
    "\"no_causal_mask\":true,\"proj_bias\":true,\"pool_type\":\"last\",\"norm_kwargs\":{\"eps\":1e-6},"
    "\"act_kwargs\":{\"approximate\":\"tanh\"}}}," PREPROCESS "}";

static struct config parse(const char *json) {
    struct config c;
    struct limoe_error err;
    if (config_parse(json, strlen(json), "open_clip_config.json", &c, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return c;
}

static void test_vit(void **state) {
    (void)state;
    const struct config c = parse(vit);
    const struct config_tower *image = &c.tower[LIMOE_IMAGE], *text = &c.tower[LIMOE_TEXT];
    assert_int_equal(c.format, CONFIG_OPEN_CLIP);
    assert_int_equal(c.embed, 20);
    assert_int_equal(c.scores, CONFIG_SOFTMAX);
    assert_int_equal(image->heads, 2);
    assert_int_equal(image->mlp, 73); /* of 32 times 2.3 the whole part */
    assert_int_equal(image->activation, CONFIG_QUICK_GELU);
    assert_true(image->ln_eps == 1e-4f && text->ln_eps == 1e-5f);
    assert_true(image->pre_norm && !image->late_norm && image->pool == CONFIG_POOL_FIRST);
    assert_int_equal(text->mlp, 96);
    assert_true(text->causal && text->pool == CONFIG_POOL_LAST);
    assert_int_equal(c.text.pad, CONFIG_IGNORE);
    assert_true(c.text.projection && !c.text.projection_bias);
}

static void test_switches(void **state) {
    (void)state;
    char *json = edit(vit, "\"patch_dropout\":0.5",
                      "\"no_ln_pre\":true,\"final_ln_after_pool\":true,\"pool_type\":\"avg\","
                      "\"ls_init_value\":null,\"attentional_pool\":false");
    struct config c = parse(json);
    assert_true(!c.tower[LIMOE_IMAGE].pre_norm && c.tower[LIMOE_IMAGE].late_norm);
    assert_int_equal(c.tower[LIMOE_IMAGE].pool, CONFIG_POOL_REST);
    free(json);
    json = edit(vit, "\"image_size\":16", "\"image_size\":[16,16]");
    assert_int_equal(parse(json).image.size, 16);
    free(json);
}

static void test_timm(void **state) {
    (void)state;
    const struct config c = parse(timm);
    assert_int_equal(c.format, CONFIG_OPEN_CLIP_TIMM);
    assert_int_equal(c.scores, CONFIG_SIGMOID);
    assert_int_equal(c.tower[LIMOE_IMAGE].width, 768);
    assert_int_equal(c.tower[LIMOE_IMAGE].activation, CONFIG_GELU);
    assert_int_equal(c.tower[LIMOE_IMAGE].pool, CONFIG_POOL_ATTENTION);
    assert_int_equal(c.tower[LIMOE_TEXT].activation, CONFIG_GELU_TANH);
    assert_int_equal(c.text.pad, CONFIG_ATTEND);
    assert_true(c.text.projection_bias);
}

static const struct refusal vit_refused[] = {
    {"\"embed_dim\":20,", "", LIMOE_CORRUPT,
     "\"model_cfg.embed_dim\" is missing; an integer from 1 to 16384"},
    {"\"embed_dim\":20", "\"embed_dim\":\"20\"", LIMOE_CORRUPT, "\"model_cfg.embed_dim\" is \"20\""},
    {"\"model_cfg\":{", "\"model_cfg\":[],\"x\":{", LIMOE_CORRUPT, "\"model_cfg\" is an array; an object"},
    {"\"vision_cfg\":{", "\"visual\":{", LIMOE_CORRUPT, "\"model_cfg.vision_cfg\" is missing; an object"},
    {"\"text_cfg\":{", "\"text_cfg\":3,\"x\":{", LIMOE_CORRUPT, "\"model_cfg.text_cfg\" is 3; an object"},
    {"\"quick_gelu\":true", "\"quick_gelu\":1", LIMOE_CORRUPT,
     "\"model_cfg.quick_gelu\" is 1; true or false"},
    {"\"quick_gelu\":true", "\"multimodal_cfg\":{}", LIMOE_UNSUPPORTED,
     "\"model_cfg.multimodal_cfg\": a CoCa is not supported"},
    {"\"layers\":3", "\"layers\":[3,4,6,3]", LIMOE_CORRUPT,
     "\"model_cfg.vision_cfg.layers\" is an array; an integer"},
    {"\"layers\":3", "\"layers\":255", LIMOE_CORRUPT, "the towers have 257 blocks together"},
    {"\"head_width\":16", "\"head_width\":15", LIMOE_CORRUPT,
     "\"model_cfg.vision_cfg.width\" is 32; a multiple of \"head_width\" (15)"},
    {"\"heads\":3", "\"heads\":5", LIMOE_CORRUPT,
     "\"model_cfg.text_cfg.width\" is 24; a multiple of \"heads\" (5)"},
    {"\"mlp_ratio\":2.3", "\"mlp_ratio\":1e9", LIMOE_CORRUPT,
     "\"model_cfg.vision_cfg.mlp_ratio\" is 1000000000"},
    {"\"mlp_ratio\":2.3", "\"mlp_ratio\":0.001", LIMOE_CORRUPT,
     "\"model_cfg.vision_cfg.mlp_ratio\" is 0.001, which makes an MLP of 0"},
    {"\"mlp_ratio\":2.3", "\"mlp_ratio\":\"4\"", LIMOE_CORRUPT,
     "\"model_cfg.vision_cfg.mlp_ratio\" is \"4\""},
    {"\"eps\":1e-4", "\"eps\":0", LIMOE_CORRUPT, "\"model_cfg.vision_cfg.norm_kwargs.eps\" is 0"},
    {"\"eps\":1e-4", "\"epsilon\":1e-4", LIMOE_CORRUPT, "unknown key \"epsilon\""},
    {"\"image_size\":16", "\"image_size\":[16,32]", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.image_size\" is 16 by 32; a square"},
    {"\"image_size\":16", "\"image_size\":[]", LIMOE_CORRUPT,
     "\"model_cfg.vision_cfg.image_size\" is an array"},
    {"\"patch_size\":4", "\"patch_size\":17", LIMOE_CORRUPT, "patches of 17 pixels in pictures of 16"},
    {"\"patch_dropout\":0.5", "\"ls_init_value\":1e-5", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.ls_init_value\" is 1e-05; false"},
    {"\"patch_dropout\":0.5", "\"attentional_pool\":true", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.attentional_pool\" is true"},
    {"\"patch_dropout\":0.5", "\"qk_norm\":true", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.qk_norm\" is true"},
    {"\"patch_dropout\":0.5", "\"pos_embed_type\":\"sin_cos_2d\"", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.pos_embed_type\" is \"sin_cos_2d\""},
    {"\"patch_dropout\":0.5", "\"pool_type\":\"none\"", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.pool_type\" is \"none\"; \"tok\""},
    {"\"context_length\":12", "\"context_length\":4097", LIMOE_CORRUPT,
     "\"model_cfg.text_cfg.context_length\" is 4097"},
    {"\"context_length\":12", "\"hf_model_name\":\"roberta-base\"", LIMOE_UNSUPPORTED,
     "\"model_cfg.text_cfg.hf_model_name\" is \"roberta-base\""},
    {"\"context_length\":12", "\"embed_cls\":true", LIMOE_UNSUPPORTED,
     "\"model_cfg.text_cfg.embed_cls\" is true"},
    {"\"context_length\":12", "\"proj_type\":\"mlp\"", LIMOE_UNSUPPORTED,
     "\"model_cfg.text_cfg.proj_type\" is \"mlp\""},
    {"\"context_length\":12", "\"pool_type\":\"eos\"", LIMOE_UNSUPPORTED,
     "\"model_cfg.text_cfg.pool_type\" is \"eos\""},
    {"\"context_length\":12", "\"pad_id\":64", LIMOE_CORRUPT,
     "\"model_cfg.text_cfg.pad_id\" is 64; an integer from 0 to 63"},
};

static const struct refusal timm_refused[] = {
    {"vit_base_patch16_siglip_224", "resnet50", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.timm_model_name\" is \"resnet50\"; vit_SIZE_patchP_siglip_S"},
    {"vit_base_patch16_siglip_224", "vit_base_patch16_siglip_224x", LIMOE_UNSUPPORTED, "timm_model_name"},
    {"vit_base_patch16_siglip_224", "vit_huge_patch16_siglip_224", LIMOE_UNSUPPORTED, "SIZE"},
    {"vit_base_patch16_siglip_224", "vit_base_patch0_siglip_224", LIMOE_UNSUPPORTED, "timm_model_name"},
    {"\"timm_pool\":\"map\",", "", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.timm_pool\" is missing; \"map\" is accepted"},
    {"\"timm_pool\":\"map\"", "\"timm_pool\":\"avg\"", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.timm_pool\" is \"avg\""},
    {",\"timm_proj\":\"none\"", "", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.timm_proj\" is missing; \"none\" is accepted"},
    {"\"timm_proj\":\"none\"", "\"timm_proj\":\"linear\"", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.timm_proj\" is \"linear\""},
    {"\"custom_text\":true,", "", LIMOE_UNSUPPORTED, "custom_text"},
    {"\"embed_dim\":768", "\"embed_dim\":512", LIMOE_CORRUPT,
     "pictures are 768 numbers and embeddings 512, without a projection"},
    {"\"approximate\":\"tanh\"", "\"approximate\":\"erf\"", LIMOE_UNSUPPORTED,
     "\"model_cfg.text_cfg.act_kwargs.approximate\" is \"erf\""},
};

static void test_refused(void **state) {
    (void)state;
    expect_refused(vit, "open_clip_config.json", vit_refused, sizeof vit_refused / sizeof *vit_refused);
    expect_refused(timm, "open_clip_config.json", timm_refused, sizeof timm_refused / sizeof *timm_refused);
}

static void test_random_damage(void **state) {
    (void)state;
    expect_damage_refused(vit, "open_clip_config.json");
    expect_damage_refused(timm, "open_clip_config.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vit),     cmocka_unit_test(test_switches),      cmocka_unit_test(test_timm),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
