/* classifiers.c - the statements, the transactions, and the classifiers kept in memory.
 *
 * Two connections. What this server writes reaches its own memory as what another server writes does: through
 * the file. Every get asks SQLite whether the file has changed (PRAGMA data_version, a look at shared
 * memory); only then is the row looked at, and only when its id is another one is it read again. A row's id
 * is its revision (database.c).
 */
#include "store/classifiers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/buffer.h"
#include "error.h"
#include "store/database.h"
#include "store/keyed_hash.h"
#include "store/nearest.h"

/* Matrices kept of one classifier: this model's and the one before, so that going back costs nothing. */
#define MATRICES_KEPT "2"

#define ROW_COLUMNS                                                                                          \
    "c.id, c.name, c.created, c.updated, c.labels, c.templates, m.embed, m.prompt_tokens, m.vectors"
#define SUMMARY_COLUMNS "name, label_count, template_count, created, updated"
#define ROW_TABLES                                                                                           \
    " FROM classifier c LEFT JOIN matrix m ON m.classifier = c.id AND m.fingerprint = ?2 AND m.embed = ?3 "

enum writing { BEGIN, COMMIT, ROLLBACK, COUNT, REMOVE, INSERT, INSERT_MATRIX, TRIM_MATRICES, WRITING };
static const char *const writing[WRITING] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [COUNT] = "SELECT count(*) FROM classifier",
    [REMOVE] = "DELETE FROM classifier WHERE name = ?1 RETURNING created",
    [INSERT] =
        "INSERT INTO classifier(name, created, updated, label_count, template_count, labels, templates)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    /* Of a row that is gone, nothing is inserted. */
    [INSERT_MATRIX] = "INSERT OR REPLACE INTO matrix(classifier, fingerprint, label_count, embed,"
                      " prompt_tokens, vectors)"
                      " SELECT id, ?2, label_count, ?3, ?4, ?5 FROM classifier WHERE id = ?1",
    [TRIM_MATRICES] =
        "DELETE FROM matrix WHERE classifier = ?1 AND id NOT IN"
        " (SELECT id FROM matrix WHERE classifier = ?1 ORDER BY id DESC LIMIT " MATRICES_KEPT ")",
};

enum reading { VERSION, REVISION, READ, READ_NEXT, LIST, NAMES, READING };
static const char *const reading[READING] = {
    [VERSION] = "PRAGMA data_version",
    [REVISION] = "SELECT id FROM classifier WHERE name = ?1",
    [READ] = "SELECT " ROW_COLUMNS ROW_TABLES "WHERE c.name = ?1",
    [READ_NEXT] =
        "SELECT " ROW_COLUMNS ROW_TABLES "WHERE c.name > ?1 AND m.id IS NULL ORDER BY c.name LIMIT 1",
    [LIST] = "SELECT " SUMMARY_COLUMNS " FROM classifier WHERE name > ?1 ORDER BY name LIMIT ?2",
    [NAMES] = "SELECT name FROM classifier",
};

struct classifiers {
    size_t most, cache_bytes;
    struct hash_secret secret;

    pthread_mutex_t write_lock; /* of the writer */
    struct database writer;
    sqlite3_stmt *write[WRITING];

    pthread_mutex_t read_lock; /* of the reader and the classifiers in memory */
    struct database reader;
    sqlite3_stmt *read[READING];
    struct lru memory; /* of struct classifier_entry, each by the hash of its name */
};

/* ---- opening */

static enum limoe_status prepare_all(struct database *database, const char *const *sql, size_t n,
                                     sqlite3_stmt **out, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0; i < n && status == LIMOE_OK; i++)
        status = database_prepare(database, sql[i], &out[i], err);
    return status;
}

enum limoe_status classifiers_open(const struct classifiers_options *options, struct classifiers **out,
                                   struct limoe_error *err) {
    struct classifiers *store = calloc(1, sizeof *store);
    if (!store)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the classifiers");
    pthread_mutex_init(&store->write_lock, NULL);
    pthread_mutex_init(&store->read_lock, NULL);
    store->most = options->most ? options->most : CLASSIFIERS_MOST;
    store->cache_bytes = options->cache_bytes ? options->cache_bytes : CLASSIFIERS_CACHE_BYTES;

    enum limoe_status status = hash_secret_draw(&store->secret, err);
    if (status == LIMOE_OK && !lru_init(&store->memory, store->most))
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the classifiers");
    if (status == LIMOE_OK)
        status = database_open(options->dir, &store->writer, err);
    if (status == LIMOE_OK)
        status = database_open_reader(&store->writer, &store->reader, err);
    if (status == LIMOE_OK)
        status = prepare_all(&store->writer, writing, WRITING, store->write, err);
    if (status == LIMOE_OK)
        status = prepare_all(&store->reader, reading, READING, store->read, err);
    if (status != LIMOE_OK) {
        classifiers_close(store);
        return status;
    }
    *out = store;
    return LIMOE_OK;
}

