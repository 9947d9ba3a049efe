/* Protects: what Hugging Face and OpenCLIP folders say about pictures is followed, or refused with a message
 * that names the file and the field. What comes of it on pictures is tests/preprocess/'s. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/checkpoint/preprocess_config.h"
#include "model/checkpoint/strict_json.h"
#include "tests/unit/model/support.h"

static const char clip[] =
    "{\"crop_size\":{\"height\":224,\"width\":224},\"do_center_crop\":true,"
    "\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,"
    "\"feature_extractor_type\":\"CLIPFeatureExtractor\",\"image_mean\":[0.1,0.2,0.3],"
    "\"image_std\":[0.4,0.5,0.6],\"resample\":3,\"rescale_factor\":0.00392156862745098,"
    "\"size\":{\"shortest_edge\":256}}";
static const char open_clip[] =
    "{\"model_cfg\":{\"vision_cfg\":{\"image_size\":256}},"
    "\"preprocess_cfg\":{\"mean\":[0.1,0.2,0.3],\"std\":0.5,\"interpolation\":\"bilinear\","
    "\"resize_mode\":\"longest\",\"fill_color\":7,\"mode\":\"RGB\",\"size\":[99,99]}}";

static enum limoe_status read_text(bool is_open_clip, const char *text, struct preprocess_config *config,
                                   struct limoe_error *err) {
    cJSON *root = NULL;
    enum limoe_status status = strict_json_parse(text, strlen(text), "file.json", &root, err);
    if (status == LIMOE_OK && is_open_clip)
        status = preprocess_read_open_clip(root, "file.json", config, err);
    else if (status == LIMOE_OK)
        status = preprocess_read_hugging_face(root, "file.json", "", PREPROCESS_CLIP, config, err);
    cJSON_Delete(root);
    return status;
}

static struct preprocess_config read_well(bool is_open_clip, const char *text) {
    struct preprocess_config config;
    struct limoe_error err;
    if (read_text(is_open_clip, text, &config, &err) != LIMOE_OK)
        fail_msg("%s: %s", text, err.message);
    return config;
}

static void hugging_face_is_read(void **state) {
    (void)state;
    const struct preprocess_config c = read_well(false, clip);
    assert_int_equal(c.picture.size, 224);
    assert_int_equal(c.picture.resize, LIMOE_SHORTEST);
    assert_int_equal(c.picture.width, 256);
    assert_int_equal(c.picture.filter, LIMOE_BICUBIC);
    assert_int_equal(c.picture.middle, LIMOE_MIDDLE_DOWN);
    assert_false(c.picture.drop_alpha);
    assert_memory_equal(c.picture.background, ((uint8_t[]){255, 255, 255}), 3);
    assert_memory_equal(c.picture.margin, ((uint8_t[]){0, 0, 0}), 3);
    assert_true(c.mean[0] == 0.1f && c.mean[1] == 0.2f && c.mean[2] == 0.3f);
    assert_true(c.std[0] == 0.4f && c.std[1] == 0.5f && c.std[2] == 0.6f);
}

static void open_clip_is_read(void **state) {
    (void)state;
    const struct preprocess_config c = read_well(true, open_clip);
    assert_int_equal(c.picture.size, 256);
    assert_int_equal(c.picture.resize, LIMOE_LONGEST);
    assert_int_equal(c.picture.filter, LIMOE_BILINEAR);
    assert_int_equal(c.picture.middle, LIMOE_MIDDLE_EVEN);
    assert_true(c.picture.drop_alpha);
    assert_memory_equal(c.picture.margin, ((uint8_t[]){7, 7, 7}), 3);
    assert_true(c.mean[2] == 0.3f && c.std[0] == 0.5f && c.std[2] == 0.5f);
}

static void other_factors_are_folded(void **state) {
    (void)state;
    char *text = edit(clip, "0.00392156862745098", "0.5");
    const struct preprocess_config half = read_well(false, text);
    assert_true(half.mean[0] == (float)(0.1f / 127.5) && half.std[2] == (float)(0.6f / 127.5));
    free(text);
    text = edit(clip, "\"do_rescale\":true", "\"do_rescale\":false");
    const struct preprocess_config none = read_well(false, text);
    assert_true(none.mean[1] == (float)(0.2f / 255.0) && none.std[1] == (float)(0.5f / 255.0));
    free(text);
    text = edit(clip, "\"do_normalize\":true", "\"do_normalize\":false");
    const struct preprocess_config plain = read_well(false, text);
    assert_true(plain.mean[1] == 0 && plain.std[1] == 1);
    free(text);
}

static bool is_same(const struct preprocess_config *a, const struct preprocess_config *b) {
    const struct limoe_preprocess *p = &a->picture, *q = &b->picture;
    bool same = p->size == q->size && p->resize == q->resize && p->width == q->width &&
                p->filter == q->filter && p->middle == q->middle && p->drop_alpha == q->drop_alpha &&
                memcmp(p->background, q->background, 3) == 0 && memcmp(p->margin, q->margin, 3) == 0;
    for (int c = 0; c < 3; c++)
        same = same && a->mean[c] == b->mean[c] && a->std[c] == b->std[c];
    return same;
}

/* What is said differently, and means the same. */
static void the_same_in_other_words(void **state) {
    (void)state;
    static const char *const edits[][2] = {
        {"\"do_resize\":true,", ""},
        {"\"do_rescale\":true,", ""},
        {"\"do_normalize\":true,", ""},
        {"\"do_center_crop\":true,", ""},
        {"\"resample\":3,", ""},
        {"{\"height\":224,\"width\":224}", "224"},
        {"{\"height\":224,\"width\":224}", "[224,224]"},
        {"{\"height\":224,\"width\":224}", "{\"width\":224,\"height\":224,\"longest_edge\":null}"},
        {"\"crop_size\":{\"height\":224,\"width\":224},", ""},
        {"{\"shortest_edge\":256}", "256"},
        {"{\"shortest_edge\":256}", "256,\"default_to_square\":false"},
        {"\"feature_extractor_type\":\"CLIPFeatureExtractor\",", ""},
        {"\"feature_extractor_type\":\"CLIPFeatureExtractor\"",
         "\"image_processor_type\":\"CLIPImageProcessorFast\""},
        {"CLIPFeatureExtractor\"", "XFeatureExtractor\",\"image_processor_type\":\"CLIPImageProcessor\""},
        {"CLIPFeatureExtractor", "ChineseCLIPFeatureExtractor"},
        {"{\"crop_size",
         "{\"do_pad\":null,\"pad_size\":9,\"size_divisor\":null,\"device\":\"cpu\",\"crop_size"},
        {"{\"crop_size",
         "{\"do_convert_rgb\":false,\"_valid_processor_keys\":[1],\"data_format\":\"x\",\"crop_size"},
    };
    const struct preprocess_config expected = read_well(false, clip);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char *text = edit(clip, edits[i][0], edits[i][1]);
        const struct preprocess_config found = read_well(false, text);
        if (!is_same(&found, &expected))
            fail_msg("%s is not the same", text);
        free(text);
    }
}

