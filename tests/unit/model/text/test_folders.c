/* Protects: the tokenizers of Hugging Face and OpenCLIP folders give the ids that their files say, keep the end of a
 * text that is cut, and refuse what is damaged or unknown, by the file's and the field's name. That the ids are the
 * originals' is tests/tokenizers' to show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/text/tokenizer.h"
#include "tests/unit/model/support.h"

static void put(const char *dir, const char *name, const char *text) {
    directory_write(dir, name, text, strlen(text));
}

static struct tokenizer *open_fine(const char *dir, enum tokenizer_origin origin) {
    struct tokenizer *tokenizer = NULL;
    struct limoe_error err = {0};
    if (tokenizer_open_folder(dir, origin, 1000, NULL, &tokenizer, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return tokenizer;
}

static void expect_ids(const struct tokenizer *tokenizer, const char *text, uint32_t capacity, uint32_t n,
                       const int32_t *expected) {
    int32_t ids[64];
    uint32_t count = 99;
    struct limoe_error err = {0};
    memset(ids, -1, sizeof ids);
    assert_int_equal(tokenizer_encode(tokenizer, text, strlen(text), ids, capacity, &count, &err), LIMOE_OK);
    if (count != n || (n > 0 && memcmp(ids, expected, n * sizeof *ids) != 0))
        fail_msg("\"%s\": %u ids, %d %d %d %d …; %u expected", text, count, ids[0], ids[1], ids[2], ids[3],
                 n);
    assert_int_equal(ids[capacity], -1); /* nothing past the capacity */
}

#define IDS(...)                                                                                             \
    sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (const int32_t[]) {                            \
        __VA_ARGS__                                                                                          \
    }

/* ---- CLIP */

static const char clip_vocab[] =
    "{\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab</w>\":4,\"ab\":5,\"!</w>\":6,"
    "\"<|startoftext|>\":7,\"<|endoftext|>\":8,\"aba</w>\":9,\"'\":10,\"s</w>\":11}";
static const char clip_merges[] = "#version: 0.2\na b</w>\na b\nab a</w>\n";
static const char clip_config[] = "{\"model_max_length\":77,\"unk_token\":\"<|endoftext|>\"}";

static void put_clip(const char *dir) {
    put(dir, "vocab.json", clip_vocab);
    put(dir, "merges.txt", clip_merges);
    put(dir, "tokenizer_config.json", clip_config);
}

static void test_clip(void **state) {
    put_clip(*state);
    struct tokenizer *tokenizer = open_fine(*state, TOKENIZER_HUGGING_FACE);
    const struct tokenizer_facts facts = tokenizer_facts(tokenizer);
    assert_string_equal(facts.kind, "CLIP BPE");
    assert_int_equal(facts.vocab, 12);
    assert_int_equal(facts.length, 77);
    assert_int_equal(facts.start, 7);
    assert_int_equal(facts.end, 8);
    assert_int_equal(facts.pad, 8);
    assert_false(facts.pad_left);
    expect_ids(tokenizer, "ab", 8, IDS(7, 4, 8));
    expect_ids(tokenizer, "  AB \n aba!", 8, IDS(7, 4, 9, 6, 8));
    expect_ids(tokenizer, "a's", 8, IDS(7, 2, 10, 11, 8));
    expect_ids(tokenizer, "a<|endoftext|>a", 8, IDS(7, 2, 8, 2, 8));
    expect_ids(tokenizer, "z", 8, IDS(7, 8, 8)); /* unknown */
    expect_ids(tokenizer, "", 8, IDS(7, 8));
    expect_ids(tokenizer, "a a a a", 4, IDS(7, 2, 2, 8));
    expect_ids(tokenizer, "a a", 3, IDS(7, 2, 8));
    expect_ids(tokenizer, "a a", 2, IDS(7, 8));
    expect_ids(tokenizer, "a a", 1, IDS(8));
    expect_ids(tokenizer, "a a", 0, 0, NULL);
    tokenizer_close(tokenizer);
}

