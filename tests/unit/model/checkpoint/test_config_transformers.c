/* Protects: config.json of a CLIP, a SigLIP or a ChineseCLIP, or of one tower of the first two, is read as transformers reads it, or refused with a message that names the
 * field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "tests/unit/model/support.h"

static const char clip[] =
    "{\"model_type\":\"clip\",\"projection_dim\":20,\"logit_scale_init_value\":2.6592,"
    "\"vision_config\":{\"hidden_size\":32,\"intermediate_size\":72,\"num_hidden_layers\":3,"
    "\"num_attention_heads\":2,\"image_size\":30,\"patch_size\":7,\"num_channels\":3,\"hidden_act\":\"gelu\","
    "\"layer_norm_eps\":1e-4,\"attention_dropout\":0.0},"
    "\"text_config\":{\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":4,"
    "\"num_attention_heads\":3,\"vocab_size\":64,\"max_position_embeddings\":12,\"hidden_act\":\"gelu_new\"}"
    "}";

static const char siglip[] =
    "{\"model_type\":\"siglip\",\"vision_config\":{\"hidden_size\":32,\"intermediate_size\":72,"
    "\"num_attention_heads\":2,\"num_hidden_layers\":2,\"image_size\":16,\"patch_size\":4},"
    "\"text_config\":{\"hidden_size\":24,\"projection_size\":32,\"num_attention_heads\":3,\"vocab_size\":64}"
    "}";

static struct config parse(const char *json) {
    struct config c;
    struct limoe_error err;
    if (config_parse(json, strlen(json), "config.json", &c, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return c;
}

static void test_clip(void **state) {
    (void)state;
    const struct config c = parse(clip);
    const struct config_tower *image = &c.tower[LIMOE_IMAGE], *text = &c.tower[LIMOE_TEXT];
    assert_int_equal(c.format, CONFIG_CLIP);
    assert_int_equal(c.towers, 2);
    assert_int_equal(c.embed, 20);
    assert_int_equal(c.scores, CONFIG_SOFTMAX);
    assert_int_equal(image->width, 32);
    assert_int_equal(image->mlp, 72);
    assert_int_equal(image->blocks, 3);
    assert_int_equal(image->heads, 2);
    assert_int_equal(image->activation, CONFIG_GELU);
    assert_true(image->ln_eps == 1e-4f);
    assert_true(image->pre_norm && !image->causal && image->pool == CONFIG_POOL_FIRST);
    assert_int_equal(config_image_tokens(&c), 17); /* the remainder is cut off */
    assert_true(c.image.class_token && c.image.projection && !c.image.patch_bias);
    assert_int_equal(text->blocks, 4);
    assert_int_equal(text->activation, CONFIG_GELU_TANH);
    assert_true(text->ln_eps == 1e-5f);
    assert_true(text->causal && !text->pre_norm && text->pool == CONFIG_POOL_LAST);
    assert_int_equal(c.text.vocab, 64);
    assert_int_equal(c.text.length, 12);
    assert_int_equal(c.text.pad, CONFIG_IGNORE);
    assert_true(c.text.projection && !c.text.projection_bias);
    assert_int_equal(config_blocks(&c), 7);
    assert_int_equal(config_block_tower(&c, 2), LIMOE_IMAGE);
    assert_int_equal(config_block_tower(&c, 3), LIMOE_TEXT);
    assert_int_equal(c.moe.layers, 0);
}

/* What a file leaves out is what the library takes: openai/clip-vit-base-patch32 is almost empty. */
static void test_clip_defaults(void **state) {
    (void)state;
    const struct config c = parse("{\"model_type\":\"clip\",\"vision_config\":{\"dropout\":null,\"hidden_"
                                  "size\":null},\"text_config\":{}}");
    assert_int_equal(c.embed, 512);
    assert_int_equal(c.tower[LIMOE_IMAGE].width, 768);
    assert_int_equal(c.tower[LIMOE_IMAGE].mlp, 3072);
    assert_int_equal(c.tower[LIMOE_IMAGE].blocks, 12);
    assert_int_equal(c.tower[LIMOE_IMAGE].heads, 12);
    assert_int_equal(c.tower[LIMOE_IMAGE].activation, CONFIG_QUICK_GELU);
    assert_int_equal(c.image.size, 224);
    assert_int_equal(c.image.patch, 32);
    assert_int_equal(c.tower[LIMOE_TEXT].width, 512);
    assert_int_equal(c.tower[LIMOE_TEXT].mlp, 2048);
    assert_int_equal(c.tower[LIMOE_TEXT].heads, 8);
    assert_int_equal(c.text.vocab, 49408);
    assert_int_equal(c.text.length, 77);
}

