/* fuzz_oip.c - any bytes, as the body of an inference request of the Open Inference Protocol. What stands before
 * the first "|" is the header that says how long the body's JSON is; without a "|" there is no header.
 *
 * What is accepted must keep the promises of oip_body.h: every element lies in the body or in the arena, which the
 * sanitizer sees when it is read; what is refused must say why.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/dialects/oip_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

/* A sum of all bytes, so that each is read. */
static unsigned sum(struct text text) {
    unsigned all = 0;
    for (size_t i = 0; i < text.size; i++)
        all += (unsigned char)text.data[i];
    return all;
}

static void check_input(const struct oip_input *input, size_t size) {
    size_t bytes = 0;
    require(input->n >= 1 && input->n <= OIP_MOST_ELEMENTS && *input->param);
    for (size_t i = 0; i < input->n; i++) {
        const struct text element = input->elements[i];
        require(sum(element) <= 255 * element.size);
        require(input->binary || text_check(element.data, element.size) == element.size);
        bytes += element.size;
    }
    require(bytes <= size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *bar = size ? memchr(data, '|', size) : NULL;
    const struct text length = {.data = bar ? (const char *)data : NULL,
                                .size = bar ? (size_t)(bar - data) : 0};
    const size_t before = bar ? length.size + 1 : 0, left = size - before;
    struct arena *arena = arena_new();
    struct oip_body body;
    struct api_error error;
    char *copy = malloc(left ? left : 1); /* of exactly the body's size */
    require(arena && copy);
    if (left)
        memcpy(copy, data + before, left);
    if (oip_read_body(copy, left, length, arena, &body, &error)) {
        require(body.n_inputs >= 1 && body.n_inputs <= OIP_MOST_TENSORS &&
                body.n_outputs <= OIP_MOST_TENSORS);
        require(body.id.size <= OIP_MOST_ID_BYTES);
        for (size_t i = 0; i < body.n_inputs; i++)
            check_input(&body.inputs[i], left);
    } else {
        require(error.status == 400 && *error.message);
        require(text_check(error.message, strlen(error.message)) == strlen(error.message));
    }
    free(copy);
    arena_free(arena);
    return 0;
}