/* A word of 300,000 bytes: were each pair looked for among all of them, this would take hours. */
static void test_long_word(void **state) {
    enum { SIZE = 300000 };
    put_clip(*state);
    struct tokenizer *tokenizer = open_fine(*state, TOKENIZER_HUGGING_FACE);
    char *text = malloc(SIZE);
    int32_t *ids = malloc(SIZE * sizeof *ids);
    uint32_t count = 0;
    assert_non_null(text);
    assert_non_null(ids);
    for (size_t i = 0; i < SIZE; i++)
        text[i] = i % 2 ? 'b' : 'a';
    assert_int_equal(tokenizer_encode(tokenizer, text, SIZE, ids, SIZE, &count, NULL), LIMOE_OK);
    assert_int_equal(count, SIZE / 2 + 2);
    assert_int_equal(ids[1], 5);
    assert_int_equal(ids[SIZE / 2], 4);
    free(text);
    free(ids);
    tokenizer_close(tokenizer);
}

/* ---- tokenizer.json */

static const char gemma_json[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":["
    "{\"id\":1,\"content\":\"<eos>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":true,\"normalized\":"
    "false,"
    "\"special\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"},{\"type\":\"Replace\","
    "\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" "
    "\"},\"behavior\":\"MergedWithPrevious\","
    "\"invert\":false},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":"
    "0}},"
    "{\"SpecialToken\":{\"id\":\"<eos>\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"<eos>\":{\"id\":"
    "\"<eos>\","
    "\"ids\":[1],\"tokens\":[\"<eos>\"]}}},\"decoder\":null,"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":true,\"byte_fallback\":true,\"ignore_merges\":false,"
    "\"vocab\":{\"<pad>\":0,\"<eos>\":1,\"<bos>\":2,\"<unk>\":3,\"a\":4,\"b\":5,\"ab\":6,\"\\u2581\":7,"
    "\"\\u2581a\":8,\"<0xC3>\":9,\"<0xA9>\":10},"
    "\"merges\":[[\"a\",\"b\"],\"\\u2581 a\"]}}";

static void test_gemma(void **state) {
    put(*state, "tokenizer.json", gemma_json);
    struct tokenizer *tokenizer = open_fine(*state, TOKENIZER_HUGGING_FACE);
    const struct tokenizer_facts facts = tokenizer_facts(tokenizer);
    assert_string_equal(facts.kind, "Gemma BPE");
    assert_int_equal(facts.vocab, 11);
    assert_int_equal(facts.length, 0);
    assert_int_equal(facts.start, -1);
    assert_int_equal(facts.end, 1);
    assert_int_equal(facts.pad, 0);
    assert_true(facts.pad_left);
    expect_ids(tokenizer, "ab AB", 8, IDS(6, 7, 6, 1));
    expect_ids(tokenizer, "b a", 8, IDS(5, 8, 1));
    expect_ids(tokenizer, "a\xC3\xA9", 8, IDS(4, 9, 10, 1)); /* by its bytes */
    expect_ids(tokenizer, "xyza", 8, IDS(3, 4, 1));          /* unknown ones are one */
    expect_ids(tokenizer, "a<eos>  b", 8, IDS(4, 1, 5, 1));  /* takes the space behind it */
    expect_ids(tokenizer, "ababab", 3, IDS(6, 6, 1));
    tokenizer_close(tokenizer);
}

struct fault {
    const char *find, *replace;
    enum limoe_status status;
    const char *message;
};

static void expect_faults(const char *dir, const char *name, const char *fine, enum tokenizer_origin origin,
                          const struct fault *faults, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct tokenizer *tokenizer = NULL;
        struct limoe_error err = {0};
        char *broken = edit(fine, faults[i].find, faults[i].replace);
        put(dir, name, broken);
        expect_failure(faults[i].replace, tokenizer_open_folder(dir, origin, 1000, NULL, &tokenizer, &err),
                       &err, faults[i].status, faults[i].message);
        assert_null(tokenizer);
        free(broken);
    }
    put(dir, name, fine);
    tokenizer_close(open_fine(dir, origin));
}

#define FAULTS(faults) faults, sizeof(faults) / sizeof *(faults)