static void forget(struct classifiers *store, struct classifier_entry *entry) {
    lru_remove(&store->memory, &entry->node);
    classifier_release(&entry->classifier);
}

void classifiers_close(struct classifiers *store) {
    if (!store)
        return;
    for (struct lru_node *node; (node = lru_oldest(&store->memory));)
        forget(store, (struct classifier_entry *)node);
    lru_free(&store->memory);
    for (size_t i = 0; i < READING; i++)
        sqlite3_finalize(store->read[i]);
    for (size_t i = 0; i < WRITING; i++)
        sqlite3_finalize(store->write[i]);
    database_close(&store->reader);
    database_close(&store->writer);
    pthread_mutex_destroy(&store->read_lock);
    pthread_mutex_destroy(&store->write_lock);
    free(store);
}

/* ---- columns and parameters. What is bound must outlive the statement's run. */

static void bind_text(sqlite3_stmt *statement, int at, struct text text) {
    sqlite3_bind_text64(statement, at, text.data ? text.data : "", text.size, SQLITE_STATIC, SQLITE_UTF8);
}

static struct text text_at(sqlite3_stmt *statement, int column) {
    const char *data = (const char *)sqlite3_column_text(statement, column);
    return (struct text){.data = data ? data : "", .size = (size_t)sqlite3_column_bytes(statement, column)};
}

static void bind_matrix(sqlite3_stmt *statement, int64_t id, const struct classifier_model *model,
                        size_t labels, const float *matrix, uint64_t prompt_tokens) {
    /* Stored as it lies in memory, which is little-endian on every machine this builds for (answer.c). */
    sqlite3_bind_int64(statement, 1, id);
    bind_text(statement, 2, text_of(model->fingerprint));
    sqlite3_bind_int64(statement, 3, model->embed);
    sqlite3_bind_int64(statement, 4, (int64_t)prompt_tokens);
    sqlite3_bind_blob64(statement, 5, matrix, labels * model->embed * sizeof *matrix, SQLITE_STATIC);
}

/* ---- writing; the lock is held */

static enum limoe_status write_run(struct classifiers *store, enum writing which, struct limoe_error *err) {
    return database_run(&store->writer, store->write[which], err);
}

/* Ends the transaction: as one whole, or as if it had not been. */
static enum limoe_status finish(struct classifiers *store, enum limoe_status status,
                                struct limoe_error *err) {
    if (status == LIMOE_OK)
        status = write_run(store, COMMIT, err);
    if (status != LIMOE_OK && !sqlite3_get_autocommit(store->writer.handle))
        write_run(store, ROLLBACK, NULL);
    return status;
}

/* *created: of the one that was there, else as it was. */
static enum limoe_status remove_row(struct classifiers *store, struct text name, bool *found,
                                    int64_t *created, struct limoe_error *err) {
    sqlite3_stmt *remove = store->write[REMOVE];
    bind_text(remove, 1, name);
    enum limoe_status status = database_step(&store->writer, remove, found, err);
    if (status != LIMOE_OK)
        return status;
    if (*found) {
        bool row;
        *created = sqlite3_column_int64(remove, 0);
        status = database_step(&store->writer, remove, &row, err); /* to its end, where the change is made */
    }
    database_done(remove);
    return status;
}

static enum limoe_status check_room(struct classifiers *store, struct limoe_error *err) {
    bool row;
    const enum limoe_status status = database_step(&store->writer, store->write[COUNT], &row, err);
    if (status != LIMOE_OK)
        return status;
    const int64_t count = sqlite3_column_int64(store->write[COUNT], 0);
    database_done(store->write[COUNT]);
    if (count >= (int64_t)store->most)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "%zu classifiers are stored, as many as are accepted; delete one first",
                          store->most);
    return LIMOE_OK;
}

