/* model_dir.c - the model to use when none is named. */
#include "server/options/model_dir.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/options/model_list.h"

/* The first directory of a list, as the environment has it for a server of several models. */
static const char *first_of(const char *named, char room[PATH_MAX]) {
    struct model_entry first;
    const char *list = named;
    if (access(named, F_OK) == 0 || !model_list_next(&list, &first) || first.dir.size >= PATH_MAX ||
        first.dir.size == strlen(named))
        return named;
    memcpy(room, first.dir.data, first.dir.size);
    room[first.dir.size] = '\0';
    return room;
}

const char *model_dir(const char *named, char room[PATH_MAX]) {
    static const char bundled[] = "../models/pictograms";
    if (named)
        return first_of(named, room);
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
