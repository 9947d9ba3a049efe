/* Protects: config.json is understood completely or refused, with a message that names the field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "tests/unit/model/support.h"

static void test_all_keys(void **state) {
    (void)state;
    static const char json[] =
        "{\"format\":\"limoe-1\",\"name\":\"A.b_c-9\",\"width\":24,\"blocks\":4,\"heads\":2,\"mlp\":7,"
        "\"embed\":5,"
        "\"activation\":\"quick_gelu\",\"ln_eps\":1e-5,\"qk_norm\":true,\"pool\":\"mean\","
        "\"image\":{\"size\":12,\"patch\":4,\"mean\":[0.1,0.2,0.3],\"std\":[0.4,0.5,0.6],\"resize\":\"crop\","
        "\"background\":[1,2,3]},"
        "\"text\":{\"vocab\":9,\"length\":3,\"eos_id\":8,\"pad_id\":7,\"pad\":\"attend\"},"
        "\"moe\":{\"blocks\":[0,3],\"experts\":6,\"top_k\":6,\"renormalize\":true,\"capacity\":1.25,"
        "\"group\":16,"
        "\"priority\":true}}";
    struct config c;
    struct limoe_error err;
    if (config_parse(json, sizeof json - 1, "config.json", &c, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    assert_string_equal(c.name, "A.b_c-9");
    assert_int_equal(c.tower[0].width, 24);
    assert_int_equal(c.tower[0].blocks, 4);
    assert_int_equal(c.tower[0].heads, 2);
    assert_int_equal(c.tower[0].mlp, 7);
    assert_int_equal(c.embed, 5);
    assert_int_equal(c.tower[0].activation, CONFIG_QUICK_GELU);
    assert_true(c.tower[0].ln_eps == 1e-5f);
    assert_true(c.tower[0].qk_norm);
    assert_int_equal(c.image.size, 12);
    assert_int_equal(c.image.patch, 4);
    assert_int_equal(config_image_tokens(&c), 9);
    assert_true(c.image.mean[0] == 0.1f && c.image.mean[1] == 0.2f && c.image.mean[2] == 0.3f);
    assert_true(c.image.std[0] == 0.4f && c.image.std[1] == 0.5f && c.image.std[2] == 0.6f);
    assert_int_equal(c.image.picture.resize, LIMOE_CROP);
    assert_memory_equal(c.image.picture.background, ((uint8_t[]){1, 2, 3}), 3);
    assert_int_equal(c.text.vocab, 9);
    assert_int_equal(c.text.length, 3);
    assert_int_equal(c.text.eos_id, 8);
    assert_int_equal(c.text.pad_id, 7);
    assert_int_equal(c.text.pad, CONFIG_ATTEND);
    assert_int_equal(c.moe.layers, 2);
    assert_int_equal(c.moe.experts, 6);
    assert_int_equal(c.moe.top_k, 6);
    assert_true(c.moe.renormalize && c.moe.priority);
    assert_true(c.moe.capacity == 1.25f);
    assert_int_equal(c.moe.group, 16);
    static const bool moe[] = {true, false, false, true, false};
    for (uint32_t b = 0; b < 5; b++)
        assert_int_equal(config_is_moe(&c, b), moe[b]);
}

static void test_defaults(void **state) {
    (void)state;
    static const char json[] = "{\"format\":\"limoe-1\",\"name\":\"dense\",\"width\":8,\"blocks\":1,"
                               "\"heads\":1,\"mlp\":8,\"embed\":8,"
                               "\"image\":{\"size\":8,\"patch\":8,\"mean\":[0,0,0],\"std\":[1,1,1]},"
                               "\"text\":{\"vocab\":2,\"length\":1,\"eos_id\":1}} \n\t";
    struct config c;
    struct limoe_error err;
    if (config_parse(json, sizeof json - 1, "config.json", &c, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(c.tower[0].activation, CONFIG_GELU_TANH);
    assert_true(c.tower[0].ln_eps == 1e-6f);
    assert_false(c.tower[0].qk_norm);
    assert_int_equal(c.image.picture.resize, LIMOE_PAD);
    assert_memory_equal(c.image.picture.background, ((uint8_t[]){255, 255, 255}), 3);
    assert_int_equal(c.text.pad, CONFIG_IGNORE);
    assert_int_equal(c.text.pad_id, 0);
    assert_int_equal(c.moe.layers, 0);
    assert_int_equal(c.moe.experts, 0);
    assert_int_equal(c.moe.top_k, 0);
    assert_true(c.moe.capacity == 0);
    assert_false(config_is_moe(&c, 0));
}

/* Edits of tiny_config, each refused for one reason. */
static const struct {
    const char *find, *replace;
    enum limoe_status status;
    const char *message; /* a part of it */
} refused[] = {
    /* the format */
    {"\"format\":\"limoe-1\",", "", LIMOE_CORRUPT,
     "\"format\" is missing; \"limoe-1\" or \"limoe-2\" is accepted"},
    {"limoe-1", "limoe-9", LIMOE_UNSUPPORTED,
     "\"format\" is \"limoe-9\"; \"limoe-1\" or \"limoe-2\" is accepted"},
    {"\"limoe-1\"", "1", LIMOE_CORRUPT, "\"format\" is 1; \"limoe-1\" or \"limoe-2\" is accepted"},

    /* the name */
    {"\"tiny\"", "7", LIMOE_CORRUPT, "\"name\" is 7; "},
    {"\"tiny\"", "\"\"", LIMOE_CORRUPT, "\"name\" is \"\"; 1 to 127 letters, digits"},
    {"\"tiny\"", "\"../x\"", LIMOE_CORRUPT, "\"name\" is \"../x\""},
    {"\"tiny\"", "\".x\"", LIMOE_CORRUPT, "not starting with '.'"},
    {"\"tiny\"", "\"-x\"", LIMOE_CORRUPT, "\"name\" is \"-x\""},
    {"\"tiny\"", "\"a b\"", LIMOE_CORRUPT, "\"name\" is \"a b\""},
    {"\"tiny\"", "\"caf\xC3\xA9\"", LIMOE_CORRUPT, "\"name\" is \"caf\xC3\xA9\""},
    {"\"tiny\"", "\"a\\nb\"", LIMOE_CORRUPT, "\"name\" is \"a?b\""},

    /* integers */
    {"\"width\":12", "\"width\":0", LIMOE_CORRUPT, "\"width\" is 0; an integer from 1 to 16384 is accepted"},
    {"\"width\":12", "\"width\":-12", LIMOE_CORRUPT, "\"width\" is -12"},
    {"\"width\":12", "\"width\":16385", LIMOE_CORRUPT, "\"width\" is 16385"},
    {"\"width\":12", "\"width\":12.5", LIMOE_CORRUPT, "\"width\" is 12.5"},
    {"\"width\":12", "\"width\":1e300", LIMOE_CORRUPT, "\"width\" is 1e+300"},
    {"\"width\":12", "\"width\":1e999", LIMOE_CORRUPT, "\"width\" is inf"},
    {"\"width\":12", "\"width\":\"12\"", LIMOE_CORRUPT, "\"width\" is \"12\""},
    {"\"width\":12", "\"width\":null", LIMOE_CORRUPT, "\"width\" is null"},
    {"\"width\":12", "\"width\":true", LIMOE_CORRUPT, "\"width\" is true"},
    {"\"width\":12", "\"width\":[12]", LIMOE_CORRUPT, "\"width\" is an array"},
    {"\"width\":12", "\"width\":{}", LIMOE_CORRUPT, "\"width\" is an object"},
    {"\"width\":12,", "", LIMOE_CORRUPT, "\"width\" is missing; an integer from 1 to 16384 is accepted"},
    {"\"blocks\":3", "\"blocks\":257", LIMOE_CORRUPT, "\"blocks\" is 257; an integer from 1 to 256"},
    {"\"heads\":3", "\"heads\":13", LIMOE_CORRUPT, "\"heads\" is 13; an integer from 1 to 12"},
    {"\"heads\":3", "\"heads\":5", LIMOE_CORRUPT, "\"width\" is 12; a multiple of \"heads\" (5)"},
    {"\"mlp\":20", "\"mlp\":65537", LIMOE_CORRUPT, "\"mlp\" is 65537; an integer from 1 to 65536"},
    {"\"embed\":8", "\"embed\":16385", LIMOE_CORRUPT, "\"embed\" is 16385; an integer from 1 to 16384"},

    /* words, numbers, switches */
    {"gelu_tanh", "relu", LIMOE_UNSUPPORTED,
     "\"activation\" is \"relu\"; \"gelu_tanh\", \"gelu\" or \"quick_gelu\" is accepted"},
    {"\"gelu_tanh\"", "false", LIMOE_CORRUPT, "\"activation\" is false"},
    {"\"mean\",\"image\"", "\"cls\",\"image\"", LIMOE_UNSUPPORTED,
     "\"pool\" is \"cls\"; \"mean\" is accepted"},
    {"1e-6", "0", LIMOE_CORRUPT, "\"ln_eps\" is 0; a number from 1e-12 to 0.1"},
    {"1e-6", "1", LIMOE_CORRUPT, "\"ln_eps\" is 1; "},
    {"1e-6", "\"x\"", LIMOE_CORRUPT, "\"ln_eps\" is \"x\""},
    {"\"qk_norm\":false", "\"qk_norm\":0", LIMOE_CORRUPT, "\"qk_norm\" is 0; true or false is accepted"},

    /* image */
    {"\"image\":{", "\"image\":1,\"x\":{", LIMOE_CORRUPT, "unknown key \"x\""},
    {"\"size\":8", "\"size\":2049", LIMOE_CORRUPT, "\"image.size\" is 2049; an integer from 1 to 2048"},
    {"\"patch\":4", "\"patch\":9", LIMOE_CORRUPT, "\"image.patch\" is 9; an integer from 1 to 8"},
    {"\"patch\":4", "\"patch\":3", LIMOE_CORRUPT, "\"image.size\" is 8; a multiple of \"image.patch\" (3)"},
    {"\"size\":8,\"patch\":4", "\"size\":512,\"patch\":1", LIMOE_CORRUPT,
     "\"image.size\" 512 and \"image.patch\" 1 make 262144 tokens; at most 65536"},
    {"\"mean\":[0.5,0.5,0.5]", "\"mean\":0.5", LIMOE_CORRUPT,
     "\"image.mean\" is 0.5; an array of 3 (red, green, blue) is accepted"},
    {"\"mean\":[0.5,0.5,0.5]", "\"mean\":[0.5,0.5]", LIMOE_CORRUPT, "\"image.mean\" has 2 elements; 3 "},
    {"\"mean\":[0.5,0.5,0.5]", "\"mean\":[0.5,null,0.5]", LIMOE_CORRUPT, "\"image.mean[1]\" is null"},
    {"\"std\":[0.5,0.5,0.5]", "\"std\":[0.5,0.5,0]", LIMOE_CORRUPT,
     "\"image.std[2]\" is 0; a number from 0.001"},
    {"\"std\":[0.5,0.5,0.5]", "\"std\":[-1,0.5,0.5]", LIMOE_CORRUPT, "\"image.std[0]\" is -1"},
    {",\"std\":[0.5,0.5,0.5]", "", LIMOE_CORRUPT, "\"image.std\" is missing"},
    {"\"pad\",\"background\"", "\"stretch\",\"background\"", LIMOE_UNSUPPORTED,
     "\"image.resize\" is \"stretch\"; \"pad\", \"squash\" or \"crop\" is accepted"},
    {"[255,255,255]", "[255,256,255]", LIMOE_CORRUPT,
     "\"image.background[1]\" is 256; an integer from 0 to 255"},
    {"[255,255,255]", "[255,255,0.5]", LIMOE_CORRUPT, "\"image.background[2]\" is 0.5"},
    {"[255,255,255]", "\"white\"", LIMOE_CORRUPT, "\"image.background\" is \"white\""},
    {"\"size\":8", "\"size\":8,\"sise\":8", LIMOE_CORRUPT, "unknown key \"sise\" in \"image\""},

    /* text */
    {"\"vocab\":40", "\"vocab\":1048577", LIMOE_CORRUPT,
     "\"text.vocab\" is 1048577; an integer from 1 to 1048576"},
    {"\"length\":6", "\"length\":4097", LIMOE_CORRUPT, "\"text.length\" is 4097; an integer from 1 to 4096"},
    {"\"eos_id\":2", "\"eos_id\":40", LIMOE_CORRUPT, "\"text.eos_id\" is 40; an integer from 0 to 39"},
    {"\"eos_id\":2,", "", LIMOE_CORRUPT, "\"text.eos_id\" is missing"},
    {"\"pad_id\":0", "\"pad_id\":40", LIMOE_CORRUPT, "\"text.pad_id\" is 40; an integer from 0 to 39"},
    {"\"pad_id\":0,\"pad\":\"ignore\"", "\"pad\":\"attend\"", LIMOE_CORRUPT, "\"text.pad_id\" is missing"},
    {"\"ignore\"", "\"drop\"", LIMOE_UNSUPPORTED,
     "\"text.pad\" is \"drop\"; \"ignore\" or \"attend\" is accepted"},
    {"\"vocab\":40", "\"vocab\":40,\"bos_id\":1", LIMOE_CORRUPT, "unknown key \"bos_id\" in \"text\""},
    {"\"text\":{", "\"text\":[],\"moe\":{", LIMOE_CORRUPT, "the key \"moe\" is there twice"},

    /* moe */
    {"\"blocks\":[1]", "\"blocks\":[]", LIMOE_CORRUPT, "\"moe.blocks\" has 0 elements; 1 to 3 are accepted"},
    {"\"blocks\":[1]", "\"blocks\":[0,1,2,3]", LIMOE_CORRUPT, "\"moe.blocks\" has 4 elements"},
    {"\"blocks\":[1]", "\"blocks\":1", LIMOE_CORRUPT, "\"moe.blocks\" is 1; an array of block indices"},
    {"\"blocks\":[1]", "\"blocks\":[3]", LIMOE_CORRUPT, "\"moe.blocks[0]\" is 3; an integer from 0 to 2"},
    {"\"blocks\":[1]", "\"blocks\":[1,1]", LIMOE_CORRUPT, "\"moe.blocks[1]\" is 1 after 1; ascending"},
    {"\"blocks\":[1]", "\"blocks\":[2,0]", LIMOE_CORRUPT, "\"moe.blocks[1]\" is 0 after 2; ascending"},
    {"\"experts\":5", "\"experts\":3.5", LIMOE_CORRUPT,
     "\"moe.experts\" is 3.5; an integer from 1 to 1024 is accepted"},
    {"\"experts\":5", "\"experts\":1025", LIMOE_CORRUPT, "\"moe.experts\" is 1025"},
    {"\"top_k\":2", "\"top_k\":6", LIMOE_CORRUPT, "\"moe.top_k\" is 6; an integer from 1 to 5"},
    {"\"experts\":5,\"top_k\":2", "\"experts\":64,\"top_k\":17", LIMOE_CORRUPT,
     "\"moe.top_k\" is 17; an integer from 1 to 16"},
    {"\"top_k\":2", "\"top_k\":0", LIMOE_CORRUPT, "\"moe.top_k\" is 0"},
    {"\"renormalize\":false", "\"renormalise\":false", LIMOE_CORRUPT,
     "unknown key \"renormalise\" in \"moe\""},
    {"\"top_k\":2", "\"top_k\":2,\"capacity\":0", LIMOE_CORRUPT,
     "\"moe.capacity\" is 0; a number from 0.001 to 64"},
    {"\"top_k\":2", "\"top_k\":2,\"capacity\":1,\"group\":0", LIMOE_CORRUPT,
     "\"moe.group\" is 0; an integer from 1"},
    {"\"top_k\":2", "\"top_k\":2,\"group\":8", LIMOE_CORRUPT,
     "\"moe.group\" is accepted only beside \"moe.capacity\""},
    {"\"top_k\":2", "\"top_k\":2,\"priority\":true", LIMOE_CORRUPT,
     "\"moe.priority\" is accepted only beside \"moe.capacity\""},
    {"\"moe\":{", "\"moe\":null,\"mlq\":{", LIMOE_CORRUPT, "unknown key \"mlq\""},

    /* arrays, whose elements have no keys, where objects are due */
    {"\"moe\":{", "\"moe\":[7],\"mlq\":{", LIMOE_CORRUPT, "unknown key \"mlq\""},
    {"\"text\":{", "\"text\":[[1],{}],\"texts\":{", LIMOE_CORRUPT, "unknown key \"texts\""},
    {"\"image\":{", "\"image\":[\"size\"],\"images\":{", LIMOE_CORRUPT, "unknown key \"images\""},

    /* JSON itself */
    {"\"width\":12", "\"width\":12,\"width\":12", LIMOE_CORRUPT, "the key \"width\" is there twice"},
    {"\"vocab\":40", "\"vocab\":40,\"\\u0076ocab\":40", LIMOE_CORRUPT, "the key \"vocab\" is there twice"},
    {"\"tiny\"", "\"ti\\u0000ny\"", LIMOE_CORRUPT, "\\u0000 inside a string at byte 30"},
    {"\"tiny\"", "\"ti\xFFny\"", LIMOE_CORRUPT, "not UTF-8 at byte 30"},
    {"\"tiny\"", "\"ti\xED\xA0\x80ny\"", LIMOE_CORRUPT, "not UTF-8 at byte 30"},
    {"\"tiny\"", "\"ti\nny\"", LIMOE_CORRUPT, "a control character inside a string at byte 30"},
    {"\"tiny\"", "\"\\ud800\"", LIMOE_CORRUPT, "not JSON at byte"},
    {"\"tiny\"", "\v\"tiny\"", LIMOE_CORRUPT, "a control character"},
    {"\"tiny\",", "\"tiny\" ", LIMOE_CORRUPT, "not JSON at byte"},
    {"{\"format\"", "[{\"format\"", LIMOE_CORRUPT, "not JSON at byte"},
    {"}}", "}", LIMOE_CORRUPT, "not JSON at byte"},
    {"}}", "}} x", LIMOE_CORRUPT, "not JSON at byte"},
    {"}}", "}}{}", LIMOE_CORRUPT, "not JSON at byte"},
    {"}}", "},\"open", LIMOE_CORRUPT, "a string is not closed"},
    {"\"width\":12", "\"width\":[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", LIMOE_TOO_LARGE,
     "nested deeper than 16"},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char *json = edit(tiny_config, refused[i].find, refused[i].replace);
        struct config c;
        struct limoe_error err = {0};
        enum limoe_status status = config_parse(json, strlen(json), "config.json", &c, &err);
        expect_failure(refused[i].replace, status, &err, refused[i].status, refused[i].message);
        if (strncmp(err.message, "config.json: ", 13) != 0)
            fail_msg("\"%s\" does not begin with the file's name", err.message);
        assert_int_equal(config_parse(json, strlen(json), "config.json", &c, NULL), status);
        free(json);
    }
}

