/* exchange.c - one rank, and finding the module for more. A limoe_ranks owns its exchange. */
#include "exchange.h"

#include <ctype.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

struct limoe_ranks {
    const struct exchange *exchange;
    void *module; /* NULL: local */
};

/* ---- one rank ---- */

static void local_close(const struct exchange *x) {
    (void)x;
}

static void local_gather(const struct exchange *x, const void *mine, size_t bytes, void *all) {
    (void)x;
    memcpy(all, mine, bytes);
}

static void local_largest(const struct exchange *x, uint64_t *value, size_t n) {
    (void)x;
    (void)value;
    (void)n;
}

const struct exchange *exchange_local(void) {
    static const struct exchange_ops ops = {
        .close = local_close, .gather = local_gather, .largest = local_largest};
    static const struct exchange local = {.ops = &ops, .rank = 0, .ranks = 1};
    return &local;
}

const struct exchange *exchange_of(const struct limoe_ranks *ranks) {
    return ranks ? ranks->exchange : exchange_local();
}

/* ---- modules ---- */

/* A kind becomes part of a file's name. */
static bool is_word(const char *kind) {
    size_t n = 0;
    while (islower((unsigned char)kind[n]))
        n++;
    return n > 0 && n <= 16 && kind[n] == '\0';
}

static enum limoe_status module_path(const char *kind, char path[PATH_MAX], struct limoe_error *err) {
    char program[PATH_MAX];
    const char *dir = getenv("LIMOE_MODULES");
    if (!dir || !*dir) {
        const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
        if (n < 0)
            return limoe_fail(err, LIMOE_IO, "cannot tell where this program lies: %m");
        program[n] = '\0';
        *strrchr(program, '/') = '\0';
        dir = program;
    }
    const int n = snprintf(path, PATH_MAX, "%s/limoe-%s.so", dir, kind);
    return n < PATH_MAX
               ? LIMOE_OK
               : limoe_fail(err, LIMOE_INVALID, "LIMOE_MODULES is %zu bytes; it is too long", strlen(dir));
}

/* RTLD_GLOBAL: MPI loads modules of its own, which look for its symbols among the program's. NODELETE: it
 * leaves behind handlers that must not lose their code. */
static enum limoe_status open_module(const char *kind, struct limoe_ranks *r, struct limoe_error *err) {
    char path[PATH_MAX];
    enum limoe_status status = module_path(kind, path, err);
    if (status)
        return status;
    if (access(path, F_OK) != 0)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "ranks of kind \"%s\" need %.300s, which is not there; LIMOE_MODULES may name "
                          "another directory",
                          kind, path);
    r->module = dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    if (!r->module)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "cannot load the module for ranks of kind \"%s\": %.400s",
                          kind, dlerror());
    const struct exchange_module *module = dlsym(r->module, EXCHANGE_MODULE);
    if (!module || module->version != EXCHANGE_VERSION)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%.300s is not of this version of limoe", path);
    return module->open(&r->exchange, err);
}

/* ---- limoe.h ---- */

enum limoe_status limoe_ranks_open(const char *kind, struct limoe_ranks **out, struct limoe_error *err) {
    *out = NULL;
    struct limoe_ranks *r = calloc(1, sizeof *r);
    if (!r)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for ranks");
    enum limoe_status status = LIMOE_OK;
    if (strcmp(kind, "local") == 0)
        r->exchange = exchange_local();
    else if (is_word(kind))
        status = open_module(kind, r, err);
    else
        status = limoe_fail(err, LIMOE_UNSUPPORTED,
                            "ranks of kind \"%.40s\"; \"local\" and \"mpi\" are accepted", kind);
    if (status) {
        limoe_ranks_close(r);
        return status;
    }
    *out = r;
    return LIMOE_OK;
}

uint32_t limoe_ranks_rank(const struct limoe_ranks *ranks) {
    return ranks->exchange->rank;
}

uint32_t limoe_ranks_count(const struct limoe_ranks *ranks) {
    return ranks->exchange->ranks;
}

void limoe_ranks_close(struct limoe_ranks *ranks) {
    if (!ranks)
        return;
    if (ranks->exchange)
        ranks->exchange->ops->close(ranks->exchange);
    if (ranks->module)
        dlclose(ranks->module);
    free(ranks);
}
