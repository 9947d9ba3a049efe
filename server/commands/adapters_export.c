/* adapters_export.c - limoe adapters export: a LoRA in the other of two formats. One thread. */
#include <sys/stat.h>

#include "limoe.h"
#include "server/commands/adapters.h"
#include "server/options/command.h"

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A folder's tensors must be the model's, whose base the file is to name. */
static enum limoe_status save_of_model(const struct limoe_adapter *adapter, const char *dir, const char *to,
                                       struct limoe_error *err) {
    const struct limoe_options options = {.device = "cpu"};
    struct limoe_model *model = NULL;
    uint64_t bytes;
    enum limoe_status status = limoe_model_open(dir, &options, &model, err);
    if (!status && !(status = limoe_model_adapt_bytes(model, adapter, 1, &bytes, err)))
        status = limoe_adapter_save(adapter, limoe_model_base(model), to, err);
    limoe_model_close(model);
    return status;
}

int adapters_export(const char *path, const char *to, const char *model) {
    struct limoe_adapter *adapter;
    struct limoe_error err;
    struct buffer out = {0};
    struct stat st;
    const bool folder = is_folder(path);
    if (folder && !model)
        return command_usage("adapters",
                             "export of a folder takes --model DIR, the model that the LoRA is of");
    if (!folder && model)
        return command_usage("adapters", "export takes --model for folders of PEFT's; \"%s\" is none", path);
    if (lstat(to, &st) == 0) {
        command_complain("%s is there already", to);
        return COMMAND_INPUT;
    }
    if (limoe_adapter_open(path, &adapter, &err) != LIMOE_OK) {
        command_complain("%s", err.message);
        return COMMAND_INPUT;
    }
    bool ok = (folder ? save_of_model(adapter, model, to, &err)
                      : limoe_adapter_save_peft(adapter, to, &err)) == LIMOE_OK;
    if (!ok)
        command_complain("%s", err.message);
    limoe_adapter_close(adapter);
    buffer_print(&out, "%s: %s as %s\n", to, path,
                 folder ? "a file of limoe-adapter-1" : "a folder of PEFT's");
    ok = ok && command_print(&out, false);
    buffer_free(&out);
    return ok ? COMMAND_OK : COMMAND_INPUT;
}