static void test_json_faults(void **state) {
    static const struct fault faults[] = {
        {"\"b\":5", "\"b\":4", LIMOE_CORRUPT, "tokenizer.json: \"a\" and \"b\" have the same id, 4"},
        {"\"b\":5", "\"b\":50", LIMOE_CORRUPT, "tokenizer.json: no piece has the id 5"},
        {"\"b\":5", "\"a\":5", LIMOE_CORRUPT, "tokenizer.json: the piece \"a\" is there twice"},
        {"\"b\":5", "\"b\":-5", LIMOE_CORRUPT,
         "tokenizer.json: \"b\" is not a whole number from 0 to 16777215"},
        {"\"b\":5", "\"b\":5.5", LIMOE_CORRUPT, "tokenizer.json: \"b\" is not a whole number"},
        {"\"b\":5", "\"b\":99999999", LIMOE_CORRUPT, "tokenizer.json: \"b\" is not a whole number"},
        {"\"b\":5", "\"b\\ud800\":5", LIMOE_CORRUPT, "tokenizer.json: a malformed escape"},
        {"\"b\":5", "\"\xFF\":5", LIMOE_CORRUPT, "tokenizer.json: not UTF-8 at byte"},
        {"\"b\":5", "\"b\" 5", LIMOE_CORRUPT, "tokenizer.json: not JSON as expected: no \":\" at byte"},
        {"\"ab\":6", "\"abc\":6", LIMOE_CORRUPT,
         "tokenizer.json: merge 0 needs a piece \"ab\", which is not there"},
        {"[\"a\",\"b\"]", "[\"a\",\"c\"]", LIMOE_CORRUPT, "merge 0 needs a piece \"c\""},
        {"[\"a\",\"b\"]", "[\"a\"]", LIMOE_CORRUPT, "no \",\" at byte"},
        {"[\"a\",\"b\"]", "\"ab\"", LIMOE_CORRUPT, "merge 0 is \"ab\"; two pieces with one space between"},
        {"[\"a\",\"b\"]", "\"a b c\"", LIMOE_CORRUPT, "merge 0 is \"a b c\""},
        {"[\"a\",\"b\"]", "[\"\",\"b\"]", LIMOE_CORRUPT, "merge 0 makes a piece of 0 and 1 bytes"},
        {"\\u2581 a\"]}}", "\\u2581 a\"]}} x", LIMOE_CORRUPT,
         "tokenizer.json: something after the JSON value"},
        {"\\u2581 a\"]}}", "\\u2581 a\"]", LIMOE_CORRUPT,
         "tokenizer.json: not JSON as expected: no \",\" at byte"},
        {"\"version\"", "\"model\":0,\"version\"", LIMOE_CORRUPT, "the key \"model\" is there twice"},
        {"\"vocab\"", "\"words\"", LIMOE_CORRUPT, "tokenizer.json: \"model\" has no \"vocab\""},
        {"\"merges\"", "\"pairs\"", LIMOE_CORRUPT, "tokenizer.json: \"model\" has no \"merges\""},
        {"\"BPE\"", "\"WordLevel\"", LIMOE_UNSUPPORTED,
         "\"model\" has the component \"WordLevel\"; accepted: BPE"},
        {"\"dropout\":null", "\"dropout\":0.1", LIMOE_UNSUPPORTED, "\"dropout\" has 0.1; accepted: null"},
        {"\"ignore_merges\":false", "\"ignore_merges\":true", LIMOE_UNSUPPORTED,
         "\"ignore_merges\" has true"},
        {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"", LIMOE_UNSUPPORTED,
         "\"end_of_word_suffix\" has \"</w>\"; accepted: none"},
        {"\"continuing_subword_prefix\":null", "\"continuing_subword_prefix\":\"##\"", LIMOE_UNSUPPORTED,
         "\"continuing_subword_prefix\" has \"##\""},
        {"\"Lowercase\"", "\"StripAccents\"", LIMOE_UNSUPPORTED,
         "\"normalizer\" has the component \"StripAccents\""},
        {"{\"type\":\"Lowercase\"},", "{\"type\":\"Lowercase\"},{\"type\":\"NFC\"},", LIMOE_UNSUPPORTED,
         "\"normalizer\" has the component \"NFC\"; accepted: NFC, Replace"},
        {"\"MergedWithPrevious\"", "\"Isolated\"", LIMOE_UNSUPPORTED,
         "\"pre_tokenizer\" has the component \"Split\""},
        {"\"TemplateProcessing\"", "\"BertProcessing\"", LIMOE_UNSUPPORTED,
         "\"post_processor\" has the component \"BertProcessing\""},
        {"\"ids\":[1]", "\"ids\":[1,1]", LIMOE_UNSUPPORTED, "\"post_processor\" has the component"},
        {"\"ids\":[1]", "\"ids\":[11]", LIMOE_CORRUPT,
         "\"post_processor\" has the id -1 or 11; there are 11"},
        {"\"id\":1,", "\"id\":2,", LIMOE_CORRUPT, "the added token \"<eos>\" has the id 2, its piece has 1"},
        {"\"id\":1,", "\"id\":\"1\",", LIMOE_CORRUPT, "an entry of \"added_tokens\" without \"id\""},
        {"\"single_word\":false", "\"single_word\":true", LIMOE_UNSUPPORTED, "has \"single_word\": true"},
        {"\"rstrip\":true", "\"rstrip\":1", LIMOE_CORRUPT, "the added token 1 needs \"content\""},
        {"\"truncation\":null", "\"truncation\":{\"direction\":\"Left\"}", LIMOE_UNSUPPORTED,
         "\"truncation\" has \"Left\"; accepted: the direction \"Right\""},
        {"\"<pad>\":0", "\"<pud>\":0", LIMOE_CORRUPT, "\"pad_token\" is \"<pad>\", which is no piece"},
    };
    expect_faults(*state, "tokenizer.json", gemma_json, TOKENIZER_HUGGING_FACE, FAULTS(faults));
}

