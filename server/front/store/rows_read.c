/* rows_read.c - one classifier, the list, and names alike: each a statement, under SQLite's shared lock while
 * it runs, so that a version read meanwhile is that of what is read. */
#include <string.h>

#include "base/error.h"
#include "server/front/store/nearest.h"
#include "server/front/store/rows.h"

#define ROW_COLUMNS                                                                                          \
    "c.id, c.name, c.created, c.updated, c.labels, c.templates, m.embed, m.prompt_tokens, m.vectors"
#define SUMMARY_COLUMNS "name, label_count, template_count, created, updated"
#define ROW_TABLES                                                                                           \
    " FROM classifier c LEFT JOIN matrix m ON m.classifier = c.id AND m.fingerprint = ?2 AND m.embed = ?3 "

static const char *const reading[ROW_READS] = {
    [ROW_REVISION] = "SELECT id FROM classifier WHERE name = ?1",
    [ROW_READ] = "SELECT " ROW_COLUMNS ROW_TABLES "WHERE c.name = ?1",
    [ROW_READ_NEXT] =
        "SELECT " ROW_COLUMNS ROW_TABLES "WHERE c.name > ?1 AND " ROW_CLIENTS
        " AND m.id IS NULL AND (?4 IS NULL OR EXISTS"
        " (SELECT 1 FROM matrix o WHERE o.classifier = c.id AND o.fingerprint = ?4)) ORDER BY c.name LIMIT 1",
    [ROW_LIST] = "SELECT " SUMMARY_COLUMNS " FROM classifier WHERE name > ?1 AND " ROW_CLIENTS
                 " ORDER BY name LIMIT ?2",
    [ROW_NAMES] = ("SELECT name FROM classifier WHERE " ROW_CLIENTS),
};

void row_reader_close(struct row_reader *reader) {
    for (size_t i = 0; i < ROW_READS; i++) {
        sqlite3_finalize(reader->read[i]);
        reader->read[i] = NULL;
    }
    database_close(&reader->database);
    reader->open = false;
}

enum limoe_status row_reader_open(struct row_reader *reader, const struct database_options *options,
                                  struct limoe_error *err) {
    if (reader->open)
        return LIMOE_OK;
    enum limoe_status status = database_open_reader(options, &reader->database, err);
    for (size_t i = 0; i < ROW_READS && status == LIMOE_OK; i++)
        status = database_prepare(&reader->database, reading[i], &reader->read[i], err);
    reader->open = status == LIMOE_OK;
    if (!reader->open)
        row_reader_close(reader);
    return status;
}

enum store_outcome row_outcome(const struct database *database, enum limoe_status status) {
    if (status == LIMOE_OK)
        return STORE_DONE;
    switch (database->code) {
    case SQLITE_BUSY:
        return STORE_BUSY;
    case SQLITE_FULL:
        return STORE_FULL;
    default:
        return STORE_FAILED;
    }
}

static void bind_text(sqlite3_stmt *statement, int at, struct text text) {
    sqlite3_bind_text64(statement, at, text.data, text.size, SQLITE_STATIC, SQLITE_UTF8);
}

static struct text text_at(sqlite3_stmt *statement, int column) {
    const char *data = (const char *)sqlite3_column_text(statement, column);
    return (struct text){.data = data ? data : "", .size = (size_t)sqlite3_column_bytes(statement, column)};
}

/* Copies a text into the arena; false if there is no memory. */
static bool keep_text(struct text text, struct arena *arena, struct text *out) {
    *out = (struct text){.data = arena_copy(arena, text.data, text.size), .size = text.size};
    return out->data != NULL;
}

static enum limoe_status fail_memory(struct limoe_error *err) {
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a list of classifiers");
}

/* ---- one */

/* The row that ROW_READ or ROW_READ_NEXT finds, and the version in which it does; *out NULL: none. */
static enum limoe_status read_entry(struct row_reader *reader, enum row_read which, struct store_job *job,
                                    int fd, struct classifier_entry **out, int64_t *version) {
    sqlite3_stmt *read = reader->read[which];
    bool found;
    *out = NULL;
    bind_text(read, 1, job->name);
    sqlite3_bind_text(read, 2, job->model.fingerprint, -1, SQLITE_STATIC);
    sqlite3_bind_int64(read, 3, job->model.embed);
    if (which == ROW_READ_NEXT)
        sqlite3_bind_text(read, 4, job->like, -1, SQLITE_STATIC); /* NULL binds NULL */
    enum limoe_status status = database_step(&reader->database, read, &found, &job->error);
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
            .fingerprint = job->model.fingerprint,
            .embed = job->model.embed,
            .prompt_tokens = (uint64_t)sqlite3_column_int64(read, 7),
            .matrix = sqlite3_column_blob(read, 8),
            .matrix_bytes = (size_t)sqlite3_column_bytes(read, 8),
        };
        *version = database_version(fd, true);
        status = classifier_entry_new(&row, out, &job->error);
    }
    database_done(read);
    return status;
}