static enum limoe_status insert(struct classifiers *store, const struct classifier_draft *draft,
                                struct text labels, struct text templates, struct limoe_error *err) {
    sqlite3_stmt *insert = store->write[INSERT];
    bind_text(insert, 1, draft->name);
    sqlite3_bind_int64(insert, 2, draft->created);
    sqlite3_bind_int64(insert, 3, draft->updated);
    sqlite3_bind_int64(insert, 4, (int64_t)draft->n_labels);
    sqlite3_bind_int64(insert, 5, (int64_t)draft->n_templates);
    bind_text(insert, 6, labels);
    bind_text(insert, 7, templates);
    return write_run(store, INSERT, err);
}

static enum limoe_status replace(struct classifiers *store, const struct classifier_model *model,
                                 struct classifier_draft *draft, struct text labels, struct text templates,
                                 struct limoe_error *err) {
    bool found = false;
    draft->created = draft->updated = time(NULL);
    enum limoe_status status = write_run(store, BEGIN, err);
    if (status != LIMOE_OK)
        return status;
    status = remove_row(store, draft->name, &found, &draft->created, err);
    if (status == LIMOE_OK && !found)
        status = check_room(store, err);
    if (status == LIMOE_OK)
        status = insert(store, draft, labels, templates, err);
    if (status == LIMOE_OK) {
        bind_matrix(store->write[INSERT_MATRIX], sqlite3_last_insert_rowid(store->writer.handle), model,
                    draft->n_labels, draft->matrix, draft->prompt_tokens);
        status = write_run(store, INSERT_MATRIX, err);
    }
    return finish(store, status, err);
}

static void write_list(struct buffer *out, const struct text *texts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        buffer_bytes(out, i ? "," : "[", 1);
        buffer_json_text(out, texts[i]);
    }
    buffer_bytes(out, "]", 1);
}

enum limoe_status classifiers_put(struct classifiers *store, const struct classifier_model *model,
                                  struct classifier_draft *draft, struct limoe_error *err) {
    struct buffer labels = {0}, templates = {0};
    enum limoe_status status;
    write_list(&labels, draft->labels, draft->n_labels);
    write_list(&templates, draft->templates, draft->n_templates);
    if (labels.failed || templates.failed) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory to store %zu labels", draft->n_labels);
    } else {
        pthread_mutex_lock(&store->write_lock);
        status = replace(store, model, draft, (struct text){.data = labels.data, .size = labels.size},
                         (struct text){.data = templates.data, .size = templates.size}, err);
        pthread_mutex_unlock(&store->write_lock);
    }
    buffer_free(&templates);
    buffer_free(&labels);
    return status;
}

enum limoe_status classifiers_put_matrix(struct classifiers *store, const struct classifier *classifier,
                                         const struct classifier_model *model, const float *matrix,
                                         uint64_t prompt_tokens, struct limoe_error *err) {
    const int64_t id = classifier_revision(classifier);
    pthread_mutex_lock(&store->write_lock);
    enum limoe_status status = write_run(store, BEGIN, err);
    if (status == LIMOE_OK) {
        bind_matrix(store->write[INSERT_MATRIX], id, model, classifier->n_labels, matrix, prompt_tokens);
        status = write_run(store, INSERT_MATRIX, err);
        if (status == LIMOE_OK) {
            sqlite3_bind_int64(store->write[TRIM_MATRICES], 1, id);
            status = write_run(store, TRIM_MATRICES, err);
        }
        status = finish(store, status, err);
    }
    pthread_mutex_unlock(&store->write_lock);
    return status;
}

enum limoe_status classifiers_delete(struct classifiers *store, struct text name, bool *deleted,
                                     struct limoe_error *err) {
    int64_t created;
    pthread_mutex_lock(&store->write_lock);
    const enum limoe_status status = remove_row(store, name, deleted, &created, err);
    pthread_mutex_unlock(&store->write_lock);
    return status;
}

/* ---- reading; the lock is held */

static enum limoe_status read_number(struct classifiers *store, enum reading which, bool *found, int64_t *out,
                                     struct limoe_error *err) {
    const enum limoe_status status = database_step(&store->reader, store->read[which], found, err);
    if (status != LIMOE_OK)
        return status;
    *out = *found ? sqlite3_column_int64(store->read[which], 0) : 0;
    database_done(store->read[which]);
    return LIMOE_OK;
}