static void test_config_faults(void **state) {
    static const char config[] = "{\"add_eos_token\":true,\"add_bos_token\":false,\"padding_side\":\"right\","
                                 "\"pad_token\":\"<pad>\",\"model_max_length\":64}";
    static const struct fault faults[] = {
        {"\"add_eos_token\":true", "\"add_eos_token\":false", LIMOE_UNSUPPORTED,
         "tokenizer_config.json: \"add_eos_token\" is false, but \"post_processor\" of tokenizer.json has "
         "such a token"},
        {"\"add_bos_token\":false", "\"add_bos_token\":1", LIMOE_CORRUPT,
         "\"add_bos_token\" is 1; true or false"},
        {"\"right\"", "\"middle\"", LIMOE_CORRUPT, "\"padding_side\" is \"middle\"; accepted: left, right"},
        {"\"<pad>\"", "7", LIMOE_CORRUPT, "tokenizer_config.json: \"pad_token\" is 7; a string"},
        {"\"<pad>\"", "\"<p>\"", LIMOE_CORRUPT, "\"pad_token\" is \"<p>\", which is no piece"},
        {"64", "0", LIMOE_CORRUPT, "\"model_max_length\" is 0; 1 or more is accepted"},
        {"64", "64,\"added_tokens_decoder\":[]", LIMOE_CORRUPT, "\"added_tokens_decoder\" is an array"},
        {"64", "64,\"added_tokens_decoder\":{\"x\":{}}", LIMOE_CORRUPT,
         "has the key \"x\"; ids are accepted"},
        {"64", "64,\"added_tokens_decoder\":{\"1\":{}}", LIMOE_CORRUPT,
         "the added token 1 needs \"content\""},
        {"}", "", LIMOE_CORRUPT, "tokenizer_config.json: not JSON at byte"},
    };
    put(*state, "tokenizer.json", gemma_json);
    expect_faults(*state, "tokenizer_config.json", config, TOKENIZER_HUGGING_FACE, FAULTS(faults));
    struct tokenizer *tokenizer = open_fine(*state, TOKENIZER_HUGGING_FACE);
    assert_int_equal(tokenizer_facts(tokenizer).length, 64);
    assert_false(tokenizer_facts(tokenizer).pad_left);
    tokenizer_close(tokenizer);
}

/* Siglip2Tokenizer makes small letters whatever its file says, Gemma's own does not. */
static void test_case(void **state) {
    static const struct {
        const char *tokenizer, *model;
        int32_t lower;
    } cases[] = {
        {"{}", "{}", 0},
        {"{\"tokenizer_class\":\"GemmaTokenizer\"}", "{\"model_type\":\"siglip\"}", 0},
        {"{\"tokenizer_class\":\"GemmaTokenizer\",\"do_lower_case\":true}", "{\"model_type\":\"siglip\"}", 1},
        {"{\"tokenizer_class\":\"GemmaTokenizer\"}", "{\"model_type\":\"siglip2\"}", 1},
        {"{\"tokenizer_class\":\"Siglip2Tokenizer\"}", "{}", 1},
    };
    char *cased = edit(gemma_json, "{\"type\":\"Lowercase\"},", "");
    put(*state, "tokenizer.json", cased);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(*state, "tokenizer_config.json", cases[i].tokenizer);
        put(*state, "config.json", cases[i].model);
        struct tokenizer *tokenizer = open_fine(*state, TOKENIZER_HUGGING_FACE);
        expect_ids(tokenizer, "A", 8, IDS(cases[i].lower ? 4 : 3, 1));
        tokenizer_close(tokenizer);
    }
    free(cased);
}

