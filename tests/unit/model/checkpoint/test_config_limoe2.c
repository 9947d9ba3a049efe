/* Protects: config.json of a limoe-2 is understood completely or refused, with a message that names the field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "tests/unit/model/support.h"

static const char towers[] =
    "{\"format\":\"limoe-2\",\"name\":\"two\",\"embed\":20,\"scores\":\"sigmoid\","
    "\"image\":{\"size\":16,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],\"resize\":\"crop\","
    "\"class_token\":true,\"patch_bias\":false,\"projection\":true,"
    "\"tower\":{\"width\":32,\"blocks\":3,\"heads\":2,\"mlp\":24,\"activation\":\"quick_gelu\",\"ln_eps\":1e-"
    "5,"
    "\"qk_norm\":true,\"pre_norm\":true,\"late_norm\":true,\"pool\":\"first\"}},"
    "\"text\":{\"vocab\":40,\"length\":6,\"eos_id\":2,\"pad_id\":0,\"projection\":true,\"projection_bias\":"
    "true,"
    "\"tower\":{\"width\":24,\"blocks\":2,\"heads\":3,\"mlp\":20,\"causal\":true,\"pool\":\"last\"}},"
    "\"moe\":{\"image\":[0,2],\"text\":[1],\"experts\":5,\"top_k\":2,\"renormalize\":true}}";

static const char vision[] =
    "{\"format\":\"limoe-2\",\"name\":\"x\",\"embed\":20,"
    "\"image\":{\"size\":16,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],"
    "\"tower\":{\"width\":32,\"blocks\":3,\"heads\":2,\"mlp\":24}},"
    "\"moe\":{\"image\":[0,2],\"experts\":5,\"top_k\":2}}";

/* One tower for both modalities, and a decoder. */
static const char captions[] =
    "{\"format\":\"limoe-2\",\"name\":\"writer\",\"embed\":20,"
    "\"tower\":{\"width\":32,\"blocks\":3,\"heads\":2,\"mlp\":24,\"activation\":\"gelu\",\"qk_norm\":true},"
    "\"image\":{\"size\":16,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":40,\"length\":6,\"eos_id\":2},"
    "\"moe\":{\"blocks\":[1],\"experts\":5,\"top_k\":2},"
    "\"decoder\":{\"width\":24,\"blocks\":4,\"heads\":3,\"mlp\":48,\"activation\":\"quick_gelu\",\"ln_eps\":"
    "1e-5,"
    "\"length\":9,\"begin_id\":0,\"end_id\":2}}";

