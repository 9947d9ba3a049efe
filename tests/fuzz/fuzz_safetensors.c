/* fuzz_safetensors.c - a checkpoint from anyone: refused with a message, or tensors that lie inside its
 * bytes, each byte of the data in exactly one of them. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "model/checkpoint/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct safetensors *st = NULL;
    struct limoe_error err = {0};
    enum limoe_status status = safetensors_open_memory(data, size, "x", &st, &err);
    if (status != LIMOE_OK) {
        if (err.status != status || strncmp(err.message, "x: ", 3) != 0)
            __builtin_trap();
        return 0;
    }
    volatile uint8_t sink = 0;
    size_t covered = 0;
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct tensor *t = safetensors_at(st, i);
        for (size_t b = 0; b < t->bytes; b++)
            sink = (uint8_t)(sink ^ data[t->offset + b]);
        covered += t->bytes;
        const struct tensor *found = NULL;
        if (safetensors_find(st, t->name) != t ||
            (safetensors_expect(st, t->name, t->rank, t->shape, &found, &err) == LIMOE_OK && found != t))
            __builtin_trap();
    }
    uint64_t header = 0;
    memcpy(&header, data, sizeof header); /* little-endian, as every machine this runs on */
    if (covered != size - sizeof header - header)
        __builtin_trap();
    safetensors_close(st);
    return 0;
}