static void test_not_an_object(void **state) {
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "not JSON at byte 0 of 0"},
        {"   ", "not JSON at byte"},
        {"[]", "is an array; an object is accepted"},
        {"1", "is 1; an object"},
        {"\"x\"", "is \"x\"; an object"},
        {"nul", "not JSON at byte"},
        {"{\"format\":\"limoe-1\",\"name\":\"a\",\"width\":8,\"blocks\":1,\"heads\":1,\"mlp\":8,\"embed\":8,"
         "\"image\":[1,2]}",
         "\"image\" is an array; an object is accepted"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c;
        struct limoe_error err = {0};
        enum limoe_status status =
            config_parse(cases[i].json, strlen(cases[i].json), "config.json", &c, &err);
        expect_failure(cases[i].json, status, &err, LIMOE_CORRUPT, cases[i].message);
    }
}

/* The text ends where its size says, not at a NUL; a raw NUL is refused. */
static void test_nul(void **state) {
    (void)state;
    struct config c;
    struct limoe_error err = {0};
    enum limoe_status status = config_parse(tiny_config, strlen(tiny_config) + 1, "config.json", &c, &err);
    expect_failure("a NUL at the end", status, &err, LIMOE_CORRUPT, "a control character");
}

/* However a file is cut or its bits are flipped: a config that passed every check, or a message. ASan
 * watches. */