static void test_siglip(void **state) {
    (void)state;
    const struct config c = parse(siglip);
    assert_int_equal(c.format, CONFIG_SIGLIP);
    assert_int_equal(c.scores, CONFIG_SIGMOID);
    assert_int_equal(c.embed, 32);
    assert_int_equal(c.tower[LIMOE_IMAGE].pool, CONFIG_POOL_ATTENTION);
    assert_int_equal(c.tower[LIMOE_IMAGE].activation, CONFIG_GELU_TANH);
    assert_true(c.tower[LIMOE_IMAGE].ln_eps == 1e-6f);
    assert_true(c.image.patch_bias && !c.image.class_token && !c.image.projection);
    assert_false(c.tower[LIMOE_TEXT].causal);
    assert_int_equal(c.tower[LIMOE_TEXT].blocks, 12);
    assert_int_equal(c.text.length, 64);
    assert_int_equal(c.text.pad, CONFIG_ATTEND);
    assert_true(c.text.projection && c.text.projection_bias);
}

static const char chinese_clip[] =
    "{\"model_type\":\"chinese_clip\",\"projection_dim\":20,"
    "\"vision_config\":{\"hidden_size\":32,\"intermediate_size\":72,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":2,\"image_size\":16,\"patch_size\":4,\"projection_dim\":512},"
    "\"text_config\":{\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":3,"
    "\"num_attention_heads\":3,\"vocab_size\":64,\"max_position_embeddings\":12,\"type_vocab_size\":2,"
    "\"position_embedding_type\":\"absolute\"}}";

static void test_chinese_clip(void **state) {
    (void)state;
    const struct config c = parse(chinese_clip);
    const struct config_tower *image = &c.tower[LIMOE_IMAGE], *text = &c.tower[LIMOE_TEXT];
    assert_int_equal(c.format, CONFIG_CHINESE_CLIP);
    assert_int_equal(c.scores, CONFIG_SOFTMAX);
    assert_int_equal(c.embed, 20);
    assert_true(image->pre_norm && !image->post_norm && image->pool == CONFIG_POOL_FIRST);
    assert_true(text->pre_norm && text->post_norm && !text->causal && text->pool == CONFIG_POOL_FIRST);
    assert_int_equal(text->activation, CONFIG_GELU);
    assert_true(text->ln_eps == 1e-12f);
    assert_int_equal(c.text.types, 2);
    assert_int_equal(c.text.pad, CONFIG_IGNORE);
    assert_true(c.text.projection && !c.text.projection_bias);
    const struct config d =
        parse("{\"model_type\":\"chinese_clip\",\"vision_config\":{},\"text_config\":{}}");
    assert_int_equal(d.text.vocab, 30522);
    assert_int_equal(d.text.length, 512);
    assert_int_equal(d.tower[LIMOE_TEXT].width, 768);
    assert_int_equal(d.embed, 512);
}

/* One tower alone: what would stand in its object stands at the top. */
static const char clip_vision[] =
    "{\"model_type\":\"clip_vision_model\",\"architectures\":[\"CLIPVisionModelWithProjection\"],"
    "\"projection_dim\":20,\"hidden_size\":32,\"intermediate_size\":72,\"num_hidden_layers\":3,"
    "\"num_attention_heads\":2,\"image_size\":16,\"patch_size\":4}";
static const char clip_text[] =
    "{\"model_type\":\"clip_text_model\",\"projection_dim\":20,\"hidden_size\":24,\"intermediate_size\":40,"
    "\"num_hidden_layers\":4,\"num_attention_heads\":3,\"vocab_size\":64,\"max_position_embeddings\":12}";

