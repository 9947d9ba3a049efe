/* model_dir.c - the model to use when none is named. */
#include "model_dir.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *model_dir(const char *named, char room[PATH_MAX]) {
    static const char bundled[] = "../models/pictograms";
    if (named)
        return named;
    const char *environment = getenv("LIMOE_MODEL");
    if (environment && *environment)
        return environment;

    const ssize_t size = readlink("/proc/self/exe", room, PATH_MAX);
    if (size <= 0 || size >= PATH_MAX)
        return NULL;
    room[size] = '\0';
    char *name = strrchr(room, '/');
    if (!name || (size_t)(name + 1 - room) + sizeof bundled > PATH_MAX)
        return NULL;
    memcpy(name + 1, bundled, sizeof bundled);
    /* Without the "..", so that messages show a path that people would write. */
    char *resolved = realpath(room, NULL);
    if (!resolved)
        return NULL;
    memcpy(room, resolved, strlen(resolved) + 1); /* realpath's result is shorter than PATH_MAX */
    free(resolved);
    return room;
}