static void test_random_damage(void **state) {
    (void)state;
    size_t size = strlen(tiny_config), accepted = 0;
    uint64_t random = 1;
    for (size_t cut = 0; cut < size; cut++) {
        char *json = malloc(cut + 1);
        struct config c;
        struct limoe_error err = {0};
        memcpy(json, tiny_config, cut);
        assert_int_not_equal(config_parse(json, cut, "config.json", &c, &err), LIMOE_OK);
        assert_true(strlen(err.message) > strlen("config.json: "));
        free(json);
    }
    for (int round = 0; round < 4000; round++) {
        char *json = malloc(size);
        struct config c;
        struct limoe_error err = {0};
        memcpy(json, tiny_config, size);
        for (uint32_t flips = 1 + random_below(&random, 3); flips > 0; flips--)
            json[random_below(&random, (uint32_t)size)] ^= (char)(1 << random_below(&random, 8));
        enum limoe_status status = config_parse(json, size, "config.json", &c, &err);
        if (status == LIMOE_OK) {
            accepted++;
            assert_int_equal(c.tower[0].width % c.tower[0].heads, 0);
            assert_int_equal(c.image.size % c.image.patch, 0);
            assert_in_range(c.moe.top_k, c.moe.layers > 0, c.moe.experts);
        } else {
            assert_true(strlen(err.message) > strlen("config.json: "));
        }
        free(json);
    }
    assert_in_range(accepted, 1, 2000); /* damage shows, but a digit may turn into another */
}