static void test_clip_faults(void **state) {
    static const struct fault merges[] = {
        {"a b</w>", "a  b</w>", LIMOE_CORRUPT,
         "merges.txt: line 2 is \"a  b</w>\"; two pieces with one space"},
        {"a b</w>", "ab</w>", LIMOE_CORRUPT, "merges.txt: line 2 is \"ab</w>\""},
        {"a b</w>", "", LIMOE_CORRUPT, "merges.txt: line 2 is \"\""},
        {"a b</w>", "a c", LIMOE_CORRUPT, "merges.txt: merge 0 needs a piece \"c\""},
        {"a b</w>", "b b</w>", LIMOE_CORRUPT, "merges.txt: merge 0 needs a piece \"bb</w>\""},
        {"a b</w>", "a \xC0", LIMOE_CORRUPT, "merges.txt: not UTF-8 at byte 16"},
    };
    static const struct fault vocab[] = {
        {"\"a\":0", "\"a\":1", LIMOE_CORRUPT, "vocab.json: \"a\" and \"b\" have the same id, 1"},
        {"\"a\":0", "\"a\":true", LIMOE_CORRUPT, "vocab.json: \"a\" is not a whole number"},
        {"\"a\":0", "\"a\"", LIMOE_CORRUPT, "vocab.json: not JSON as expected"},
        {"{\"a\"", "[\"a\"", LIMOE_CORRUPT, "vocab.json: not JSON as expected: no \"{\" at byte 0"},
        {"\"<|endoftext|>\":8", "\"<|eot|>\":8", LIMOE_CORRUPT,
         "vocab.json: \"eos_token\" is \"<|endoftext|>\", which is no piece"},
        {"\"s</w>\":11", "\"s</w>\":12", LIMOE_CORRUPT, "vocab.json: no piece has the id 11"},
    };
    put_clip(*state);
    expect_faults(*state, "merges.txt", clip_merges, TOKENIZER_HUGGING_FACE, FAULTS(merges));
    expect_faults(*state, "vocab.json", clip_vocab, TOKENIZER_HUGGING_FACE, FAULTS(vocab));
}

/* ---- OpenCLIP */

static const char open_clip[] = "{\"model_cfg\":{\"text_cfg\":{\"context_length\":16}}}";

static void test_simple(void **state) {
    put(*state, "open_clip_config.json", open_clip);
    put(*state, "merges.txt", "heading\na b</w>\nc a");
    struct tokenizer *tokenizer = open_fine(*state, TOKENIZER_OPENCLIP);
    const struct tokenizer_facts facts = tokenizer_facts(tokenizer);
    assert_int_equal(facts.vocab, 516);
    assert_int_equal(facts.length, 16);
    assert_int_equal(facts.start, 514);
    assert_int_equal(facts.end, 515);
    assert_int_equal(facts.pad, 0);
    expect_ids(tokenizer, "AB", 8, IDS(514, 512, 515));
    expect_ids(tokenizer, " &lt;a&gt; ", 8, IDS(514, 256 + '<' - '!', 256 + 'a' - '!', 256 + '>' - '!', 515));
    expect_ids(tokenizer, "<END_OF_TEXT>", 8, IDS(514, 515, 515));
    tokenizer_close(tokenizer);
    put(*state, "merges.txt", "heading\na b</w>\nc a\n"); /* the empty line takes an id */
    tokenizer = open_fine(*state, TOKENIZER_OPENCLIP);
    assert_int_equal(tokenizer_facts(tokenizer).start, 515);
    tokenizer_close(tokenizer);
}

