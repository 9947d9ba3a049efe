/* vocabularies.c - the list: looked at, put, deleted. What is given out has a reference of its own. */
#include "server/front/vocabularies/vocabularies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "limoe_shortlist.h"
#include "server/front/store/nearest.h"
#include "server/front/vocabularies/parts.h"

#define LONGEST_WAIT 3600u /* seconds that a client is told to wait */
#define FAILED_WAIT  60u   /* … where somebody must do something first */

/* ---- one */

void vocabulary_made_free(struct vocabulary_made *made) {
    while (made) {
        struct vocabulary_made *next = made->next;
        classifier_release(made->words);
        free(made->fingerprint);
        free(made);
        made = next;
    }
}

static void free_entry(struct vocabulary_entry *entry) {
    if (!entry)
        return;
    vocabulary_made_free(entry->made);
    classifier_release(entry->words);
    free(entry);
}

struct vocabulary_made *vocabulary_made_of(const struct vocabulary_entry *entry, const char *fingerprint) {
    struct vocabulary_made *made = entry->made;
    while (made && strcmp(made->fingerprint, fingerprint) != 0)
        made = made->next;
    return made;
}

/* A model has a copy of the terms. */
uint64_t vocabulary_bytes(const struct classifier *words, uint32_t embed) {
    return 2 * (uint64_t)classifier_entry_of(words)->bytes +
           (uint64_t)words->n_labels * embed * sizeof(float) + limoe_shortlist_bytes(words->n_labels, embed);
}

/* ---- the list; the lock is held */

static struct text name_at(const void *list, size_t i) {
    return ((const struct vocabulary_entry *const *)list)[i]->words->name;
}

size_t vocabulary_place(const struct vocabularies *all, struct text name, bool *found) {
    return text_place(name, all->list, all->n, name_at, found);
}

/* Takes the entry over, and gives back the one that had its name, or NULL. There is room. */
static struct vocabulary_entry *put_in(struct vocabularies *all, struct vocabulary_entry *entry) {
    bool found;
    struct vocabulary_entry *old = NULL;
    const size_t at = vocabulary_place(all, entry->words->name, &found);
    if (found)
        old = all->list[at];
    else
        memmove(all->list + at + 1, all->list + at, (all->n++ - at) * sizeof(void *));
    entry->number = ++all->last;
    all->list[at] = entry;
    return old;
}

static void wake(struct vocabularies *all, bool *what) {
    pthread_mutex_lock(&all->lock);
    *what = true;
    all->wanted = true;
    pthread_cond_broadcast(&all->change);
    pthread_mutex_unlock(&all->lock);
}

/* ---- life */

/* Of the terms; what a model makes of them is bounded where it is made. */
static bool has_room(const struct vocabularies *all, const struct vocabulary_entry *entry) {
    uint64_t bytes = classifier_entry_of(entry->words)->bytes;
    for (size_t i = 0; i < all->n; i++)
        bytes += classifier_entry_of(all->list[i]->words)->bytes;
    return all->n < VOCABULARIES_MOST && bytes <= all->options.bytes;
}

static bool take_found(struct vocabularies *all, struct vocabulary_entry *entry) {
    if (!has_room(all, entry)) {
        log_print(all->options.log, LOG_WARNING, NULL,
                  "vocabularies: %.*s is left alone: there are as many as may be, or as large as "
                  "--vocabulary-bytes accepts",
                  (int)entry->words->name.size, entry->words->name.data);
        free_entry(entry);
        return true;
    }
    free_entry(put_in(all, entry));
    return true;
}

enum limoe_status vocabularies_open(const struct vocabularies_options *options, struct vocabularies **out,
                                    struct limoe_error *err) {
    struct vocabularies *all = calloc(1, sizeof *all);
    struct vocabulary_entry **list = calloc(VOCABULARIES_MOST, sizeof(void *));
    if (!all || !list) {
        free(all);
        free(list);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for vocabularies");
    }
    all->options = *options;
    all->list = list;
    feeder_init(&all->feeder);
    pthread_mutex_init(&all->changing, NULL);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->change, NULL);
    enum limoe_status status = vocabulary_open_folder(all, err);
    if (!status)
        status = vocabulary_read_folder(all, take_found, err);
    if (!status) {
        const int code = pthread_create(&all->thread, NULL, vocabularies_main, all);
        all->started = code == 0;
        if (code)
            status =
                limoe_fail(err, LIMOE_INTERNAL, "cannot start a thread for vocabularies: %s", strerror(code));
    }
    if (status)
        vocabularies_close(all);
    else
        *out = all;
    return status;
}

void vocabularies_stop(struct vocabularies *all) {
    if (!all || !all->started)
        return;
    wake(all, &all->stopping);
    feeder_stop(&all->feeder);
    pthread_join(all->thread, NULL);
    all->started = false;
}

