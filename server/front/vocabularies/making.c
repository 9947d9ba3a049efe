/* making.c - vectors of vocabularies: read from the disk, or embedded and written there.
 *
 * Whoever makes some holds references to the words and to the model, and no lock meanwhile. What was put in another's place or
 * deleted since is told by its number: then what was made of it is let go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "limoe_shortlist.h"
#include "server/api/classify.h"
#include "server/front/vocabularies/parts.h"

/* Terms of one job: fewer than a feeder takes, so that a step of them alone is short, which whoever comes meanwhile waits for. */
#define PART 32u

/* Fewer terms are multiplied as fast as they are looked through. */
#define LEAST_SHORTENED 5000u

/* What is to be made. */
struct work {
    struct generation *generation;
    const char *fingerprint;        /* its engine's */
    const struct classifier *words; /* with a reference; NULL: there is nothing to make */
    uint64_t number;
    struct feeder *feeder;
    bool told; /* its progress is: it is the thread's */
};

/* ---- one vocabulary and one model */

/* The oldest that this model lacks, to *work. */
static void find_work(struct vocabularies *all, struct work *work) {
    const struct vocabulary_entry *oldest = NULL;
    work->words = NULL;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < all->n; i++)
        if ((!oldest || all->list[i]->number < oldest->number) &&
            !vocabulary_made_of(all->list[i], work->fingerprint))
            oldest = all->list[i];
    if (oldest) {
        work->words = classifier_hold(classifier_entry_of(oldest->words));
        work->number = oldest->number;
    }
    pthread_mutex_unlock(&all->lock);
}

/* The entry that the work is of; NULL: it is gone. The lock is held. */
static struct vocabulary_entry *entry_of(const struct vocabularies *all, const struct work *work) {
    bool found;
    const size_t at = vocabulary_place(all, work->words->name, &found);
    return found && all->list[at]->number == work->number ? all->list[at] : NULL;
}

static void note(struct vocabularies *all, const struct work *work, size_t done) {
    if (!work->told)
        return;
    pthread_mutex_lock(&all->lock);
    all->current = work->number;
    all->current_model = work->fingerprint;
    all->done = done;
    all->began = done ? all->began : clock_now();
    pthread_mutex_unlock(&all->lock);
}

/* A model that is replaced meanwhile is not held up. One that is not in force yet is its maker's to give up. */
static bool in_force(const struct vocabularies *all, const struct work *work) {
    struct roster *roster = work->told ? all->options.roster(all->options.context) : NULL;
    bool found = !work->told;
    for (size_t i = 0; roster && i < roster->models.n; i++)
        found |= roster->generation[i] == work->generation;
    roster_release(roster);
    return found;
}

static bool is_wanted(struct vocabularies *all, const struct work *work) {
    pthread_mutex_lock(&all->lock);
    const bool wanted = entry_of(all, work) != NULL;
    pthread_mutex_unlock(&all->lock);
    return wanted;
}

/* Whether the model has room for it beside those that it has. */
static enum limoe_status check_room(struct vocabularies *all, const struct work *work,
                                    struct limoe_error *err) {
    const uint32_t embed = work->generation->model->embed;
    uint64_t bytes = vocabulary_bytes(work->words, embed);
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < all->n; i++) {
        const struct vocabulary_made *made = vocabulary_made_of(all->list[i], work->fingerprint);
        bytes += made && made->words ? vocabulary_bytes(all->list[i]->words, embed) : 0;
    }
    pthread_mutex_unlock(&all->lock);
    return bytes <= all->options.bytes
               ? LIMOE_OK
               : limoe_fail(
                     err, LIMOE_TOO_LARGE,
                     "with it the vocabularies of this model would take %llu bytes; --vocabulary-bytes "
                     "accepts %llu",
                     (unsigned long long)bytes, (unsigned long long)all->options.bytes);
}

/* Embeds terms from `first` on, a part at a time. */
static enum limoe_status embed(struct vocabularies *all, const struct work *work,
                               struct classifier_entry *entry, struct limoe_error *err) {
    const struct classifier *words = &entry->classifier;
    enum limoe_status status = LIMOE_OK;
    uint64_t tokens = 0;
    for (size_t first = 0; !status && first < words->n_labels; first += PART) {
        const size_t n = words->n_labels - first < PART ? words->n_labels - first : PART;
        const struct classify_request part = {
            .labels = words->labels + first, .n_labels = n, .templates = words->templates, .n_templates = 1};
        struct arena *arena = arena_new();
        struct request_item *prompts = arena ? arena_array(arena, n, sizeof *prompts) : NULL;
        note(all, work, first);
        if (!prompts || !classify_prompts(&part, arena, prompts))
            status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu terms", n);
        else if (!is_wanted(all, work))
            status = limoe_fail(err, LIMOE_LOST, "it was replaced or deleted");
        else if (!in_force(all, work))
            status = limoe_fail(err, LIMOE_LOST, "the model was replaced");
        else
            status = feeder_embed(work->feeder, work->generation, prompts, n,
                                  entry->matrix + first * words->embed, &tokens, err);
        arena_free(arena);
    }
    return status;
}