static uint64_t hash_name(const struct classifiers *store, struct text name) {
    return keyed_hash(&store->secret, name.data, name.size);
}

static struct classifier_entry *recall(const struct classifiers *store, struct text name,
                                       const struct classifier_model *model) {
    const uint64_t hash = hash_name(store, name);
    for (struct lru_node *node = lru_chain(&store->memory, hash); node; node = node->chain) {
        struct classifier_entry *entry = (struct classifier_entry *)node;
        if (node->hash == hash && text_equal(entry->classifier.name, name) &&
            strcmp(entry->fingerprint, model->fingerprint) == 0)
            return entry;
    }
    return NULL;
}

/* Forgets *entry, setting it to NULL, unless it is still what the file holds in `version`. */
static enum limoe_status revise(struct classifiers *store, struct classifier_entry **entry, int64_t version,
                                struct limoe_error *err) {
    struct classifier_entry *old = *entry;
    bool found;
    int64_t id;
    if (old->seen == version)
        return LIMOE_OK;
    bind_text(store->read[REVISION], 1, old->classifier.name);
    const enum limoe_status status = read_number(store, REVISION, &found, &id, err);
    if (status != LIMOE_OK)
        return status;
    if (found && id == old->id && old->classifier.matrix) {
        old->seen = version;
        return LIMOE_OK;
    }
    forget(store, old); /* changed, deleted, or its matrix may have come meanwhile */
    *entry = NULL;
    return LIMOE_OK;
}

/* Keeps an entry in memory, in place of what was used least recently; not one that has no place at all. */
static void remember(struct classifiers *store, struct classifier_entry *entry) {
    if (entry->bytes > store->cache_bytes)
        return;
    while (store->memory.bytes + entry->bytes > store->cache_bytes)
        forget(store, (struct classifier_entry *)lru_oldest(&store->memory));
    classifier_hold(entry);
    lru_add(&store->memory, &entry->node, hash_name(store, entry->classifier.name), entry->bytes);
}

/* The row that READ or READ_NEXT finds; *out NULL: none. */
static enum limoe_status read_entry(struct classifiers *store, enum reading which, struct text name,
                                    const struct classifier_model *model, struct classifier_entry **out,
                                    struct limoe_error *err) {
    sqlite3_stmt *read = store->read[which];
    bool found;
    *out = NULL;
    bind_text(read, 1, name);
    bind_text(read, 2, text_of(model->fingerprint));
    sqlite3_bind_int64(read, 3, model->embed);
    enum limoe_status status = database_step(&store->reader, read, &found, err);
    if (status != LIMOE_OK)
        return status;
    if (found) {
        const struct classifier_row row = {
            .id = sqlite3_column_int64(read, 0),
            .name = text_at(read, 1),
            .created = sqlite3_column_int64(read, 2),
            .updated = sqlite3_column_int64(read, 3),
            .labels = text_at(read, 4),
            .templates = text_at(read, 5),
            .fingerprint = model->fingerprint,
            .embed = model->embed,
            .prompt_tokens = (uint64_t)sqlite3_column_int64(read, 7),
            .matrix = sqlite3_column_blob(read, 8),
            .matrix_bytes = (size_t)sqlite3_column_bytes(read, 8),
        };
        status = classifier_entry_new(&row, out, err);
    }
    database_done(read);
    return status;
}

static enum limoe_status get(struct classifiers *store, struct text name,
                             const struct classifier_model *model, const struct classifier **out,
                             struct limoe_error *err) {
    bool found;
    int64_t version = 0;
    enum limoe_status status = read_number(store, VERSION, &found, &version, err);
    struct classifier_entry *entry = recall(store, name, model);
    if (status == LIMOE_OK && entry)
        status = revise(store, &entry, version, err);
    if (status != LIMOE_OK)
        return status;
    if (entry) {
        lru_touch(&store->memory, &entry->node);
        *out = classifier_hold(entry);
        return LIMOE_OK;
    }
    status = read_entry(store, READ, name, model, &entry, err);
    if (status != LIMOE_OK || !entry)
        return status;
    entry->seen = version;
    remember(store, entry);
    *out = &entry->classifier;
    return LIMOE_OK;
}