static void test_vision_alone(void **state) {
    (void)state;
    const struct config c = parse(clip_vision);
    assert_true(config_has(&c, LIMOE_IMAGE) && !config_has(&c, LIMOE_TEXT) && !config_has_scores(&c));
    assert_int_equal(c.format, CONFIG_CLIP);
    assert_int_equal(c.embed, 20);
    assert_int_equal(c.image.size, 16);
    assert_true(c.image.projection);
    assert_int_equal(config_image_tokens(&c), 17);
    assert_int_equal(config_blocks(&c), 3);
    assert_int_equal(config_block_tower(&c, 2), LIMOE_IMAGE);
    assert_int_equal(c.text.vocab, 0);
    const struct config siglip_alone = parse("{\"model_type\":\"siglip_vision_model\",\"hidden_size\":32,"
                                             "\"num_attention_heads\":2}");
    assert_true(!config_has(&siglip_alone, LIMOE_TEXT));
    assert_int_equal(siglip_alone.embed, 32);
    assert_int_equal(siglip_alone.tower[LIMOE_IMAGE].pool, CONFIG_POOL_ATTENTION);
}

static void test_text_alone(void **state) {
    (void)state;
    const struct config c = parse(clip_text);
    assert_true(config_has(&c, LIMOE_TEXT) && !config_has(&c, LIMOE_IMAGE) && !config_has_scores(&c));
    assert_int_equal(c.embed, 20);
    assert_int_equal(c.text.vocab, 64);
    assert_true(c.text.projection);
    assert_int_equal(config_image_tokens(&c), 0);
    assert_int_equal(config_blocks(&c), 4);
    assert_int_equal(config_block_tower(&c, 0), LIMOE_TEXT);
    const struct config siglip_alone = parse("{\"model_type\":\"siglip_text_model\",\"hidden_size\":32,"
                                             "\"num_attention_heads\":2,\"projection_size\":48}");
    assert_int_equal(siglip_alone.embed, 48);
    assert_true(siglip_alone.text.projection_bias && siglip_alone.text.pad == CONFIG_ATTEND);
}

/* The class that it was saved as says whether there is a projection. */
static void test_without_projection(void **state) {
    (void)state;
    char *bare = edit(clip_vision, "CLIPVisionModelWithProjection", "CLIPVisionModel");
    const struct config vision = parse(bare);
    assert_true(!vision.image.projection);
    assert_int_equal(vision.embed, 32);
    free(bare);
    bare = edit(clip_text, "{", "{\"architectures\":[\"CLIPTextModel\"],");
    const struct config text = parse(bare);
    assert_true(!text.text.projection);
    assert_int_equal(text.embed, 24);
    free(bare);
    /* of a whole model the other class says nothing, and neither does what is no list of names */
    bare = edit(clip, "{", "{\"architectures\":[\"CLIPTextModel\"],");
    assert_int_equal(parse(bare).embed, 20);
    free(bare);
    static const char *const odd[] = {"7", "\"CLIPVisionModel\"", "[]", "[7]", "{}", "null"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        bare = edit(clip_vision, "[\"CLIPVisionModelWithProjection\"]", odd[i]);
        assert_int_equal(parse(bare).embed, 20);
        free(bare);
    }
}

/* Files of before 2023 name the halves otherwise. */
static void test_older_names(void **state) {
    (void)state;
    char *half = edit(clip, "\"vision_config\"", "\"vision_config_dict\"");
    char *both = edit(half, "\"text_config\"", "\"text_config_dict\"");
    assert_int_equal(parse(both).tower[LIMOE_TEXT].width, 24);
    free(both);
    free(half);
}