static void classes_differ_in_what_they_leave_out(void **state) {
    (void)state;
    const struct preprocess_config none = read_well(false, "{}");
    assert_int_equal(none.picture.size, 224);
    assert_int_equal(none.picture.resize, LIMOE_SHORTEST);
    assert_int_equal(none.picture.filter, LIMOE_BICUBIC);
    assert_true(none.mean[0] == 0.48145466f && none.std[2] == 0.27577711f);
    const struct preprocess_config siglip =
        read_well(false, "{\"image_processor_type\":\"SiglipImageProcessor\"}");
    assert_int_equal(siglip.picture.resize, LIMOE_EXACT);
    assert_int_equal(siglip.picture.filter, LIMOE_BICUBIC);
    assert_true(siglip.mean[0] == 0.5f && siglip.std[2] == 0.5f);
    const struct preprocess_config vit =
        read_well(false, "{\"image_processor_type\":\"ViTImageProcessor\",\"size\":32}");
    assert_int_equal(vit.picture.size, 32);
    assert_int_equal(vit.picture.resize, LIMOE_EXACT);
    assert_int_equal(vit.picture.filter, LIMOE_BILINEAR);
    const struct preprocess_config off = read_well(
        false,
        "{\"do_resize\":null,\"do_rescale\":false,\"do_normalize\":null,\"resample\":null,\"crop_size\":9}");
    assert_int_equal(off.picture.resize, LIMOE_UNSCALED);
    assert_int_equal(off.picture.size, 9);
    assert_int_equal(off.picture.filter, LIMOE_BILINEAR);
    assert_true(off.mean[1] == 0 && off.std[1] == (float)(1 / 255.0));
    const struct preprocess_config bare = read_well(true, "{\"model_cfg\":{\"vision_cfg\":{}}}");
    assert_int_equal(bare.picture.size, 224);
    assert_int_equal(bare.picture.resize, LIMOE_SHORTEST);
    assert_true(bare.mean[0] == 0.48145466f && bare.std[2] == 0.27577711f);
}

