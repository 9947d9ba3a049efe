/* fuzz_config.c - config.json from anyone: refused with a message, or a config whose sizes keep their
 * promises. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct config config;
    struct limoe_error err = {0};
    enum limoe_status status = config_parse((const char *)data, size, "config.json", &config, &err);
    if (status != LIMOE_OK) {
        if (err.status != status || strncmp(err.message, "config.json: ", 13) != 0)
            __builtin_trap();
        return 0;
    }
    uint64_t total, active;
    layout_count(&config, &total, &active);
    if (config.width % config.heads != 0 || config.image.size % config.image.patch != 0 ||
        config_image_tokens(&config) > 65536 || config.moe.layers > config.blocks ||
        config.moe.top_k > config.moe.experts || (config.moe.layers > 0 && config.moe.top_k == 0) ||
        active > total || total > UINT64_C(1) << 56 ||
        memchr(config.name, '\0', sizeof config.name) == config.name)
        __builtin_trap();
    return 0;
}
