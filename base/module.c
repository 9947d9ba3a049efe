/* module.c - a path, dlopen, a version. No state. */
#include "base/module.h"

#include <ctype.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* A kind becomes part of a file's name. */
static bool is_word(const char *kind) {
    size_t n = 0;
    while (islower((unsigned char)kind[n]))
        n++;
    return n > 0 && n <= 16 && kind[n] == '\0';
}

/* path = the module in the folder `below`, seen from the folder of `file`. False: there is no such folder. */
static bool path_below(const char *file, const char *below, const char *kind, char path[PATH_MAX]) {
    const char *slash = strrchr(file, '/');
    char name[PATH_MAX], folder[PATH_MAX];
    if (!slash)
        return false;
    /* The last "/." is no folder's where `below` is a file. */
    const int n = snprintf(name, sizeof name, "%.*s/%s/.", (int)(slash - file), file, below);
    return n < PATH_MAX && realpath(name, folder) &&
           snprintf(path, PATH_MAX, "%s/limoe-%s.so", folder, kind) < PATH_MAX;
}

/* Where a module lies when nobody says: beside the program, as a build leaves it; where `meson install` puts it, as seen
 * from the program, so that a whole installation can be moved; or from liblimoe.so, in a program of somebody else's.
 * If it is in none, path is where it would be in the last of these folders that there is. */
static enum limoe_status find(const char *kind, char path[PATH_MAX], struct limoe_error *err) {
    static const char here;
    char program[PATH_MAX], candidate[PATH_MAX];
    Dl_info object;
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0)
        return limoe_fail(err, LIMOE_IO, "cannot tell where this program lies: %m");
    program[n] = '\0';
    const char *library = dladdr(&here, &object) && object.dli_fname ? object.dli_fname : "";
    const char *const places[][2] = {{program, "."}, {program, LIMOE_MODULES_FROM_BIN}, {library, "limoe"}};
    *path = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!path_below(places[i][0], places[i][1], kind, candidate))
            continue;
        memcpy(path, candidate, sizeof candidate);
        if (access(path, F_OK) == 0)
            break;
    }
    return *path ? LIMOE_OK
                 : limoe_fail(err, LIMOE_IO, "cannot tell where modules would lie from %.300s", program);
}

static enum limoe_status module_path(const char *kind, char path[PATH_MAX], struct limoe_error *err) {
    const char *dir = getenv("LIMOE_MODULES");
    if (!dir || !*dir)
        return find(kind, path, err);
    const int n = snprintf(path, PATH_MAX, "%s/limoe-%s.so", dir, kind);
    return n < PATH_MAX
               ? LIMOE_OK
               : limoe_fail(err, LIMOE_TOO_LARGE, "LIMOE_MODULES is %zu bytes; it is too long", strlen(dir));
}

/* RTLD_GLOBAL: MPI loads modules of its own, which look for its symbols among the program's. */
enum limoe_status module_load(const char *kind, const char *symbol, uint32_t version, const void **out,
                              struct limoe_error *err) {
    char path[PATH_MAX];
    *out = NULL;
    if (!is_word(kind))
        return limoe_fail(err, LIMOE_INVALID, "a module \"%.40s\"; accepted: 1 to 16 lower-case letters",
                          kind);
    enum limoe_status status = module_path(kind, path, err);
    if (status)
        return status;
    if (access(path, F_OK) != 0)
        return limoe_fail(err, LIMOE_NOT_FOUND,
                          "there is no %.300s (LIMOE_MODULES may name another directory)", path);
    void *module = dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    if (!module)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "cannot load a module: %.400s", dlerror());
    const uint32_t *found = dlsym(module, symbol);
    if (!found || *found != version) {
        dlclose(module);
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%.300s is not of this version of limoe", path);
    }
    *out = found;
    return LIMOE_OK;
}
