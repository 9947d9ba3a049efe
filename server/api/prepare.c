/* prepare.c - pictures decoded, texts tokenised. No state, any thread. */
#include "server/api/prepare.h"

#include "base/error.h"

static enum limoe_status prepare_image(const struct limoe_processor *processor,
                                       const struct request_item *item, struct arena *arena,
                                       struct limoe_item *out, struct limoe_error *err) {
    const struct limoe_info *info = limoe_processor_info(processor);
    uint8_t *pixels = arena_array(arena, (size_t)info->image_size * info->image_size, 3);
    if (!pixels)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for its pixels");
    *out = (struct limoe_item){.modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels};
    return limoe_process_image(processor, item->bytes, item->size, pixels, err);
}

static enum limoe_status prepare_text(const struct limoe_processor *processor,
                                      const struct request_item *item, struct arena *arena,
                                      struct limoe_item *out, struct limoe_error *err) {
    const struct limoe_info *info = limoe_processor_info(processor);
    int32_t *tokens = arena_array(arena, info->text_length, sizeof *tokens);
    if (!tokens)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for its tokens");
    *out = (struct limoe_item){.modality = LIMOE_TEXT, .tokens = tokens};
    return limoe_process_text(processor, (const char *)item->bytes, item->size, tokens, &out->length, err);
}

bool prepare_item(const struct limoe_processor *processor, const struct request_item *item,
                  struct arena *arena, struct limoe_item *out, struct usage *usage, struct api_error *error) {
    const bool image = item->modality == LIMOE_IMAGE;
    struct limoe_error cause;
    const enum limoe_status status =
        (image ? prepare_image : prepare_text)(processor, item, arena, out, &cause);
    if (status != LIMOE_OK)
        return api_fail_from(error, item->param, &cause);
    *(image ? &usage->image_tokens : &usage->prompt_tokens) += out->length;
    return true;
}

bool prepare_items(const struct limoe_processor *processor, const struct request_item *items, size_t n,
                   struct arena *arena, struct limoe_item *out, struct usage *usage,
                   struct api_error *error) {
    for (size_t i = 0; i < n; i++)
        if (!prepare_item(processor, &items[i], arena, &out[i], usage, error))
            return false;
    return true;
}