static const struct refusal clip_refused[] = {
    {"\"clip\"", "\"blip\"", LIMOE_UNSUPPORTED, "\"model_type\" is \"blip\"; \"clip\""},
    {"\"clip\"", "\"siglip2\"", LIMOE_UNSUPPORTED, "\"model_type\" is \"siglip2\"; \"clip\""}, /* NaFlex */
    {"\"clip\"", "7", LIMOE_CORRUPT, "\"model_type\" is 7; "},
    {"\"model_type\":\"clip\",", "", LIMOE_CORRUPT, "transformers' \"model_type\""},
    {"\"model_type\":\"clip\"", "\"model_type\":null", LIMOE_CORRUPT, "\"format\" is missing"},
    {"\"vision_config\":{", "\"visual\":{", LIMOE_CORRUPT, "\"vision_config\" is missing; an object"},
    {"\"vision_config\":{", "\"vision_config\":null,\"x\":{", LIMOE_CORRUPT,
     "\"vision_config\" is missing; an object"},
    {"\"vision_config\":{", "\"vision_config\":[],\"x\":{", LIMOE_CORRUPT,
     "\"vision_config\" is an array; an object"},
    {"\"text_config\":{", "\"text_config\":7,\"x\":{", LIMOE_CORRUPT, "\"text_config\" is 7; an object"},
    {"\"projection_dim\":20", "\"projection_dim\":0", LIMOE_CORRUPT,
     "\"projection_dim\" is 0; an integer from 1 to 16384"},
    {"\"projection_dim\":20", "\"projection_dim\":\"20\"", LIMOE_CORRUPT, "\"projection_dim\" is \"20\""},
    {"\"hidden_size\":32", "\"hidden_size\":16385", LIMOE_CORRUPT,
     "\"vision_config.hidden_size\" is 16385; an integer from 1"},
    {"\"hidden_size\":32", "\"hidden_size\":-32", LIMOE_CORRUPT, "\"vision_config.hidden_size\" is -32"},
    {"\"hidden_size\":32", "\"hidden_size\":32.5", LIMOE_CORRUPT, "\"vision_config.hidden_size\" is 32.5"},
    {"\"hidden_size\":32", "\"hidden_size\":[32]", LIMOE_CORRUPT,
     "\"vision_config.hidden_size\" is an array"},
    {"\"hidden_size\":32", "\"hidden_size\":true", LIMOE_CORRUPT, "\"vision_config.hidden_size\" is true"},
    {"\"hidden_size\":32", "\"hidden_size\":32,\"hidden_size\":32", LIMOE_CORRUPT,
     "the key \"hidden_size\" is there twice"},
    {"\"num_attention_heads\":2", "\"num_attention_heads\":5", LIMOE_CORRUPT,
     "\"vision_config.hidden_size\" is 32; a multiple of \"num_attention_heads\" (5) is accepted"},
    {"\"num_attention_heads\":3", "\"num_attention_heads\":0", LIMOE_CORRUPT,
     "\"text_config.num_attention_heads\" is 0"},
    {"\"num_hidden_layers\":3", "\"num_hidden_layers\":257", LIMOE_CORRUPT,
     "\"vision_config.num_hidden_layers\" is 257; an integer from 1 to 256"},
    {"\"num_hidden_layers\":3", "\"num_hidden_layers\":253", LIMOE_CORRUPT,
     "the towers have 257 blocks together; at most 256"},
    {"\"intermediate_size\":72", "\"intermediate_size\":65537", LIMOE_CORRUPT,
     "\"vision_config.intermediate_size\" is 65537"},
    {"\"image_size\":30", "\"image_size\":2049", LIMOE_CORRUPT,
     "\"vision_config.image_size\" is 2049; an integer from 1 to 2048"},
    {"\"image_size\":30", "\"image_size\":[30,30]", LIMOE_CORRUPT,
     "\"vision_config.image_size\" is an array"},
    {"\"image_size\":30,\"patch_size\":7", "\"image_size\":2048,\"patch_size\":1", LIMOE_CORRUPT,
     "tokens; at most 65536"},
    {"\"patch_size\":7", "\"patch_size\":31", LIMOE_CORRUPT, "patches of 31 pixels in pictures of 30"},
    {"\"num_channels\":3", "\"num_channels\":1", LIMOE_UNSUPPORTED,
     "\"vision_config.num_channels\" is 1; 3 (red, green, blue)"},
    {"\"hidden_act\":\"gelu\"", "\"hidden_act\":\"relu\"", LIMOE_UNSUPPORTED,
     "\"vision_config.hidden_act\" is \"relu\"; \"quick_gelu\""},
    {"\"hidden_act\":\"gelu_new\"", "\"hidden_act\":1", LIMOE_CORRUPT, "\"text_config.hidden_act\" is 1; "},
    {"1e-4", "0.5", LIMOE_CORRUPT, "\"vision_config.layer_norm_eps\" is 0.5; a number from 1e-12 to 0.1"},
    {"1e-4", "\"x\"", LIMOE_CORRUPT, "\"vision_config.layer_norm_eps\" is \"x\""},
    {"\"vocab_size\":64", "\"vocab_size\":1048577", LIMOE_CORRUPT, "\"text_config.vocab_size\" is 1048577"},
    {"\"max_position_embeddings\":12", "\"max_position_embeddings\":4097", LIMOE_CORRUPT,
     "\"text_config.max_position_embeddings\" is 4097"},
};