/* Whether the shelf's classifier is still what the file holds; then job->classifier. */
static enum limoe_status revise(struct row_reader *reader, int fd, struct shelf *shelf,
                                struct store_job *job) {
    int64_t version, id = 0;
    bool row = false;
    const struct classifier *kept = shelf_find(shelf, job->name, &job->model, &version);
    if (!kept)
        return LIMOE_OK;
    sqlite3_stmt *read = reader->read[ROW_REVISION];
    bind_text(read, 1, job->name);
    const enum limoe_status status = database_step(&reader->database, read, &row, &job->error);
    if (status == LIMOE_OK) {
        version = database_version(fd, true);
        id = row ? sqlite3_column_int64(read, 0) : 0;
        database_done(read);
    }
    /* Where there was no matrix, one may have come meanwhile. */
    if (status == LIMOE_OK && row && id == classifier_revision(kept) && kept->matrix) {
        shelf_confirm(shelf, kept, version);
        job->classifier = kept;
        return LIMOE_OK;
    }
    if (status == LIMOE_OK)
        shelf_forget(shelf, job->name);
    classifier_release(kept);
    return status;
}

/* Keeps the nearest in job->nearest, in order; equals as they come. */
static void insert(struct store_job *job, struct text name, unsigned distance, unsigned *distances) {
    size_t at = job->n_nearest;
    while (at > 0 && distance < distances[at - 1])
        at--;
    if (at == STORE_NEAREST)
        return;
    if (job->n_nearest < STORE_NEAREST)
        ++job->n_nearest;
    for (size_t i = job->n_nearest - 1; i > at; i--) {
        job->nearest[i] = job->nearest[i - 1];
        distances[i] = distances[i - 1];
    }
    job->nearest[at] = name;
    distances[at] = distance;
}

static enum limoe_status find_nearest(struct row_reader *reader, struct store_job *job) {
    /* A name of three letters is not like every other name of three letters. */
    const size_t size = job->name.size;
    const unsigned limit = size < 4 ? 1 : size < 8 ? 2 : NEAREST_FAR - 1;
    unsigned distances[STORE_NEAREST] = {0};
    sqlite3_stmt *names = reader->read[ROW_NAMES];
    enum limoe_status status;
    bool row;
    while ((status = database_step(&reader->database, names, &row, &job->error)) == LIMOE_OK && row) {
        const unsigned distance = nearest_distance(job->name, text_at(names, 0));
        struct text kept;
        if (distance > limit || (job->n_nearest == STORE_NEAREST && distance >= distances[STORE_NEAREST - 1]))
            continue;
        if (!keep_text(text_at(names, 0), job->arena, &kept)) {
            status = fail_memory(&job->error);
            break;
        }
        insert(job, kept, distance, distances);
    }
    database_done(names);
    return status;
}

static enum limoe_status get(struct row_reader *reader, int fd, struct shelf *shelf, struct store_job *job) {
    struct classifier_entry *entry;
    int64_t version;
    enum limoe_status status = revise(reader, fd, shelf, job);
    job->found = job->classifier != NULL;
    if (status != LIMOE_OK || job->found)
        return status;
    status = read_entry(reader, ROW_READ, job, fd, &entry, &version);
    if (status != LIMOE_OK)
        return status;
    if (!entry)
        return find_nearest(reader, job);
    job->found = true;
    job->classifier = &entry->classifier;
    if (version != DATABASE_UNKNOWN)
        shelf_keep(shelf, job->classifier, version);
    return LIMOE_OK;
}

static enum limoe_status next_without(struct row_reader *reader, int fd, struct store_job *job) {
    struct classifier_entry *entry;
    int64_t version;
    const enum limoe_status status = read_entry(reader, ROW_READ_NEXT, job, fd, &entry, &version);
    job->found = entry != NULL;
    job->classifier = entry ? &entry->classifier : NULL;
    return status;
}

/* ---- the list */

static enum limoe_status list(struct row_reader *reader, struct store_job *job) {
    struct classifier_summary *summaries = arena_array(job->arena, job->limit, sizeof *summaries);
    struct classifier_page *page = &job->page;
    if (!summaries)
        return fail_memory(&job->error);
    page->summaries = summaries;
    sqlite3_stmt *list = reader->read[ROW_LIST];
    bind_text(list, 1, job->name);
    sqlite3_bind_int64(list, 2, (int64_t)job->limit + 1); /* one further tells whether there is more */
    enum limoe_status status;
    bool row;
    while ((status = database_step(&reader->database, list, &row, &job->error)) == LIMOE_OK && row) {
        page->more = page->n == job->limit;
        if (page->more)
            break;
        struct classifier_summary *summary = &summaries[page->n++];
        if (!keep_text(text_at(list, 0), job->arena, &summary->name)) {
            status = fail_memory(&job->error);
            break;
        }
        summary->label_count = (uint64_t)sqlite3_column_int64(list, 1);
        summary->template_count = (uint64_t)sqlite3_column_int64(list, 2);
        summary->created = sqlite3_column_int64(list, 3);
        summary->updated = sqlite3_column_int64(list, 4);
    }
    database_done(list);
    return status;
}

/* ---- */

/* Reads something, which waits, as any reading does, for whoever writes. */
static enum limoe_status probe(struct row_reader *reader, struct store_job *job) {
    bool row;
    int64_t id;
    bind_text(reader->read[ROW_REVISION], 1, text_of(""));
    return database_number(&reader->database, reader->read[ROW_REVISION], &row, &id, &job->error);
}

void row_read(struct row_reader *reader, int fd, struct shelf *shelf, struct store_job *job) {
    enum limoe_status status;
    reader->database.code = SQLITE_OK;
    switch (job->operation) {
    case STORE_GET:
        status = get(reader, fd, shelf, job);
        break;
    case STORE_NEXT_WITHOUT:
        status = next_without(reader, fd, job);
        break;
    case STORE_LIST:
        status = list(reader, job);
        break;
    default:
        status = probe(reader, job);
        break;
    }
    job->outcome = row_outcome(&reader->database, status);
}