void vocabularies_close(struct vocabularies *all) {
    if (!all)
        return;
    vocabularies_stop(all);
    for (size_t i = 0; i < all->n; i++)
        free_entry(all->list[i]);
    pthread_cond_destroy(&all->change);
    pthread_mutex_destroy(&all->lock);
    pthread_mutex_destroy(&all->changing);
    feeder_destroy(&all->feeder);
    free(all->list);
    free(all);
}

void vocabularies_renew(struct vocabularies *all) {
    wake(all, &all->renewed);
}

static bool is_served(const struct vocabularies *all, const char *fingerprint) {
    struct roster *roster = all->options.roster(all->options.context);
    bool served = false;
    for (size_t i = 0; roster && i < roster->models.n && !served; i++)
        served = strcmp(engine_info(roster->generation[i]->engine)->fingerprint, fingerprint) == 0;
    roster_release(roster);
    return served;
}

void vocabularies_forget(struct vocabularies *all, const char *fingerprint) {
    struct vocabulary_made *gone = NULL;
    if (is_served(all, fingerprint))
        return;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < all->n; i++)
        for (struct vocabulary_made **at = &all->list[i]->made; *at; at = &(*at)->next) {
            struct vocabulary_made *made = *at;
            if (strcmp(made->fingerprint, fingerprint) != 0)
                continue;
            *at = made->next;
            made->next = gone;
            gone = made;
            break;
        }
    pthread_mutex_unlock(&all->lock);
    vocabulary_made_free(gone);
}

/* ---- put */

/* The widest embedding of the models that are served. */
static uint32_t widest(const struct vocabularies *all) {
    struct roster *roster = all->options.roster(all->options.context);
    uint32_t most = 0;
    for (size_t i = 0; roster && i < roster->models.n; i++)
        most = roster->generation[i]->model->embed > most ? roster->generation[i]->model->embed : most;
    roster_release(roster);
    return most;
}

/* Whether there is room for these words, in place of those of their name. `changing` is held. */
static enum vocabularies_outcome check_room(struct vocabularies *all, const struct classifier *words,
                                            struct limoe_error *err) {
    const uint32_t embed = widest(all);
    const uint64_t bytes = vocabulary_bytes(words, embed);
    uint64_t others = 0;
    size_t n = 0;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < all->n; i++)
        if (!text_equal(all->list[i]->words->name, words->name)) {
            others += vocabulary_bytes(all->list[i]->words, embed);
            n++;
        }
    pthread_mutex_unlock(&all->lock);
    if (n == VOCABULARIES_MOST) {
        limoe_fail(err, LIMOE_TOO_LARGE,
                   "%zu vocabularies are stored, as many as are accepted; delete one first", n);
        return VOCABULARIES_TOO_MANY;
    }
    if (bytes <= all->options.bytes && others <= all->options.bytes - bytes)
        return VOCABULARIES_STORED;
    limoe_fail(err, LIMOE_TOO_LARGE,
               "the vocabularies take %llu bytes, and this one would take %llu; --vocabulary-bytes accepts "
               "%llu in all",
               (unsigned long long)others, (unsigned long long)bytes, (unsigned long long)all->options.bytes);
    return VOCABULARIES_FULL;
}

static struct vocabulary_entry *new_entry(struct vocabularies *all, struct text name,
                                          const struct vocabulary_definition *definition) {
    struct classifier_parts parts = {.name = name,
                                     .labels = definition->terms,
                                     .n_labels = definition->n,
                                     .templates = &definition->template,
                                     .n_templates = 1,
                                     .fingerprint = ""};
    struct classifier_entry *made;
    bool found;
    parts.created = parts.updated = (int64_t)time(NULL);
    pthread_mutex_lock(&all->lock);
    const size_t at = vocabulary_place(all, name, &found);
    if (found)
        parts.created = all->list[at]->words->created;
    pthread_mutex_unlock(&all->lock);
    struct vocabulary_entry *entry = calloc(1, sizeof *entry);
    if (!entry || classifier_entry_make(&parts, &made, NULL) != LIMOE_OK) {
        free(entry);
        return NULL;
    }
    entry->words = &made->classifier;
    entry->automatic = definition->automatic;
    entry->threshold = definition->threshold;
    return entry;
}

/* `changing` is held. */
static enum vocabularies_outcome store(struct vocabularies *all, struct vocabulary_entry *entry,
                                       struct limoe_error *err) {
    bool full;
    const enum vocabularies_outcome room = check_room(all, entry->words, err);
    if (room)
        return room;
    const enum limoe_status status = vocabulary_write_definition(all, entry, &full, err);
    if (status == LIMOE_NO_MEMORY)
        return VOCABULARIES_NO_MEMORY;
    if (status)
        return full ? VOCABULARIES_FULL : VOCABULARIES_UNWRITTEN;
    pthread_mutex_lock(&all->lock);
    struct vocabulary_entry *old = put_in(all, entry);
    all->wanted = true;
    all->renewed |= old != NULL; /* it may be smaller */
    pthread_cond_broadcast(&all->change);
    pthread_mutex_unlock(&all->lock);
    free_entry(old);
    return VOCABULARIES_STORED;
}