static void test_load(void **state) {
    const char *dir = *state;
    struct config c;
    struct limoe_error err = {0};
    expect_failure("no file", config_load(dir, &c, NULL, &err), &err, LIMOE_NOT_FOUND,
                   "/config.json: No such file");
    expect_failure("no directory", config_load("/nowhere/at/all", &c, NULL, &err), &err, LIMOE_NOT_FOUND,
                   "/nowhere/at/all/config.json");
    directory_write(dir, "config.json", tiny_config, strlen(tiny_config));
    assert_int_equal(config_load(dir, &c, NULL, &err), LIMOE_OK);
    assert_string_equal(c.name, "tiny");
}

static void test_load_special_files(void **state) {
    const char *dir = *state;
    struct config c;
    struct limoe_error err = {0};
    char path[4200];
    snprintf(path, sizeof path, "%s/config.json", dir);

    assert_int_equal(mkfifo(path, 0600), 0); /* must not be waited for */
    expect_failure("a FIFO", config_load(dir, &c, NULL, &err), &err, LIMOE_IO, "is not a regular file");
    assert_int_equal(unlink(path), 0);

    assert_int_equal(mkdir(path, 0700), 0);
    expect_failure("a directory", config_load(dir, &c, NULL, &err), &err, LIMOE_IO, "is not a regular file");
    assert_int_equal(rmdir(path), 0);

    assert_int_equal(symlink("real.json", path), 0);
    directory_write(dir, "real.json", tiny_config, strlen(tiny_config));
    assert_int_equal(config_load(dir, &c, NULL, &err), LIMOE_OK);
    assert_int_equal(unlink(path), 0);

    directory_write(dir, "config.json", tiny_config, 1);
    assert_int_equal(truncate(path, (1 << 20) + 1), 0);
    expect_failure("too large", config_load(dir, &c, NULL, &err), &err, LIMOE_TOO_LARGE,
                   "config.json is 1048577 bytes; at most 1048576 are accepted");

    memset(path, 'd', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    expect_failure("a long path", config_load(path, &c, NULL, &err), &err, LIMOE_INVALID,
                   "the directory's path is");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_an_object),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_random_damage),
        cmocka_unit_test_setup_teardown(test_load, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_load_special_files, directory_setup, directory_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
