/* adapters.h - adapters' files in the state directory, by name.
 *
 * STATE/adapters has a file for each, NAME@DIGEST.safetensors: what engines look for is the SHA-256 of what it holds
 * (tail_key.h). A file is written beside the others, and renamed when it is whole and found to be good, so that what a change has
 * answered is on the disk and never half there. The folder belongs to one server. What is kept in memory of a file is what it is;
 * of a probe, its weights too.
 *
 * Any thread may call any function but the first and the last; those that change something wait for the disk.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_ADAPTERS_H
#define LIMOE_SERVER_FRONT_STORE_ADAPTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "limoe.h"
#include "server/front/observe/log.h"
#include "server/protocol/tail_key.h"

#define ADAPTERS_NEW_FILE   ".new-"             /* how names of files begin that have not been kept yet */
#define ADAPTERS_MOST       1000                /* in one folder */
#define ADAPTERS_DISK_BYTES (UINT64_C(4) << 30) /* of their files */

/* Shared by reference count; immutable. */
struct adapter {
    _Atomic uint64_t references;
    char *name; /* "": it is not kept yet */
    char *path;
    uint8_t sha256[TAIL_KEY_DIGEST];
    enum limoe_adapter_kind kind;
    char base[33];
    float strength;
    uint32_t embed; /* of a probe */
    size_t n_labels;
    uint64_t bytes;              /* of the file */
    int64_t created;             /* Unix seconds: when it was put */
    struct limoe_adapter *probe; /* NULL: it is none */
};
void adapter_retain(const struct adapter *adapter);
void adapter_release(const struct adapter *adapter); /* NULL is fine */

struct adapters;

struct adapters_options {
    const char *state_dir; /* there, or made; outlives the store */
    size_t most;           /* adapters that are accepted; 0: ADAPTERS_MOST */
    uint64_t disk_bytes;   /* 0: ADAPTERS_DISK_BYTES */
    struct log *log;       /* told of files that are no adapters; NULL: nobody is */
};

/* Makes the folder (mode 0700) where it is missing, removes what an interrupted change has left, and reads what each file says
 * of itself. A file that cannot be read is left alone, and is no adapter. */
enum limoe_status adapters_open(const struct adapters_options *options, struct adapters **out,
                                struct limoe_error *err);
void adapters_close(struct adapters *store); /* what was given out stays. NULL is fine */
const char *adapters_folder(const struct adapters *store);

/* The adapter, with a reference for the caller; NULL: there is none of this name. */
const struct adapter *adapters_find(struct adapters *store, struct text name);
/* The name that looks most like it, to name[129]; false: none does. */
bool adapters_nearest(struct adapters *store, struct text name, char nearest[129]);
/* Those of names behind `after`, in the order of bytes, with references for the caller: at most `limit`, to out[]. *more: there
 * are others behind them. */
size_t adapters_list(struct adapters *store, struct text after, size_t limit, const struct adapter **out,
                     bool *more);

/* Writes a file beside the others and reads it as any adapter is: *out, with a reference for the caller, can be used and has no
 * name. LIMOE_CORRUPT, LIMOE_UNSUPPORTED, LIMOE_TOO_LARGE: it is no adapter, which *err says of what it holds. LIMOE_IO: it could not
 * be written; *full: for want of room. */
enum limoe_status adapters_draft(struct adapters *store, const void *bytes, size_t size,
                                 const struct adapter **out, bool *full, struct limoe_error *err);
/* The same of a body that is such a file, or a zip file of a folder in which PEFT has saved a LoRA (peft_zip.h): that becomes a
 * file of this format, made of `base`, a model's 32 digits. */
enum limoe_status adapters_draft_upload(struct adapters *store, const void *bytes, size_t size,
                                        const char *base, const struct adapter **out, bool *full,
                                        struct limoe_error *err);
/* Gives a draft its name, in place of the adapter that has it. The caller's reference is used up, also after a failure; *out has
 * one for the caller. LIMOE_TOO_LARGE: there are as many as may be, or (*full) they take as much disk. */
enum limoe_status adapters_keep(struct adapters *store, const struct adapter *draft, struct text name,
                                const struct adapter **out, bool *full, struct limoe_error *err);
/* Takes a draft away that is not to be kept. NULL is fine. */
void adapters_discard(const struct adapter *draft);
/* *found: there was one. */
enum limoe_status adapters_delete(struct adapters *store, struct text name, bool *found,
                                  struct limoe_error *err);

struct adapters_state {
    size_t n;
    uint64_t bytes, limit_bytes; /* of their files */
};
struct adapters_state adapters_state(struct adapters *store);

#endif