static void free_list(char **list, size_t n) {
    for (size_t i = 0; list && i < n; i++)
        free(list[i]);
    free(list);
}

/* Appends a copy. False: no memory. */
static bool append(char **list, size_t *n, const char *fingerprint) {
    list[*n] = strdup(fingerprint);
    return list[(*n)++] != NULL;
}

/* Whose vectors are kept: those of this model, of the models in force, and of one that is being made ready. Free with free_list;
 * NULL: no memory. */
static char **list_kept(struct vocabularies *all, const struct work *work, size_t *n) {
    struct roster *roster = all->options.roster(all->options.context);
    const size_t served = roster ? roster->models.n : 0;
    size_t most = served + 1;
    *n = 0;
    pthread_mutex_lock(&all->lock);
    const struct vocabulary_entry *entry = entry_of(all, work);
    const struct vocabulary_made *first = entry ? entry->made : NULL;
    for (const struct vocabulary_made *made = first; made; made = made->next)
        most++;
    char **list = calloc(most, sizeof *list);
    bool good = list && append(list, n, work->fingerprint);
    for (size_t i = 0; good && i < served; i++)
        good = append(list, n, engine_info(roster->generation[i]->engine)->fingerprint);
    for (const struct vocabulary_made *made = first; good && made; made = made->next)
        good = append(list, n, made->fingerprint);
    pthread_mutex_unlock(&all->lock);
    roster_release(roster);
    if (good)
        return list;
    free_list(list, *n);
    return NULL;
}

/* What is served from memory is as good where the disk has not kept it: it is embedded again after a restart. */
static void keep_rows(struct vocabularies *all, const struct work *work,
                      const struct classifier_entry *entry) {
    const struct classifier *words = &entry->classifier;
    struct limoe_error err;
    if (vocabulary_write_rows(all, entry, &err) != LIMOE_OK) {
        log_print(all->options.log, LOG_WARNING, NULL, "vocabularies: the vectors of %.*s are not kept: %s",
                  (int)words->name.size, words->name.data, err.message);
        return;
    }
    if (!is_wanted(all, work)) { /* who deletes it from here on finds the file */
        vocabulary_drop_rows(all, entry);
        return;
    }
    size_t n;
    char **kept = list_kept(all, work, &n);
    if (kept)
        vocabulary_keep_rows(all, words, kept, n);
    free_list(kept, n);
}

/* Without one, all cosines are made, and answers are the same. */
static void shorten(struct classifier_entry *entry) {
    struct classifier *words = &entry->classifier;
    if (words->n_labels >= LEAST_SHORTENED &&
        limoe_shortlist_new(words->matrix, words->n_labels, words->embed, &entry->shortlist, NULL) ==
            LIMOE_OK)
        words->shortlist = entry->shortlist;
}

static enum limoe_status make_entry(struct vocabularies *all, const struct work *work,
                                    struct classifier_entry **out, struct limoe_error *err) {
    const struct classifier *words = work->words;
    const uint32_t width = work->generation->model->embed;
    const struct classifier_parts parts = {.name = words->name,
                                           .labels = words->labels,
                                           .n_labels = words->n_labels,
                                           .templates = words->templates,
                                           .n_templates = 1,
                                           .created = words->created,
                                           .updated = words->updated,
                                           .fingerprint = work->fingerprint,
                                           .matrix_bytes = words->n_labels * width * sizeof(float),
                                           .embed = width};
    enum limoe_status status = check_room(all, work, err);
    if (!status)
        status = classifier_entry_make(&parts, out, err);
    if (status || vocabulary_read_rows(all, *out))
        return status;
    const int64_t began = clock_now();
    status = embed(all, work, *out, err);
    if (status) {
        classifier_release(&(*out)->classifier);
        return status;
    }
    log_print(all->options.log, LOG_INFO, NULL, "vocabularies: %.*s is ready for %s: %zu terms in %.1f s",
              (int)words->name.size, words->name.data, work->generation->model->name, words->n_labels,
              (double)(clock_now() - began) / (double)CLOCK_SECOND);
    keep_rows(all, work, *out);
    return LIMOE_OK;
}