static void test_open_clip_faults(void **state) {
    static const struct fault config[] = {
        {"16", "0", LIMOE_CORRUPT, "open_clip_config.json: \"context_length\" is 0; accepted: 1 to 1048576"},
        {"16", "16,\"tokenizer_kwargs\":{\"clean\":\"soap\"}", LIMOE_UNSUPPORTED,
         "\"clean\" is \"soap\"; accepted: "},
        {"16", "16,\"tokenizer_kwargs\":{\"strip_sep_token\":true}", LIMOE_UNSUPPORTED,
         "\"tokenizer_kwargs\" has \"strip_sep_token\"; \"clean\" is accepted"},
        {"16", "16,\"tokenizer_mode\":\"clips\"", LIMOE_UNSUPPORTED, "\"tokenizer_mode\" is \"clips\""},
        {"16", "16,\"hf_tokenizer_name\":\"x\"", LIMOE_NOT_FOUND,
         "the folder has no tokenizer: neither tokenizer.json"},
        {"text_cfg", "txt_cfg", LIMOE_CORRUPT,
         "\"model_cfg\".\"text_cfg\" is missing; an object is accepted"},
    };
    static const struct fault merges[] = {
        {"a b", "ab c", LIMOE_CORRUPT, "merges.txt: line 2 merges \"ab c\", which no line before it makes"},
        {"a b", "a b\na b", LIMOE_CORRUPT, "merges.txt: the piece \"ab\" is there twice"},
        {"a b", "a", LIMOE_CORRUPT, "merges.txt: line 2 is \"a\""},
    };
    struct tokenizer *tokenizer = NULL;
    struct limoe_error err = {0};
    expect_failure("no config",
                   tokenizer_open_folder(*state, TOKENIZER_OPENCLIP, 1000, NULL, &tokenizer, &err), &err,
                   LIMOE_NOT_FOUND, "open_clip_config.json: is not there");
    put(*state, "open_clip_config.json", open_clip);
    expect_failure("none", tokenizer_open_folder(*state, TOKENIZER_OPENCLIP, 1000, NULL, &tokenizer, &err),
                   &err, LIMOE_NOT_FOUND, "none of bpe_simple_vocab_16e6.txt, ");
    put(*state, "bpe_simple_vocab_16e6.txt.gz", "no gzip");
    expect_failure("gzip", tokenizer_open_folder(*state, TOKENIZER_OPENCLIP, 1000, NULL, &tokenizer, &err),
                   &err, LIMOE_CORRUPT, "bpe_simple_vocab_16e6.txt.gz: is not a whole gzip file");
    char path[512];
    snprintf(path, sizeof path, "%s/bpe_simple_vocab_16e6.txt.gz", (const char *)*state);
    unlink(path);
    put(*state, "merges.txt", "heading\na b");
    expect_faults(*state, "open_clip_config.json", open_clip, TOKENIZER_OPENCLIP, FAULTS(config));
    expect_faults(*state, "merges.txt", "heading\na b", TOKENIZER_OPENCLIP, FAULTS(merges));
}

/* ---- OpenCLIP's SigLIP */

static const char unigram_config[] =
    "{\"model_cfg\":{\"text_cfg\":{\"context_length\":8,\"hf_tokenizer_name\":\"x\","
    "\"tokenizer_kwargs\":{\"clean\":\"canonicalize\"}}}}";
static const char unigram_json[] =
    "{\"added_tokens\":[{\"id\":1,\"content\":\"</s>\"}],\"normalizer\":{\"type\":\"Precompiled\","
    "\"precompiled_charsmap\":\"\"},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\","
    "\"prepend_scheme\":\"always\",\"split\":true},\"post_processor\":{\"type\":\"TemplateProcessing\","
    "\"single\":["
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"</"
    "s>\",\"type_id\":0}}],\"special_tokens\":{"
    "\"</s>\":{\"id\":\"</s>\",\"ids\":[1],\"tokens\":[\"</"
    "s>\"]}}},\"model\":{\"type\":\"Unigram\",\"unk_id\":2,"
    "\"vocab\":[[\"<pad>\",0],[\"</"
    "s>\",0.0],[\"<unk>\",0],[\"\\u2581\",-2.5],[\"a\",-3],[\"b\",-3.5],[\"ab\",-5e0],"
    "[\"\\u2581a\",-4]]}}";

