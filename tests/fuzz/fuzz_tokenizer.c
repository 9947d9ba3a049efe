/* fuzz_tokenizer.c - tokenizer files from anyone: refused with a message, or a tokenizer whose ids are below its
 * vocabulary and whose texts keep their end. The input: a byte that says which files; 3 times 2 bytes, the sizes of
 * tokenizer_config.json, special_tokens_map.json and the first large file; then those, and the second large file or a
 * text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/text/bert.h"
#include "model/text/clip_files.h"
#include "model/text/tokenizer_json.h"
#include "model/text/tokenizer_kind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next `want` bytes, or what is left, as memory of their own, so that reading past them shows. */
static struct file_bytes take(const uint8_t **data, size_t *left, size_t want) {
    struct file_bytes file = {.size = want < *left ? want : *left};
    file.at = malloc(file.size > 0 ? file.size : 1);
    if (!file.at)
        abort();
    if (file.size > 0)
        memcpy(file.at, *data, file.size);
    *data += file.size;
    *left -= file.size;
    return file;
}

static void check_text(const struct tokenizer *tokenizer, const char *text, size_t size, uint32_t capacity) {
    int32_t ids[80];
    uint32_t count = UINT32_MAX;
    struct limoe_error err = {0};
    const struct tokenizer_facts facts = tokenizer_facts(tokenizer);
    if (tokenizer_encode(tokenizer, text, size, ids, capacity, &count, &err) != LIMOE_OK || count > capacity)
        __builtin_trap();
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= facts.vocab)
            __builtin_trap();
    if (facts.end >= 0 && capacity > 0 && (count == 0 || ids[count - 1] != facts.end))
        __builtin_trap();
}

static void check_texts(const struct tokenizer *tokenizer, const struct file_bytes *text) {
    static const char *const texts[] = {"", "a photo of a cat",
                                        "  <eos><|endoftext|><end_of_text> It's\n\n1 \xE2\x96\x81",
                                        "e\xCC\x81\xCC\xA3\xCE\xA3 &amp;lt; \xF0\x9F\x90\xB1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (uint32_t capacity = 0; capacity < 80; capacity += capacity < 4 ? 1 : 36)
            check_text(tokenizer, texts[i], strlen(texts[i]), capacity);
    check_text(tokenizer, (const char *)text->at, utf8_check(text->at, text->size), 77);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const open_clip[] = {"{\"model_cfg\":{\"text_cfg\":{\"context_length\":77,\"tokenizer_"
                                            "kwargs\":{\"clean\":\"whitespace\"}}}}",
                                            "{\"model_cfg\":{\"text_cfg\":{\"hf_tokenizer_name\":\"x\","
                                            "\"tokenizer_kwargs\":{\"clean\":\"canonicalize\"}}}}"};
    const char *const text_cfg = open_clip[size > 0 && data[0] % 12 >= 6];
    const struct file_bytes open_clip_file = {.at = (uint8_t *)text_cfg, .size = strlen(text_cfg)};
    if (size < 7)
        return 0;
    const uint8_t kind = data[0] % 6, lines = data[0] % 24 >= 12;
    size_t left = size - 7, sizes[3];
    for (int i = 0; i < 3; i++)
        sizes[i] = (size_t)data[1 + 2 * i] | (size_t)data[2 + 2 * i] << 8;
    data += 7;
    struct file_bytes configs[2] = {take(&data, &left, sizes[0]), take(&data, &left, sizes[1])}, none = {0};
    struct file_bytes first = take(&data, &left, sizes[2]), second = take(&data, &left, left);
    struct folder_config config;
    struct limoe_error err = {0};
    struct tokenizer *tokenizer = NULL;
    const struct folder_files files = {.tokenizer = configs[0].size > 0 ? configs[0] : none,
                                       .map = configs[1].size > 0 ? configs[1] : none,
                                       .open_clip = open_clip_file};
    enum limoe_status status = folder_config_parse(&config, &files, kind >= 3, &err);
    if (status == LIMOE_OK && kind % 3 == 0) {
        status = tokenizer_json_read((char *)first.at, first.size, &config, &tokenizer, &err);
    } else if (status == LIMOE_OK && lines) {
        status = bert_read_lines((const char *)first.at, first.size, &config, &tokenizer, &err);
    } else if (status == LIMOE_OK && kind % 3 == 1) {
        status = clip_files_read((char *)first.at, first.size, (const char *)second.at, second.size, &config,
                                 &tokenizer, &err);
    } else if (status == LIMOE_OK) {
        status = clip_files_read_simple((const char *)first.at, first.size, "merges.txt", &config, &tokenizer,
                                        &err);
    }
    if (status != LIMOE_OK && (err.status != status || !strchr(err.message, ':')))
        __builtin_trap();
    if (status == LIMOE_OK) {
        tokenizer->clean = config.clean;
        check_texts(tokenizer, &second);
    }
    tokenizer_close(tokenizer);
    folder_config_free(&config);
    free(configs[0].at);
    free(configs[1].at);
    free(first.at);
    free(second.at);
    return 0;
}
