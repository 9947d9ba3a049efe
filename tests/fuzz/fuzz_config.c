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
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        if (config_has(&config, (enum limoe_modality)m) &&
            (config.tower[m].heads < 1 || config.tower[m].width % config.tower[m].heads != 0))
            __builtin_trap();
    if (config_blocks(&config) < 1 || config.image.patch > config.image.size ||
        config_image_tokens(&config) > CONFIG_MAX_IMAGE_TOKENS ||
        config_blocks(&config) > CONFIG_MAX_BLOCKS || config.moe.layers > config_blocks(&config) ||
        config.moe.top_k > config.moe.experts || (config.moe.layers > 0 && config.moe.top_k == 0) ||
        active > total || total > UINT64_C(1) << 56 || !memchr(config.name, '\0', sizeof config.name))
        __builtin_trap();
    const struct config_tower *decoder = &config.decoder.tower;
    if (config_has_decoder(&config) &&
        (!config_has_scores(&config) || decoder->heads < 1 || decoder->width % decoder->heads != 0 ||
         decoder->blocks > CONFIG_MAX_BLOCKS || config.decoder.length < 1 ||
         config.decoder.length > CONFIG_MAX_CAPTION || config.decoder.begin_id < 0 ||
         config.decoder.end_id < 0 || config.decoder.begin_id == config.decoder.end_id ||
         (uint32_t)config.decoder.begin_id >= config.text.vocab ||
         (uint32_t)config.decoder.end_id >= config.text.vocab))
        __builtin_trap();
    return 0;
}