static struct config parse(const char *json) {
    struct config c;
    struct limoe_error err;
    if (config_parse(json, strlen(json), "config.json", &c, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return c;
}

static void test_all_keys(void **state) {
    (void)state;
    const struct config c = parse(towers);
    const struct config_tower *image = &c.tower[LIMOE_IMAGE], *text = &c.tower[LIMOE_TEXT];
    assert_int_equal(c.format, CONFIG_LIMOE_2);
    assert_int_equal(c.towers, 2);
    assert_int_equal(c.scores, CONFIG_SIGMOID);
    assert_true(image->qk_norm && image->pre_norm && image->late_norm && !image->causal);
    assert_int_equal(image->pool, CONFIG_POOL_FIRST);
    assert_int_equal(image->activation, CONFIG_QUICK_GELU);
    assert_true(image->ln_eps == 1e-5f && text->ln_eps == 1e-6f);
    assert_int_equal(text->activation, CONFIG_GELU_TANH);
    assert_true(text->causal && text->pool == CONFIG_POOL_LAST);
    assert_true(c.image.class_token && !c.image.patch_bias && c.image.projection);
    assert_true(c.text.projection && c.text.projection_bias);
    assert_int_equal(config_image_tokens(&c), 17);
    /* Blocks are counted through: the text tower's first is the fourth. */
    assert_int_equal(c.moe.layers, 3);
    assert_memory_equal(c.moe.block, ((uint32_t[]){0, 2, 4}), 3 * sizeof(uint32_t));
    assert_int_equal(config_layers(&c, LIMOE_IMAGE), 2);
    assert_int_equal(config_layers(&c, LIMOE_TEXT), 1);
    assert_int_equal(config_first_layer(&c, LIMOE_TEXT), 2);
    static const bool moe[] = {true, false, true, false, true, false};
    for (uint32_t b = 0; b < 6; b++)
        assert_int_equal(config_is_moe(&c, b), moe[b]);
}

static void test_one_tower_of_experts(void **state) {
    (void)state;
    char *json = edit(towers, "\"image\":[0,2],", "");
    struct config c = parse(json);
    assert_int_equal(config_layers(&c, LIMOE_IMAGE), 0);
    assert_int_equal(config_layers(&c, LIMOE_TEXT), 1);
    assert_int_equal(config_first_layer(&c, LIMOE_TEXT), 0);
    free(json);
    json = edit(towers, "\"text\":[1],", "");
    c = parse(json);
    assert_int_equal(config_layers(&c, LIMOE_IMAGE), 2);
    assert_int_equal(config_layers(&c, LIMOE_TEXT), 0);
    free(json);
}

static void test_defaults(void **state) {
    (void)state;
    const struct config c = parse("{\"format\":\"limoe-2\",\"name\":\"d\",\"embed\":8,"
                                  "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0,0,0],\"std\":[1,1,1],"
                                  "\"tower\":{\"width\":8,\"blocks\":1,\"heads\":1,\"mlp\":8}},"
                                  "\"text\":{\"vocab\":4,\"length\":3,\"eos_id\":1,\"tower\":{\"width\":4,"
                                  "\"blocks\":1,\"heads\":1,\"mlp\":8}}}");
    assert_int_equal(c.scores, CONFIG_SOFTMAX);
    assert_true(!c.image.class_token && c.image.patch_bias && c.image.projection);
    assert_true(c.text.projection && !c.text.projection_bias);
    for (int t = 0; t < LIMOE_MODALITIES; t++) {
        const struct config_tower *tower = &c.tower[t];
        assert_true(!tower->qk_norm && !tower->causal && !tower->pre_norm && !tower->late_norm);
        assert_int_equal(tower->pool, CONFIG_POOL_MEAN);
        assert_int_equal(tower->activation, CONFIG_GELU_TANH);
    }
    assert_int_equal(c.moe.layers, 0);
}

/* One tower alone, of pictures or of texts, with experts or without. */
static void test_a_tower_alone(void **state) {
    (void)state;
    struct config c = parse(vision);
    assert_true(config_has(&c, LIMOE_IMAGE) && !config_has(&c, LIMOE_TEXT));
    assert_int_equal(config_blocks(&c), 3);
    assert_int_equal(config_layers(&c, LIMOE_IMAGE), 2);
    assert_int_equal(config_layers(&c, LIMOE_TEXT), 0);
    c = parse(
        "{\"format\":\"limoe-2\",\"name\":\"t\",\"embed\":8,\"text\":{\"vocab\":4,\"length\":3,\"eos_id\":1,"
        "\"tower\":{\"width\":4,\"blocks\":2,\"heads\":1,\"mlp\":8}},"
        "\"moe\":{\"text\":[1],\"experts\":2,\"top_k\":1}}");
    assert_true(config_has(&c, LIMOE_TEXT) && !config_has(&c, LIMOE_IMAGE));
    assert_int_equal(config_block_tower(&c, 0), LIMOE_TEXT);
    assert_int_equal(config_layers(&c, LIMOE_IMAGE), 0);
    assert_int_equal(config_layers(&c, LIMOE_TEXT), 1);
    assert_int_equal(config_first_layer(&c, LIMOE_TEXT), 0);
    assert_true(config_is_moe(&c, 1) && !config_is_moe(&c, 0));
}

static void test_a_decoder(void **state) {
    (void)state;
    const struct config c = parse(captions);
    assert_int_equal(c.towers, 1);
    assert_true(config_has_decoder(&c) && !config_has_decoder(&(struct config){0}));
    assert_memory_equal(&c.tower[LIMOE_IMAGE], &c.tower[LIMOE_TEXT], sizeof c.tower[0]);
    assert_true(c.tower[LIMOE_TEXT].qk_norm && c.tower[LIMOE_TEXT].blocks == 3);
    assert_true(config_is_moe(&c, 1) && !config_is_moe(&c, 0));
    const struct config_tower *d = &c.decoder.tower;
    assert_true(d->width == 24 && d->blocks == 4 && d->heads == 3 && d->mlp == 48);
    assert_true(d->activation == CONFIG_QUICK_GELU && d->ln_eps == 1e-5f);
    assert_true(c.decoder.length == 9 && c.decoder.begin_id == 0 && c.decoder.end_id == 2);
    /* Beside two towers, too. */
    char *json = edit(towers, "\"moe\":",
                      "\"decoder\":{\"width\":8,\"blocks\":1,\"heads\":2,\"mlp\":8,\"length\":4,"
                      "\"begin_id\":3,\"end_id\":2},\"moe\":");
    const struct config two = parse(json);
    assert_true(two.towers == 2 && config_has_decoder(&two));
    assert_int_equal(two.decoder.tower.activation, CONFIG_GELU_TANH);
    free(json);
}

static const struct refusal captions_refused[] = {
    {"\"heads\":3,\"mlp\":48", "\"heads\":5,\"mlp\":48", LIMOE_CORRUPT,
     "\"decoder.width\" is 24; a multiple of \"decoder.heads\" (5)"},
    {"\"blocks\":4", "\"blocks\":0", LIMOE_CORRUPT, "\"decoder.blocks\" is 0; an integer from 1 to 256"},
    {"\"length\":9", "\"length\":257", LIMOE_CORRUPT, "\"decoder.length\" is 257; an integer from 1 to 256"},
    {"\"length\":9,", "", LIMOE_CORRUPT, "\"decoder.length\" is missing"},
    {"\"begin_id\":0,", "", LIMOE_CORRUPT, "\"decoder.begin_id\" is missing; an integer from 0 to 39"},
    {"\"begin_id\":0", "\"begin_id\":40", LIMOE_CORRUPT,
     "\"decoder.begin_id\" is 40; an integer from 0 to 39"},
    {"\"begin_id\":0", "\"begin_id\":2", LIMOE_CORRUPT,
     "\"decoder.end_id\" is 2, which \"decoder.begin_id\" is too"},
    {"\"begin_id\":0", "\"begin_id\":null", LIMOE_CORRUPT, "\"decoder.begin_id\" is null"},
    {"\"end_id\":2", "\"end_id\":2,\"vocab\":40", LIMOE_CORRUPT, "unknown key \"vocab\" in \"decoder\""},
    {"\"end_id\":2", "\"end_id\":2,\"qk_norm\":false", LIMOE_CORRUPT,
     "unknown key \"qk_norm\" in \"decoder\""},
    {"\"decoder\":{", "\"decoder\":7,\"decodeR\":{", LIMOE_CORRUPT, "unknown key \"decodeR\""},
    {"\"quick_gelu\"", "\"relu\"", LIMOE_UNSUPPORTED, "\"decoder.activation\" is \"relu\"; \"gelu_tanh\""},
    {"\"vocab\":40,\"length\":6,\"eos_id\":2", "\"vocab\":2,\"length\":6,\"eos_id\":1", LIMOE_CORRUPT,
     "\"text.vocab\" is 2; 3 or more are accepted with \"decoder\""},
    {"\"embed\":20", "\"embed\":20,\"width\":32", LIMOE_CORRUPT, "unknown key \"width\""},
    {"\"qk_norm\":true", "\"causal\":true", LIMOE_CORRUPT, "unknown key \"causal\" in \"tower\""},
    {"\"image\":{", "\"image\":{\"tower\":{},", LIMOE_CORRUPT, "unknown key \"tower\" in \"image\""},
    {"\"blocks\":[1]", "\"image\":[1]", LIMOE_CORRUPT, "unknown key \"image\" in \"moe\""},
    {"\"top_k\":2", "\"top_k\":2,\"capacity\":1", LIMOE_CORRUPT, "unknown key \"capacity\" in \"moe\""},
    {"\"limoe-2\"", "\"limoe-1\"", LIMOE_CORRUPT, "unknown key \"tower\""},
};

static const struct refusal vision_refused[] = {
    {"\"embed\":20", "\"embed\":20,\"decoder\":{}", LIMOE_CORRUPT,
     "\"decoder\" writes texts about pictures, and \"text\" is missing"},
    {"\"image\":[0,2]", "\"image\":[0,2],\"text\":[0]", LIMOE_CORRUPT,
     "\"moe.text\" is there, and \"text\" is not"},
    {"\"embed\":20", "\"embed\":20,\"scores\":\"softmax\"", LIMOE_CORRUPT,
     "\"scores\" are of pictures by texts"},
    {"\"embed\":20", "\"embed\":20,\"text\":null", LIMOE_CORRUPT, "\"text\" is null; an object is accepted"},
};

static const struct refusal refused[] = {
    {"\"image\":{\"size\"", "\"imagE\":{\"size\"", LIMOE_CORRUPT, "unknown key \"imagE\""},
    {"\"embed\":20", "\"embed\":20,\"width\":8", LIMOE_CORRUPT, "unknown key \"width\""},
    {"\"embed\":20,", "", LIMOE_CORRUPT, "\"embed\" is missing; an integer from 1 to 16384"},
    {"\"name\":\"two\",", "", LIMOE_CORRUPT, "\"name\" is missing"},
    {"\"sigmoid\"", "\"tanh\"", LIMOE_UNSUPPORTED, "\"scores\" is \"tanh\"; \"softmax\" or \"sigmoid\""},
    {"\"sigmoid\"", "null", LIMOE_CORRUPT, "\"scores\" is null"},
    {"\"image\":{\"size\"", "\"image\":[],\"x\":{\"size\"", LIMOE_CORRUPT, "unknown key \"x\""},
    {"\"tower\":{\"width\":32", "\"towre\":{\"width\":32", LIMOE_CORRUPT,
     "unknown key \"towre\" in \"image\""},
    {"\"projection\":true,\"tower\":{", "\"projection\":true,\"tower\":7,\"toweR\":{", LIMOE_CORRUPT,
     "unknown key \"toweR\""},
    {"\"patch\":4", "\"patch\":5", LIMOE_CORRUPT, "\"image.size\" is 16; a multiple of \"image.patch\" (5)"},
    {"\"class_token\":true", "\"class_token\":1", LIMOE_CORRUPT, "\"image.class_token\" is 1; true or false"},
    {"\"class_token\":true,", "", LIMOE_CORRUPT,
     "pictures are pooled by a class token, which they do not have"},
    {"\"projection\":true,\"tower\":{\"width\":32", "\"projection\":false,\"tower\":{\"width\":32",
     LIMOE_CORRUPT, "pictures are 32 numbers and embeddings 20, without a projection"},
    {"\"projection\":true,\"projection_bias\":true", "\"projection\":false", LIMOE_CORRUPT,
     "texts are 24 numbers and embeddings 20, without a projection"},
    {"\"heads\":2", "\"heads\":5", LIMOE_CORRUPT,
     "\"image.tower.width\" is 32; a multiple of \"image.tower.heads\" (5)"},
    {"\"heads\":3", "\"heads\":7", LIMOE_CORRUPT,
     "\"text.tower.width\" is 24; a multiple of \"text.tower.heads\" (7)"},
    {"\"blocks\":3", "\"blocks\":255", LIMOE_CORRUPT, "the towers have 257 blocks together; at most 256"},
    {"\"blocks\":3", "\"blocks\":0", LIMOE_CORRUPT, "\"image.tower.blocks\" is 0; an integer from 1 to 256"},
    {"\"mlp\":20", "\"mlp\":65537", LIMOE_CORRUPT, "\"text.tower.mlp\" is 65537"},
    {"\"qk_norm\":true", "\"qk_norm\":\"yes\"", LIMOE_CORRUPT,
     "\"image.tower.qk_norm\" is \"yes\"; true or false"},
    {"\"qk_norm\":true", "\"qknorm\":true", LIMOE_CORRUPT, "unknown key \"qknorm\" in \"image.tower\""},
    {"\"pool\":\"first\"", "\"pool\":\"cls\"", LIMOE_UNSUPPORTED,
     "\"image.tower.pool\" is \"cls\"; \"mean\""},
    {"\"pool\":\"first\"", "\"pool\":\"last\"", LIMOE_UNSUPPORTED, "pictures are read as texts are"},
    {"\"late_norm\":true", "\"causal\":true", LIMOE_UNSUPPORTED, "pictures are read as texts are"},
    {"\"pool\":\"last\"", "\"pool\":\"attention\"", LIMOE_UNSUPPORTED, "texts are pooled as pictures are"},
    {"\"eos_id\":2", "\"eos_id\":40", LIMOE_CORRUPT, "\"text.eos_id\" is 40; an integer from 0 to 39"},
    {"\"image\":[0,2]", "\"image\":[0,3]", LIMOE_CORRUPT, "\"moe.image[1]\" is 3; an integer from 0 to 2"},
    {"\"image\":[0,2]", "\"image\":[2,0]", LIMOE_CORRUPT, "\"moe.image[1]\" is 0 after 2; ascending"},
    {"\"image\":[0,2]", "\"image\":[]", LIMOE_CORRUPT, "\"moe.image\" has 0 elements; 1 to 3"},
    {"\"text\":[1]", "\"text\":[0,1,2]", LIMOE_CORRUPT, "\"moe.text\" has 3 elements; 1 to 2"},
    {"\"text\":[1]", "\"text\":1", LIMOE_CORRUPT, "\"moe.text\" is 1; an array of block indices"},
    {"\"image\":[0,2],\"text\":[1],", "", LIMOE_CORRUPT,
     "\"moe.image\" is missing; an array of block indices"},
    {"\"image\":[0,2]", "\"blocks\":[0,2]", LIMOE_CORRUPT, "unknown key \"blocks\" in \"moe\""},
    {"\"experts\":5,\"top_k\":2", "\"experts\":5,\"top_k\":6", LIMOE_CORRUPT,
     "\"moe.top_k\" is 6; an integer from 1 to 5"},
    {"\"top_k\":2", "\"top_k\":2,\"capacity\":1", LIMOE_CORRUPT, "unknown key \"capacity\" in \"moe\""},
};

static void test_refused(void **state) {
    (void)state;
    struct config c;
    struct limoe_error err;
    expect_refused(towers, "config.json", refused, sizeof refused / sizeof *refused);
    expect_refused(captions, "config.json", captions_refused,
                   sizeof captions_refused / sizeof *captions_refused);
    expect_refused(vision, "config.json", vision_refused, sizeof vision_refused / sizeof *vision_refused);
    static const char neither[] = "{\"format\":\"limoe-2\",\"name\":\"x\",\"embed\":20}";
    expect_failure("neither", config_parse(neither, strlen(neither), "config.json", &c, &err), &err,
                   LIMOE_CORRUPT, "neither \"image\" nor \"text\" is there; one or both are accepted");
}

static void test_random_damage(void **state) {
    (void)state;
    expect_damage_refused(towers, "config.json");
    expect_damage_refused(vision, "config.json");
    expect_damage_refused(captions, "config.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_keys),      cmocka_unit_test(test_one_tower_of_experts),
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_a_tower_alone),
        cmocka_unit_test(test_a_decoder),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