/* Edits of `clip`, or of `open_clip`, each refused for one reason. */
static const struct {
    bool is_open_clip;
    const char *find, *replace;
    enum limoe_status status;
    const char *message; /* a part of it */
} refused[] = {
    /* sizes */
    {false, "256", "0", LIMOE_CORRUPT,
     "file.json: \"size.shortest_edge\" is 0; an integer from 1 to 2048 is"},
    {false, "256", "2049", LIMOE_CORRUPT, "\"size.shortest_edge\" is 2049"},
    {false, "256", "1e300", LIMOE_CORRUPT, "\"size.shortest_edge\" is 1e+300"},
    {false, "256", "-1", LIMOE_CORRUPT, "\"size.shortest_edge\" is -1"},
    {false, "256", "1.5", LIMOE_CORRUPT, "\"size.shortest_edge\" is 1.5"},
    {false, "{\"shortest_edge\":256}", "0", LIMOE_CORRUPT, "\"size\" is 0; an integer from 1 to 2048"},
    {false, "{\"shortest_edge\":256}", "\"256\"", LIMOE_CORRUPT,
     "\"size\" is \"256\"; an integer, [height, width], {\"height\", \"width\"} or {\"shortest_edge\"} is"},
    {false, "{\"shortest_edge\":256}", "[256]", LIMOE_CORRUPT,
     "\"size\" is an array; an array of two integers from 1 to 2048 is accepted"},
    {false, "{\"shortest_edge\":256}", "[256,1e9]", LIMOE_CORRUPT, "\"size\" is an array; an array of two"},
    {false, "{\"shortest_edge\":256}", "{}", LIMOE_UNSUPPORTED, "\"size\" is an object; an integer, [height"},
    {false, "{\"shortest_edge\":256}", "{\"height\":256}", LIMOE_UNSUPPORTED, "\"size\" is an object"},
    {false, "{\"shortest_edge\":256}", "{\"shortest_edge\":256,\"height\":9}", LIMOE_UNSUPPORTED,
     "\"size\" is"},
    {false, "{\"shortest_edge\":256}", "{\"shortest_edge\":256,\"longest_edge\":512}", LIMOE_UNSUPPORTED,
     "\"size.longest_edge\" is 512; an integer, [height, width]"},
    {false, "{\"shortest_edge\":256}", "{\"max_pixels\":9}", LIMOE_UNSUPPORTED, "\"size.max_pixels\" is 9"},
    {false, "\"width\":224", "\"width\":225", LIMOE_UNSUPPORTED,
     "\"crop_size\" makes pictures of 224 x 225; a square is accepted"},
    {false, "{\"height\":224,\"width\":224}", "{\"shortest_edge\":224}", LIMOE_UNSUPPORTED,
     "\"crop_size\" is an object; an integer, [height, width] or {\"height\", \"width\"} is accepted"},
    {false, "\"do_center_crop\":true", "\"do_center_crop\":false", LIMOE_UNSUPPORTED,
     "\"do_center_crop\" is false; a crop, or a \"size\" of {\"height\", \"width\"}"},
    {false, "\"do_center_crop\":true", "\"do_center_crop\":null", LIMOE_UNSUPPORTED, "\"do_center_crop\" is"},

    /* words, flags, numbers */
    {false, "\"do_resize\":true", "\"do_resize\":1", LIMOE_CORRUPT, "\"do_resize\" is 1; true or false"},
    {false, "\"resample\":3", "\"resample\":6", LIMOE_CORRUPT, "\"resample\" is 6; an integer from 0 to 5"},
    {false, "\"resample\":3", "\"resample\":\"bicubic\"", LIMOE_CORRUPT, "\"resample\" is \"bicubic\""},
    {false, "0.00392156862745098", "0", LIMOE_CORRUPT,
     "\"rescale_factor\" is 0; a number from 1e-06 to 1000"},
    {false, "0.00392156862745098", "1e999", LIMOE_CORRUPT, "\"rescale_factor\" is inf"},
    {false, "[0.1,0.2,0.3]", "[0.1,0.2]", LIMOE_CORRUPT,
     "\"image_mean\" has 2 elements; 3 (red, green, blue) are accepted"},
    {false, "[0.1,0.2,0.3]", "[0.1,null,0.3]", LIMOE_CORRUPT,
     "\"image_mean[1]\" is null; a number from -10000"},
    {false, "[0.1,0.2,0.3]", "1e99", LIMOE_CORRUPT, "\"image_mean\" is 1e+99"},
    {false, "[0.4,0.5,0.6]", "[0.4,0.5,0]", LIMOE_CORRUPT,
     "\"image_std[2]\" is 0; a number from 1e-05 to 10000"},
    {false, "[0.4,0.5,0.6]", "-1", LIMOE_CORRUPT, "\"image_std\" is -1"},
    {false, "CLIPFeatureExtractor", "BlipImageProcessor", LIMOE_UNSUPPORTED,
     "\"feature_extractor_type\" is \"BlipImageProcessor\"; \"CLIPImageProcessor\", "},
    {false, "\"CLIPFeatureExtractor\"", "7", LIMOE_CORRUPT, "\"feature_extractor_type\" is 7"},
    {false, "{\"crop", "{\"image_processor_type\":\"Siglip2ImageProcessor\",\"crop", LIMOE_UNSUPPORTED,
     "\"image_processor_type\" is \"Siglip2ImageProcessor\""},
    {false, "{\"crop", "{\"do_pad\":true,\"crop", LIMOE_UNSUPPORTED, "\"do_pad\" is true; false is accepted"},
    {false, "{\"crop", "{\"use_square_size\":true,\"crop", LIMOE_UNSUPPORTED, "\"use_square_size\" is true"},
    {false, "{\"crop", "{\"do_thumbnail\":true,\"crop", LIMOE_UNSUPPORTED,
     "unknown key \"do_thumbnail\", which is true"},

    /* OpenCLIP */
    {true, "256", "2049", LIMOE_CORRUPT,
     "\"model_cfg.vision_cfg.image_size\" is 2049; an integer from 1 to 2048"},
    {true, "256", "[256]", LIMOE_CORRUPT, "\"model_cfg.vision_cfg.image_size\" is an array; an array of two"},
    {true, "256", "[256,128]", LIMOE_UNSUPPORTED,
     "\"model_cfg.vision_cfg.image_size\" makes pictures of 256 x 128; a square is accepted"},
    {true, "{\"image_size\":256}", "3", LIMOE_CORRUPT,
     "\"model_cfg.vision_cfg\" is 3; an object is accepted"},
    {true, "{\"model_cfg\"", "{\"model\"", LIMOE_CORRUPT, "\"model_cfg\" is missing; an object is accepted"},
    {true, "{\"mean\"", "7,\"x\":{\"mean\"", LIMOE_CORRUPT, "\"preprocess_cfg\" is 7; an object is accepted"},
    {true, "bilinear", "nearest", LIMOE_UNSUPPORTED,
     "\"preprocess_cfg.interpolation\" is \"nearest\"; \"bicubic\", \"bilinear\" or \"random\" is accepted"},
    {true, "longest", "pad", LIMOE_UNSUPPORTED, "\"preprocess_cfg.resize_mode\" is \"pad\"; \"shortest\""},
    {true, "\"longest\"", "1", LIMOE_CORRUPT, "\"preprocess_cfg.resize_mode\" is 1"},
    {true, "\"fill_color\":7", "\"fill_color\":256", LIMOE_CORRUPT, "\"preprocess_cfg.fill_color\" is 256"},
    {true, "RGB", "L", LIMOE_UNSUPPORTED, "\"preprocess_cfg.mode\" is \"L\"; \"RGB\" is accepted"},
    {true, "\"std\":0.5", "\"std\":0", LIMOE_CORRUPT, "\"preprocess_cfg.std\" is 0; a number from 1e-05"},
    {true, "[0.1,0.2,0.3]", "[]", LIMOE_CORRUPT,
     "\"preprocess_cfg.mean\" has 0 elements; 3 (red, green, blue) are accepted"},
};

