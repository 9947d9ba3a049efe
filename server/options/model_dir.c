/* model_dir.c - the model to use when none is named. */
#include "server/options/model_dir.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *model_dir(const char *named, char room[PATH_MAX]) {
    static const char *const bundled[] = {"../models/pictograms", LIMOE_MODEL_FROM_BIN};
    char program[PATH_MAX], path[PATH_MAX];
    if (named)
        return named;
    const ssize_t size = readlink("/proc/self/exe", program, sizeof program);
    if (size <= 0 || (size_t)size >= sizeof program)
        return NULL;
    program[size] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    /* realpath takes the ".." out: messages show a path that people would write. */
    for (size_t i = 0; i < sizeof bundled / sizeof *bundled; i++)
        if (snprintf(path, sizeof path, "%s/%s", program, bundled[i]) < PATH_MAX && realpath(path, room))
            return room;
    return NULL;
}