/* Hands over what was made, or why it was not. */
static void install(struct vocabularies *all, const struct work *work, struct classifier_entry *made,
                    const struct limoe_error *err) {
    struct vocabulary_made *one = calloc(1, sizeof *one);
    char *fingerprint = strdup(work->fingerprint);
    if (one && fingerprint) {
        one->words = made ? &made->classifier : NULL;
        one->fingerprint = fingerprint;
        if (!made)
            text_quote(text_of(err->message), one->why, sizeof one->why);
        pthread_mutex_lock(&all->lock);
        struct vocabulary_entry *entry = entry_of(all, work);
        if (entry && !vocabulary_made_of(entry, fingerprint)) {
            one->next = entry->made;
            entry->made = one;
            one = NULL;
        }
        pthread_mutex_unlock(&all->lock);
        vocabulary_made_free(one);
        return;
    }
    free(one);
    free(fingerprint);
    if (made)
        classifier_release(&made->classifier);
}

/* Makes the oldest that the model lacks. False: there is none, or the model is being closed. */
static bool make_next(struct vocabularies *all, struct work *work) {
    struct limoe_error err;
    struct classifier_entry *made = NULL;
    find_work(all, work);
    if (!work->words)
        return false;
    note(all, work, 0);
    const enum limoe_status status = make_entry(all, work, &made, &err);
    /* What was replaced is not asked for again; of a model that is closed nothing is. */
    const bool goes_on = status != LIMOE_LOST || !is_wanted(all, work);
    if (status && status != LIMOE_LOST)
        log_print(all->options.log, LOG_WARNING, NULL, "vocabularies: %.*s is not made ready for %s: %s",
                  (int)work->words->name.size, work->words->name.data, work->generation->model->name,
                  err.message);
    if (!status)
        shorten(made);
    if (status != LIMOE_LOST)
        install(all, work, status ? NULL : made, &err);
    if (work->told) {
        pthread_mutex_lock(&all->lock);
        all->current = 0;
        pthread_mutex_unlock(&all->lock);
    }
    classifier_release(work->words);
    return goes_on;
}

static void make_all(struct vocabularies *all, struct generation *generation, struct feeder *feeder,
                     bool told) {
    struct work work = {.generation = generation,
                        .fingerprint = engine_info(generation->engine)->fingerprint,
                        .feeder = feeder,
                        .told = told};
    if (!limoe_has(generation->model, LIMOE_IMAGE) || !limoe_has(generation->model, LIMOE_TEXT))
        return;
    while (!feeder_stopped(feeder) && make_next(all, &work))
        ;
}

void vocabularies_prepare(struct vocabularies *all, struct generation *generation, struct feeder *feeder) {
    make_all(all, generation, feeder, false);
}

/* ---- the thread */

/* Lets go of what could not be made, so that it is tried again. */
static void try_again(struct vocabularies *all) {
    struct vocabulary_made *gone = NULL;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < all->n; i++)
        for (struct vocabulary_made **at = &all->list[i]->made; *at;) {
            struct vocabulary_made *made = *at;
            if (made->words) {
                at = &made->next;
                continue;
            }
            *at = made->next;
            made->next = gone;
            gone = made;
        }
    pthread_mutex_unlock(&all->lock);
    vocabulary_made_free(gone);
}

/* Sleeps until there may be something to do. False: the server stops. */
static bool wait_for_work(struct vocabularies *all, bool *renewed) {
    pthread_mutex_lock(&all->lock);
    while (!all->wanted && !all->stopping)
        pthread_cond_wait(&all->change, &all->lock);
    *renewed = all->renewed;
    all->wanted = all->renewed = false;
    const bool goes_on = !all->stopping;
    pthread_mutex_unlock(&all->lock);
    return goes_on;
}

/* For one of the models in force, by its index. The others may be replaced meanwhile: only this one is held. False: there is none. */
static bool make_for(struct vocabularies *all, size_t index) {
    struct roster *roster = all->options.roster(all->options.context);
    struct generation *generation = roster && index < roster->models.n ? roster->generation[index] : NULL;
    if (generation)
        generation_retain(generation);
    roster_release(roster);
    if (generation)
        make_all(all, generation, &all->feeder, true);
    generation_release(generation);
    return generation != NULL;
}

void *vocabularies_main(void *context) {
    struct vocabularies *all = context;
    bool renewed;
    pthread_setname_np(pthread_self(), "limoe-terms");
    while (wait_for_work(all, &renewed)) {
        if (renewed)
            try_again(all);
        for (size_t i = 0; make_for(all, i); i++)
            ;
    }
    return NULL;
}
