/* encode.c - a tokenizer on the command line, for test_tokenizers.py and compare.py.
 *
 *   encode FOLDER hf|openclip LENGTH     texts on stdin, ids on stdout, each with its size as 4 bytes before it
 *
 * Before all texts: the facts, as one line. Memory is the process's; an error is a line on stderr and exit status 1. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/text/tokenizer.h"

static int fail(const char *message) {
    fprintf(stderr, "%s\n", message);
    return 1;
}

int main(int argc, char **argv) {
    struct tokenizer *tokenizer = NULL;
    struct limoe_error err = {0};
    if (argc != 4)
        return fail("usage: encode FOLDER hf|openclip LENGTH");
    const enum tokenizer_origin origin =
        strcmp(argv[2], "openclip") == 0 ? TOKENIZER_OPENCLIP : TOKENIZER_HUGGING_FACE;
    const uint32_t length = (uint32_t)strtoul(argv[3], NULL, 10);
    if (tokenizer_open_folder(argv[1], origin, UINT32_MAX, NULL, &tokenizer, &err) != LIMOE_OK)
        return fail(err.message);
    const struct tokenizer_facts facts = tokenizer_facts(tokenizer);
    printf("%s; vocab %u, length %u, start %d, end %d, pad %d, pad_left %d\n", facts.kind, facts.vocab,
           facts.length, facts.start, facts.end, facts.pad, facts.pad_left);
    int32_t *ids = malloc((length + 1) * sizeof *ids);
    uint32_t size;
    while (ids && fread(&size, sizeof size, 1, stdin) == 1) {
        uint32_t count = 0;
        char *text = malloc(size + 1);
        if (!text || fread(text, 1, size, stdin) != size ||
            tokenizer_encode(tokenizer, text, size, ids, length, &count, &err) != LIMOE_OK)
            return fail(err.message);
        fwrite(&count, sizeof count, 1, stdout);
        fwrite(ids, sizeof *ids, count, stdout);
        free(text);
    }
    free(ids);
    tokenizer_close(tokenizer);
    return 0;
}