enum limoe_status classifiers_get(struct classifiers *store, struct text name,
                                  const struct classifier_model *model, const struct classifier **out,
                                  struct limoe_error *err) {
    *out = NULL;
    pthread_mutex_lock(&store->read_lock);
    const enum limoe_status status = get(store, name, model, out, err);
    pthread_mutex_unlock(&store->read_lock);
    return status;
}

enum limoe_status classifiers_next_without(struct classifiers *store, struct text after,
                                           const struct classifier_model *model,
                                           const struct classifier **out, struct limoe_error *err) {
    struct classifier_entry *entry;
    pthread_mutex_lock(&store->read_lock);
    const enum limoe_status status = read_entry(store, READ_NEXT, after, model, &entry, err);
    pthread_mutex_unlock(&store->read_lock);
    *out = entry ? &entry->classifier : NULL;
    return status;
}

/* ---- lists */

/* Into the arena; false: no memory. */
static bool keep_text(struct text text, struct arena *arena, struct text *out) {
    *out = (struct text){.data = arena_copy(arena, text.data, text.size), .size = text.size};
    return out->data != NULL;
}

static enum limoe_status fail_memory(struct limoe_error *err) {
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a list of classifiers");
}

enum limoe_status classifiers_list(struct classifiers *store, struct text after, size_t limit,
                                   struct arena *arena, struct classifier_page *out,
                                   struct limoe_error *err) {
    struct classifier_summary *summaries = arena_array(arena, limit, sizeof *summaries);
    if (!summaries)
        return fail_memory(err);
    *out = (struct classifier_page){.summaries = summaries};

    pthread_mutex_lock(&store->read_lock);
    sqlite3_stmt *list = store->read[LIST];
    bind_text(list, 1, after);
    sqlite3_bind_int64(list, 2, (int64_t)limit + 1); /* one further tells whether there is more */
    enum limoe_status status;
    bool row;
    while ((status = database_step(&store->reader, list, &row, err)) == LIMOE_OK && row) {
        out->more = out->n == limit;
        if (out->more)
            break;
        struct classifier_summary *summary = &summaries[out->n++];
        if (!keep_text(text_at(list, 0), arena, &summary->name)) {
            status = fail_memory(err);
            break;
        }
        summary->label_count = (uint64_t)sqlite3_column_int64(list, 1);
        summary->template_count = (uint64_t)sqlite3_column_int64(list, 2);
        summary->created = sqlite3_column_int64(list, 3);
        summary->updated = sqlite3_column_int64(list, 4);
    }
    database_done(list);
    pthread_mutex_unlock(&store->read_lock);
    return status;
}

/* Keeps the `most` nearest in out[*n], in order; equals by name. */
static void place(struct text name, unsigned distance, struct text *out, unsigned *distances, size_t *n,
                  size_t most) {
    size_t at = *n;
    while (at > 0 && distance < distances[at - 1])
        at--;
    if (at == most)
        return;
    if (*n < most)
        ++*n;
    for (size_t i = *n - 1; i > at; i--) {
        out[i] = out[i - 1];
        distances[i] = distances[i - 1];
    }
    out[at] = name;
    distances[at] = distance;
}

enum limoe_status classifiers_nearest(struct classifiers *store, struct text name, size_t most,
                                      struct arena *arena, struct text *out, size_t *n,
                                      struct limoe_error *err) {
    /* A name of three letters is not like every other name of three letters. */
    const unsigned limit = name.size < 4 ? 1 : name.size < 8 ? 2 : NEAREST_FAR - 1;
    unsigned *distances = arena_array(arena, most, sizeof *distances);
    if (!distances)
        return fail_memory(err);
    *n = 0;

    pthread_mutex_lock(&store->read_lock);
    sqlite3_stmt *names = store->read[NAMES];
    enum limoe_status status;
    bool row;
    while ((status = database_step(&store->reader, names, &row, err)) == LIMOE_OK && row) {
        const unsigned distance = nearest_distance(name, text_at(names, 0));
        struct text kept;
        if (distance > limit || (*n == most && distance >= distances[most - 1]))
            continue;
        if (!keep_text(text_at(names, 0), arena, &kept)) {
            status = fail_memory(err);
            break;
        }
        place(kept, distance, out, distances, n, most);
    }
    database_done(names);
    pthread_mutex_unlock(&store->read_lock);
    return status;
}