static const struct refusal siglip_refused[] = {
    {"\"patch_size\":4", "\"patch_size\":4,\"vision_use_head\":false", LIMOE_UNSUPPORTED,
     "\"vision_config.vision_use_head\" is false; true is accepted"},
    {"\"projection_size\":32", "\"projection_size\":24", LIMOE_CORRUPT,
     "pictures are 32 numbers and embeddings 24, without a projection"},
    {"\"projection_size\":32,", "", LIMOE_CORRUPT, "pictures are 32 numbers and embeddings 24"},
    {"\"projection_size\":32", "\"projection_size\":1e9", LIMOE_CORRUPT,
     "\"text_config.projection_size\" is 1000000000"},
};

static const struct refusal chinese_clip_refused[] = {
    {"\"absolute\"", "\"relative_key\"", LIMOE_UNSUPPORTED,
     "\"text_config.position_embedding_type\" is \"relative_key\"; \"absolute\""},
    {"\"type_vocab_size\":2", "\"type_vocab_size\":0", LIMOE_CORRUPT, "\"text_config.type_vocab_size\" is 0"},
    {"\"type_vocab_size\":2", "\"hidden_act\":\"silu\"", LIMOE_UNSUPPORTED,
     "\"text_config.hidden_act\" is \"silu\""},
};

static const struct refusal clip_vision_refused[] = {
    {"clip_vision_model", "chinese_clip_vision_model", LIMOE_UNSUPPORTED,
     "\"clip_vision_model\", \"clip_text_model\", \"siglip_vision_model\" or \"siglip_text_model\""},
    {"\"num_hidden_layers\":3", "\"num_hidden_layers\":0", LIMOE_CORRUPT, "\"num_hidden_layers\" is 0; "},
    {"\"num_hidden_layers\":3", "\"num_hidden_layers\":257", LIMOE_CORRUPT, "\"num_hidden_layers\" is 257; "},
    {"\"hidden_size\":32", "\"hidden_size\":33", LIMOE_CORRUPT, "\"hidden_size\" is 33; a multiple of"},
    {"\"patch_size\":4", "\"patch_size\":17", LIMOE_CORRUPT, "patches of 17 pixels in pictures of 16"},
    {"\"clip_vision_model\"", "\"clip\"", LIMOE_CORRUPT,
     "\"vision_config\" is missing; an object is accepted"},
};

static void test_refused(void **state) {
    (void)state;
    expect_refused(chinese_clip, "config.json", chinese_clip_refused,
                   sizeof chinese_clip_refused / sizeof *chinese_clip_refused);
    expect_refused(clip_vision, "config.json", clip_vision_refused,
                   sizeof clip_vision_refused / sizeof *clip_vision_refused);
    expect_refused(clip, "config.json", clip_refused, sizeof clip_refused / sizeof *clip_refused);
    expect_refused(siglip, "config.json", siglip_refused, sizeof siglip_refused / sizeof *siglip_refused);
}

static void test_random_damage(void **state) {
    (void)state;
    expect_damage_refused(clip, "config.json");
    expect_damage_refused(siglip, "config.json");
    expect_damage_refused(chinese_clip, "config.json");
    expect_damage_refused(clip_vision, "config.json");
    expect_damage_refused(clip_text, "config.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip),        cmocka_unit_test(test_clip_defaults),
        cmocka_unit_test(test_siglip),      cmocka_unit_test(test_chinese_clip),
        cmocka_unit_test(test_older_names), cmocka_unit_test(test_vision_alone),
        cmocka_unit_test(test_text_alone),  cmocka_unit_test(test_without_projection),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
