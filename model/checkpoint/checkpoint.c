/* checkpoint.c - which files hold a model's weights. No state, no threads. */
#include "model/checkpoint/checkpoint.h"

#include <stddef.h>

#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/layout.h"

static const char open_clip_file[] = "open_clip_model.safetensors";

/* Weights that nothing here reads, since reading a pickle can run code that it holds. */
static const char *other_weights(const char *dir) {
    static const char *const names[] = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                        "open_clip_pytorch_model.bin", "model.pt", NULL};
    for (const char *const *name = names; *name; name++)
        if (file_exists(dir, *name))
            return *name;
    return NULL;
}

enum limoe_status checkpoint_open(const char *dir, const struct config *config, struct safetensors **out,
                                  struct limoe_error *err) {
    struct limoe_error own;
    err = err ? err : &own;
    enum limoe_status status = config->format >= CONFIG_OPEN_CLIP && file_exists(dir, open_clip_file)
                                   ? safetensors_open_file(dir, open_clip_file, out, err)
                                   : safetensors_open(dir, out, err);
    const char *other = status == LIMOE_NOT_FOUND ? other_weights(dir) : NULL;
    if (other)
        return limoe_fail(
            err, LIMOE_UNSUPPORTED,
            "%s: there are no safetensors beside it; train/convert.py makes them of it, without running "
            "what a pickle may hold",
            other);
    if (status != LIMOE_OK)
        return status;
    status = layout_check(config, *out, err);
    if (status != LIMOE_OK) {
        safetensors_close(*out);
        *out = NULL;
    }
    return status;
}

bool checkpoint_is_int8(const struct safetensors *st) {
    for (size_t i = 0; i < safetensors_count(st); i++)
        if (safetensors_at(st, i)->dtype == TENSOR_I8)
            return true;
    return false;
}