static void test_unigram(void **state) {
    static const struct fault faults[] = {
        {"[\"a\",-3]", "[\"a\",-1e999]", LIMOE_CORRUPT, "tokenizer.json: no number at byte"},
        {"[\"a\",-3]", "[\"a\",\"-3\"]", LIMOE_CORRUPT, "tokenizer.json: no number at byte"},
        {"[\"a\",-3]", "[\"a\"]", LIMOE_CORRUPT, "no \",\" at byte"},
        {"[\"a\",-3]", "[\"b\",-3]", LIMOE_CORRUPT, "the piece \"b\" is there twice"},
        {"[\"a\",-3]", "[\"\",-3]", LIMOE_CORRUPT, "the piece \"\" has 0 bytes; accepted: 1 to 128"},
        {"\"unk_id\":2", "\"unk_id\":null", LIMOE_UNSUPPORTED, "\"unk_id\" has null"},
        {"\"unk_id\":2", "\"unk_id\":8", LIMOE_CORRUPT, "names a piece beyond its 8"},
        {"\"ids\":[1]", "\"ids\":[8]", LIMOE_CORRUPT, "names a piece beyond its 8"},
        {"\"Precompiled\"", "\"NFKC\"", LIMOE_UNSUPPORTED, "\"normalizer\" has the component \"NFKC\""},
        {"_charsmap\":\"", "_charsmap\":\"?", LIMOE_CORRUPT, "\"precompiled_charsmap\" is not base64"},
        {"_charsmap\":\"", "_charsmap\":\"AAAA", LIMOE_CORRUPT,
         "a precompiled_charsmap that is not a table and its text at byte 0 of 3"},
        {"\"always\"", "\"never\"", LIMOE_UNSUPPORTED, "\"pre_tokenizer\" has the component \"Metaspace\""},
        {"\"content\":\"</s>\"", "\"content\":\"s\"", LIMOE_UNSUPPORTED, "\"added_tokens\" has \"s\""},
    };
    put(*state, "open_clip_config.json", unigram_config);
    put(*state, "tokenizer.json", unigram_json);
    struct tokenizer *tokenizer = open_fine(*state, TOKENIZER_OPENCLIP);
    const struct tokenizer_facts facts = tokenizer_facts(tokenizer);
    assert_int_equal(facts.vocab, 8);
    assert_int_equal(facts.length, 8);
    assert_int_equal(facts.end, 1);
    assert_int_equal(facts.pad, 0);
    expect_ids(tokenizer, "A, ab!", 8,
               IDS(7, 3, 6, 1)); /* -2.5 - 5 and -4 - 3.5 are equal: the longer last piece */
    expect_ids(tokenizer, "xyz b", 8, IDS(3, 2, 3, 5, 1));
    expect_ids(tokenizer, "", 8, IDS(1));
    expect_ids(tokenizer, "a a a a", 3, IDS(7, 7, 1));
    tokenizer_close(tokenizer);
    expect_faults(*state, "tokenizer.json", unigram_json, TOKENIZER_OPENCLIP, FAULTS(faults));
    struct limoe_error err = {0};
    tokenizer = NULL;
    expect_failure("not OpenCLIP",
                   tokenizer_open_folder(*state, TOKENIZER_HUGGING_FACE, 1000, NULL, &tokenizer, &err), &err,
                   LIMOE_UNSUPPORTED,
                   "tokenizer.json: \"model\" is Unigram, which is accepted in an OpenCLIP folder");
}

/* ---- ChineseCLIP */

static const char bert_vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n##bc\n!\n\xE7\x8C\xAB\ne\n";
static const char bert_json[] = "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true},\"pre_"
                                "tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                                "\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"##\","
                                "\"max_input_chars_per_word\":100,\"vocab\":{"
                                "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"[MASK]\":4,\"a\":5}}}";

static void test_bert(void **state) {
    static const struct fault lines[] = {
        {"a\n", "##b\n", LIMOE_CORRUPT, "vocab.txt: the piece \"##b\" is there twice"},
        {"a\n", "\xFF\n", LIMOE_CORRUPT, "vocab.txt: not UTF-8 at byte 31"},
        {"[CLS]", "[cls]", LIMOE_CORRUPT, "vocab.txt: \"cls_token\" is \"[CLS]\", which is no piece"},
        {"[MASK]", "[mask]", LIMOE_CORRUPT, "vocab.txt: \"mask_token\" is \"[MASK]\", which is no piece"},
    };
    static const struct fault json[] = {
        {"\"clean_text\":true", "\"clean_text\":false", LIMOE_UNSUPPORTED,
         "\"normalizer\" has the component"},
        {"\"BertPreTokenizer\"", "\"Whitespace\"", LIMOE_UNSUPPORTED,
         "\"pre_tokenizer\" has the component \"Whitespace\""},
        {"\"##\"", "\"@@\"", LIMOE_UNSUPPORTED, "\"continuing_subword_prefix\" has \"@@\"; accepted: \"##\""},
        {"100", "200", LIMOE_UNSUPPORTED, "\"max_input_chars_per_word\" has 200; accepted: 100"},
        {"\"a\":5", "\"a\":7", LIMOE_CORRUPT, "tokenizer.json: no piece has the id 5"},
    };
    char longest[256] = "";
    put(*state, "vocab.txt", bert_vocab);
    struct tokenizer *tokenizer = open_fine(*state, TOKENIZER_HUGGING_FACE);
    const struct tokenizer_facts facts = tokenizer_facts(tokenizer);
    assert_string_equal(facts.kind, "WordPiece");
    assert_int_equal(facts.vocab, 11);
    assert_int_equal(facts.start, 2);
    assert_int_equal(facts.end, 3);
    assert_int_equal(facts.pad, 0);
    expect_ids(tokenizer, "ABC abb!", 8, IDS(2, 5, 7, 5, 6, 6, 8, 3));
    expect_ids(tokenizer, "a\xE7\x8C\xAB[MASK]", 8, IDS(2, 5, 9, 4, 3)); /* Chinese stands alone */
    expect_ids(tokenizer, "\xC3\x89 x ax", 8, IDS(2, 10, 1, 1, 3)); /* É is e; a word is known or it is not */
    expect_ids(tokenizer, "a a a", 4, IDS(2, 5, 5, 3));
    memset(longest, 'b', 100);
    longest[0] = 'a';
    int32_t ids[128];
    uint32_t count = 0;
    assert_int_equal(tokenizer_encode(tokenizer, longest, 100, ids, 128, &count, NULL), LIMOE_OK);
    assert_int_equal(count, 102);
    longest[100] = 'b'; /* too long a word */
    expect_ids(tokenizer, longest, 8, IDS(2, 1, 3));
    tokenizer_close(tokenizer);
    expect_faults(*state, "vocab.txt", bert_vocab, TOKENIZER_HUGGING_FACE, FAULTS(lines));
    expect_faults(*state, "tokenizer.json", bert_json, TOKENIZER_HUGGING_FACE, FAULTS(json));
}

