/* parts.h - what the files of this folder share. Internal to it.
 *
 * `changing` is held by who puts or deletes, over the disk, and is taken first; `lock` guards the list, and is held for moments.
 */
#ifndef LIMOE_SERVER_FRONT_VOCABULARIES_PARTS_H
#define LIMOE_SERVER_FRONT_VOCABULARIES_PARTS_H

#include <limits.h>
#include <pthread.h>

#include "server/api/classifier.h"
#include "server/front/vocabularies/vocabularies.h"

#define VOCABULARY_DIGEST 32                      /* bytes */
#define VOCABULARY_HEX    (2 * VOCABULARY_DIGEST) /* letters */

/* What a model makes of a vocabulary. */
struct vocabulary_made {
    const struct classifier *words; /* with its matrix; NULL: it could not be made, for the reason in why */
    char *fingerprint;
    char why[sizeof((struct vocabulary_progress *)0)->why];
    struct vocabulary_made *next;
};

/* One that is stored. All but `made` stays as it is. */
struct vocabulary_entry {
    uint64_t number; /* later PUTs have higher ones */
    const struct classifier *words;
    bool automatic;
    float threshold;
    struct vocabulary_made *made;
};

struct vocabularies {
    struct vocabularies_options options;
    char folder[PATH_MAX];
    pthread_t thread;
    bool started; /* the thread is */
    struct feeder feeder;
    pthread_mutex_t changing, lock;
    pthread_cond_t change;          /* of what follows */
    struct vocabulary_entry **list; /* [n], by name */
    size_t n;
    uint64_t last; /* number */
    bool wanted;   /* there may be something to make */
    bool renewed;  /* … also of what could not be made before */
    bool stopping;
    /* What the thread makes now: number 0: nothing. */
    uint64_t current;
    const char *current_model; /* its fingerprint */
    size_t done;               /* terms */
    int64_t began;             /* on the clock */
};

/* ---- vocabularies.c; the lock is held */

/* Where the name is, or would be. */
size_t vocabulary_place(const struct vocabularies *all, struct text name, bool *found);
struct vocabulary_made *vocabulary_made_of(const struct vocabulary_entry *entry, const char *fingerprint);
void vocabulary_made_free(struct vocabulary_made *made);
/* What a model needs of so many terms and all their bytes. */
uint64_t vocabulary_bytes(const struct classifier *words, uint32_t embed);

/* ---- files.c: nothing of it takes a lock */

enum limoe_status vocabulary_open_folder(struct vocabularies *all, struct limoe_error *err);
/* Calls `found` for each definition, in no order; it takes the entry over. False from it: no memory. */
enum limoe_status vocabulary_read_folder(struct vocabularies *all,
                                         bool (*found)(struct vocabularies *all,
                                                       struct vocabulary_entry *entry),
                                         struct limoe_error *err);
/* Writes the definition, whole or not at all. *full: there is no room. */
enum limoe_status vocabulary_write_definition(const struct vocabularies *all,
                                              const struct vocabulary_entry *entry, bool *full,
                                              struct limoe_error *err);
enum limoe_status vocabulary_remove(const struct vocabularies *all, struct text name,
                                    struct limoe_error *err);
/* Fills the matrix of an entry of this model. False: the disk has none that is whole. */
bool vocabulary_read_rows(const struct vocabularies *all, struct classifier_entry *entry);
void vocabulary_drop_rows(const struct vocabularies *all, const struct classifier_entry *entry);
enum limoe_status vocabulary_write_rows(const struct vocabularies *all, const struct classifier_entry *entry,
                                        struct limoe_error *err);
/* Removes what the name has of other terms, and of models but those of these fingerprints. */
void vocabulary_keep_rows(const struct vocabularies *all, const struct classifier *words, char *const *keep,
                          size_t n);

/* ---- making.c */

void *vocabularies_main(void *context);

#endif
