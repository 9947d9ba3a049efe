/* adapters.h - the verbs of limoe adapters that have files of their own; each returns the exit status. */
#ifndef LIMOE_SERVER_COMMANDS_ADAPTERS_H
#define LIMOE_SERVER_COMMANDS_ADAPTERS_H

#include <stdbool.h>

#include "base/arena.h"

/* What an adapter's file says of itself, on standard output: for people, or as a JSON object. */
int adapters_show(const char *path, bool json, struct arena *arena);
/* The adapters in a folder; with a model's directory (or NULL) whether they fit it. */
int adapters_show_all(const char *dir, const char *model, bool json, struct arena *arena);
/* A LoRA's file becomes a folder of PEFT's at `to`, or such a folder a file, of the model in a directory (else NULL). */
int adapters_export(const char *path, const char *to, const char *model);

#endif