enum vocabularies_outcome vocabularies_put(struct vocabularies *all, struct text name,
                                           const struct vocabulary_definition *definition,
                                           struct limoe_error *err) {
    enum vocabularies_outcome outcome = VOCABULARIES_NO_MEMORY;
    pthread_mutex_lock(&all->changing);
    struct vocabulary_entry *entry = new_entry(all, name, definition);
    if (entry)
        outcome = store(all, entry, err);
    if (outcome != VOCABULARIES_STORED)
        free_entry(entry);
    pthread_mutex_unlock(&all->changing);
    return outcome;
}

enum limoe_status vocabularies_delete(struct vocabularies *all, struct text name, bool *found,
                                      struct limoe_error *err) {
    struct vocabulary_entry *old = NULL;
    enum limoe_status status = LIMOE_OK;
    pthread_mutex_lock(&all->changing);
    pthread_mutex_lock(&all->lock);
    vocabulary_place(all, name, found);
    pthread_mutex_unlock(&all->lock);
    if (*found)
        status = vocabulary_remove(all, name, err);
    if (*found && !status) {
        pthread_mutex_lock(&all->lock);
        const size_t at = vocabulary_place(all, name, found);
        old = all->list[at];
        memmove(all->list + at, all->list + at + 1, (--all->n - at) * sizeof(void *));
        pthread_mutex_unlock(&all->lock);
    }
    pthread_mutex_unlock(&all->changing);
    if (old)
        vocabularies_renew(all); /* there may be room for another */
    free_entry(old);
    return status;
}

/* ---- looked at */

/* How far it is; the lock is held. */
static void tell(const struct vocabularies *all, const struct vocabulary_entry *entry,
                 const char *fingerprint, struct vocabularies_found *out) {
    const struct vocabulary_made *made = vocabulary_made_of(entry, fingerprint);
    struct vocabulary_progress *progress = &out->progress;
    progress->state = VOCABULARY_WAITING;
    if (made && made->words) {
        out->words = made->words;
        progress->state = VOCABULARY_READY;
        progress->embedded = entry->words->n_labels;
    } else if (made) {
        progress->state = VOCABULARY_FAILED;
        out->seconds = FAILED_WAIT;
        snprintf(progress->why, sizeof progress->why, "%s", made->why);
    } else if (all->current == entry->number && strcmp(all->current_model, fingerprint) == 0) {
        const double seconds = (double)(clock_now() - all->began) / (double)CLOCK_SECOND;
        const double left = (double)(entry->words->n_labels - all->done);
        const double rest = all->done ? seconds * left / (double)all->done : 1;
        progress->state = VOCABULARY_EMBEDDING;
        progress->embedded = all->done;
        out->seconds = rest < 1 ? 1 : rest > LONGEST_WAIT ? LONGEST_WAIT : (unsigned)rest + 1;
    }
}

bool vocabularies_find(struct vocabularies *all, struct text name, const char *fingerprint,
                       struct vocabularies_found *out) {
    bool found;
    pthread_mutex_lock(&all->lock);
    const size_t at = vocabulary_place(all, name, &found);
    if (found) {
        const struct vocabulary_entry *entry = all->list[at];
        *out = (struct vocabularies_found){.words = entry->words,
                                           .automatic = entry->automatic,
                                           .threshold = entry->threshold,
                                           .seconds = 1};
        if (fingerprint)
            tell(all, entry, fingerprint, out);
        classifier_hold(classifier_entry_of(out->words));
    }
    pthread_mutex_unlock(&all->lock);
    return found;
}

bool vocabularies_nearest(struct vocabularies *all, struct text name, char nearest[129]) {
    unsigned least = NEAREST_FAR;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < all->n; i++) {
        const struct text other = all->list[i]->words->name;
        const unsigned distance = nearest_distance(name, other);
        if (distance >= least)
            continue;
        least = distance;
        snprintf(nearest, 129, "%.*s", (int)other.size, other.data);
    }
    pthread_mutex_unlock(&all->lock);
    return least < NEAREST_FAR;
}

size_t vocabularies_list(struct vocabularies *all, struct text after, size_t limit, char (*out)[129],
                         bool *more) {
    bool found;
    size_t n = 0;
    pthread_mutex_lock(&all->lock);
    size_t at = vocabulary_place(all, after, &found);
    for (at += found; at < all->n && n < limit; at++, n++)
        snprintf(out[n], sizeof out[n], "%.*s", (int)all->list[at]->words->name.size,
                 all->list[at]->words->name.data);
    *more = at < all->n;
    pthread_mutex_unlock(&all->lock);
    return n;
}