static void what_cannot_be_followed_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct preprocess_config config;
        struct limoe_error err = {0};
        char *text = edit(refused[i].is_open_clip ? open_clip : clip, refused[i].find, refused[i].replace);
        const enum limoe_status status = read_text(refused[i].is_open_clip, text, &config, &err);
        expect_failure(text, status, &err, refused[i].status, refused[i].message);
        assert_memory_equal(err.message, "file.json: ", 11);
        free(text);
    }
}

static enum limoe_status load(const char *dir, struct preprocess_config *config,
                              char digits[FINGERPRINT_DIGITS + 1], struct limoe_error *err) {
    struct fingerprint *fingerprint = NULL;
    assert_int_equal(fingerprint_create(&fingerprint, err), LIMOE_OK);
    const enum limoe_status status =
        preprocess_load_hugging_face(dir, PREPROCESS_SIGLIP, fingerprint, config, err);
    fingerprint_digits(fingerprint, digits);
    fingerprint_free(fingerprint);
    return status;
}

/* A folder that transformers 5 has saved says it in processor_config.json, an older one beside it. */
static void a_folder_says_it_in_one_of_two_files(void **state) {
    const char *dir = *state;
    static const char older[] = "{\"size\":{\"height\":16,\"width\":16}}";
    static const char newer[] = "{\"image_processor\":{\"size\":{\"height\":8,\"width\":8}},\"x\":1}";
    static const char wrong[] = "{\"image_processor\":{\"size\":{\"height\":8,\"width\":0}}}";
    struct preprocess_config config;
    struct limoe_error err = {0};
    char digits[3][FINGERPRINT_DIGITS + 1];
    expect_failure("an empty folder", load(dir, &config, digits[0], &err), &err, LIMOE_NOT_FOUND,
                   "has no preprocessor_config.json, nor \"image_processor\" in processor_config.json");
    directory_write(dir, "preprocessor_config.json", older, sizeof older - 1);
    assert_int_equal(load(dir, &config, digits[1], &err), LIMOE_OK);
    assert_int_equal(config.picture.size, 16);
    directory_write(dir, "processor_config.json", "{\"processor_class\":\"X\"}", 23);
    assert_int_equal(load(dir, &config, digits[2], &err), LIMOE_OK);
    assert_int_equal(config.picture.size, 16);
    assert_string_equal(digits[1], digits[2]);
    directory_write(dir, "processor_config.json", newer, sizeof newer - 1);
    assert_int_equal(load(dir, &config, digits[2], &err), LIMOE_OK);
    assert_int_equal(config.picture.size, 8);
    assert_string_not_equal(digits[0], digits[1]);
    assert_string_not_equal(digits[1], digits[2]);
    directory_write(dir, "processor_config.json", wrong, sizeof wrong - 1);
    expect_failure("a field inside", load(dir, &config, digits[2], &err), &err, LIMOE_CORRUPT,
                   "processor_config.json: \"image_processor.size.width\" is 0; an integer from 1 to 2048");
    directory_write(dir, "processor_config.json", "{\"image_processor\":3}", 21);
    expect_failure("no object", load(dir, &config, digits[2], &err), &err, LIMOE_CORRUPT,
                   "processor_config.json: \"image_processor\" is 3; an object is accepted");
    directory_write(dir, "processor_config.json", "{", 1);
    expect_failure("no JSON", load(dir, &config, digits[2], &err), &err, LIMOE_CORRUPT,
                   "processor_config.json: not JSON");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hugging_face_is_read),
        cmocka_unit_test(open_clip_is_read),
        cmocka_unit_test(other_factors_are_folded),
        cmocka_unit_test(the_same_in_other_words),
        cmocka_unit_test(classes_differ_in_what_they_leave_out),
        cmocka_unit_test(what_cannot_be_followed_is_refused),
        cmocka_unit_test_setup_teardown(a_folder_says_it_in_one_of_two_files, directory_setup,
                                        directory_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