/* ---- whole folders */

static void test_rows(void **state) {
    struct tokenizer *tokenizer = NULL;
    struct limoe_error err = {0};
    expect_failure("empty",
                   tokenizer_open_folder(*state, TOKENIZER_HUGGING_FACE, 1000, NULL, &tokenizer, &err), &err,
                   LIMOE_NOT_FOUND,
                   "the folder has no tokenizer: neither tokenizer.json, nor vocab.json and merges.txt");
    put_clip(*state);
    expect_failure("rows", tokenizer_open_folder(*state, TOKENIZER_HUGGING_FACE, 11, NULL, &tokenizer, &err),
                   &err, LIMOE_CORRUPT,
                   "the tokenizer has ids up to 11, but the model has 11 rows of tokens");
    assert_int_equal(tokenizer_open_folder(*state, TOKENIZER_HUGGING_FACE, 12, NULL, &tokenizer, &err),
                     LIMOE_OK);
    tokenizer_close(tokenizer);
}

/* Who opens no tokenizer gets the same digits, which every file changes. */
static void test_fingerprint(void **state) {
    static const char *const more[] = {"special_tokens_map.json", "tokenizer_config.json"};
    char before[FINGERPRINT_DIGITS + 1] = "";
    put_clip(*state);
    for (size_t i = 0; i <= sizeof more / sizeof *more; i++) {
        struct fingerprint *opened = NULL, *read = NULL;
        struct tokenizer *tokenizer = NULL;
        char digits[2][FINGERPRINT_DIGITS + 1];
        if (i > 0)
            put(*state, more[i - 1], "{}");
        assert_int_equal(fingerprint_create(&opened, NULL), LIMOE_OK);
        assert_int_equal(fingerprint_create(&read, NULL), LIMOE_OK);
        assert_int_equal(
            tokenizer_open_folder(*state, TOKENIZER_HUGGING_FACE, 1000, opened, &tokenizer, NULL), LIMOE_OK);
        assert_int_equal(tokenizer_fingerprint_folder(*state, read, NULL), LIMOE_OK);
        fingerprint_digits(opened, digits[0]);
        fingerprint_digits(read, digits[1]);
        assert_string_equal(digits[0], digits[1]);
        assert_string_not_equal(digits[0], before);
        memcpy(before, digits[0], sizeof before);
        tokenizer_close(tokenizer);
        fingerprint_free(opened);
        fingerprint_free(read);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, directory_setup, directory_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_clip),
        TEST(test_long_word),
        TEST(test_gemma),
        TEST(test_json_faults),
        TEST(test_config_faults),
        TEST(test_case),
        TEST(test_unigram),
        TEST(test_bert),
        TEST(test_clip_faults),
        TEST(test_simple),
        TEST(test_open_clip_faults),
        TEST(test_rows),
        TEST(test_fingerprint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
