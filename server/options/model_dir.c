/* model_dir.c - the model to use when none is named. */
#include "server/options/model_dir.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *model_dir(const char *named, char room[PATH_MAX]) {
    static const char bundled[] = "../models/pictograms";
    if (named)
        return named;
    char path[PATH_MAX];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
    if (size <= 0 || (size_t)size >= sizeof path)
        return NULL;
    path[size] = '\0';
    char *name = strrchr(path, '/');
    if (!name || (size_t)(name + 1 - path) + sizeof bundled > sizeof path)
        return NULL;
    memcpy(name + 1, bundled, sizeof bundled);
    return realpath(path, room); /* without the "..": messages show a path that people would write */
}
