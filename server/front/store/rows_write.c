/* rows_write.c - PUT, DELETE, and another model's matrix: each a transaction.
 *
 * A transaction holds the only right to write from its BEGIN on, so the version at its BEGIN and the one
 * after its COMMIT are neighbours, and what this server has in memory of all others' rows stays right
 * (shelf.h).
 */
#include <time.h>

#include "base/error.h"
#include "server/front/store/rows.h"

/* Pages that a change may take besides those of its texts and matrix: of trees that grow. */
#define PAGES_BESIDES 16

static const char *const writing[ROW_WRITES] = {
    [ROW_BEGIN] = "BEGIN IMMEDIATE",
    [ROW_COMMIT] = "COMMIT",
    [ROW_ROLLBACK] = "ROLLBACK",
    [ROW_COUNT] = "SELECT count(*) FROM classifier WHERE " ROW_CLIENTS,
    [ROW_REMOVE] = "DELETE FROM classifier WHERE name = ?1 RETURNING created",
    [ROW_INSERT] =
        "INSERT INTO classifier(name, created, updated, label_count, template_count, labels, templates)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    /* Of a row that is gone, nothing is inserted. */
    [ROW_INSERT_MATRIX] = "INSERT OR REPLACE INTO matrix(classifier, fingerprint, label_count, embed,"
                          " prompt_tokens, vectors)"
                          " SELECT id, ?2, label_count, ?3, ?4, ?5 FROM classifier WHERE id = ?1",
    /* Leaves the latest of those of other models, so that going back to one costs nothing. */
    [ROW_TRIM_MATRICES] = "DELETE FROM matrix WHERE classifier = ?1 AND fingerprint <> ?2 AND id NOT IN"
                          " (SELECT id FROM matrix WHERE classifier = ?1 AND fingerprint <> ?2"
                          " ORDER BY id DESC LIMIT ?3)",
    [ROW_PAGES] = "PRAGMA page_count",
    [ROW_FREE_PAGES] = "PRAGMA freelist_count",
    [ROW_PAGE_SIZE] = "PRAGMA page_size",
};

void row_writer_close(struct row_writer *writer) {
    for (size_t i = 0; i < ROW_WRITES; i++) {
        sqlite3_finalize(writer->write[i]);
        writer->write[i] = NULL;
    }
    database_close(&writer->database);
    writer->open = false;
}

enum limoe_status row_writer_open(struct row_writer *writer, const struct database_options *options,
                                  struct limoe_error *err) {
    if (writer->open)
        return LIMOE_OK;
    enum limoe_status status = database_open(options, &writer->database, err);
    for (size_t i = 0; i < ROW_WRITES && status == LIMOE_OK; i++)
        status = database_prepare(&writer->database, writing[i], &writer->write[i], err);
    writer->open = status == LIMOE_OK;
    if (!writer->open)
        row_writer_close(writer);
    return status;
}

/* ---- within a transaction */

static void bind_text(sqlite3_stmt *statement, int at, struct text text) {
    sqlite3_bind_text64(statement, at, text.data, text.size, SQLITE_STATIC, SQLITE_UTF8);
}

static enum limoe_status run(struct row_writer *writer, enum row_write which, struct limoe_error *err) {
    return database_run(&writer->database, writer->write[which], err);
}

static enum limoe_status number(struct row_writer *writer, enum row_write which, int64_t *out,
                                struct limoe_error *err) {
    bool found;
    return database_number(&writer->database, writer->write[which], &found, out, err);
}

/* Pages in use; those that deletions have left free are not. */
static enum limoe_status count_pages(struct row_writer *writer, int64_t *used, int64_t *size,
                                     struct limoe_error *err) {
    int64_t pages, unused;
    enum limoe_status status = number(writer, ROW_PAGES, &pages, err);
    if (status == LIMOE_OK)
        status = number(writer, ROW_FREE_PAGES, &unused, err);
    if (status == LIMOE_OK)
        status = number(writer, ROW_PAGE_SIZE, size, err);
    if (status != LIMOE_OK)
        return status;
    *used = pages - unused;
    atomic_store(&writer->bytes, (uint64_t)(*used * *size));
    return LIMOE_OK;
}

static enum limoe_status check_bytes(struct row_writer *writer, const struct store_job *job,
                                     struct limoe_error *err) {
    int64_t used, page;
    const enum limoe_status status = count_pages(writer, &used, &page, err);
    if (status != LIMOE_OK)
        return status;
    const size_t bytes =
        job->labels.size + job->templates.size + job->n_labels * job->model.embed * sizeof *job->matrix;
    const uint64_t needed =
        bytes / (size_t)(page - 4) + PAGES_BESIDES; /* an overflow page links to the next */
    if (((uint64_t)used + needed) * (uint64_t)page <= writer->most_bytes)
        return LIMOE_OK;
    writer->database.code = SQLITE_FULL;
    return limoe_fail(err, LIMOE_TOO_LARGE,
                      "the classifiers take %llu bytes, and this one would take %llu; --classifier-bytes "
                      "accepts %llu in all: delete one first",
                      (unsigned long long)used * (unsigned long long)page,
                      (unsigned long long)needed * (unsigned long long)page,
                      (unsigned long long)writer->most_bytes);
}

/* *created: of the one that was there, else as it was. */
static enum limoe_status remove_row(struct row_writer *writer, struct text name, bool *found,
                                    int64_t *created, struct limoe_error *err) {
    sqlite3_stmt *remove = writer->write[ROW_REMOVE];
    bind_text(remove, 1, name);
    enum limoe_status status = database_step(&writer->database, remove, found, err);
    if (status != LIMOE_OK)
        return status;
    if (*found) {
        bool row;
        *created = sqlite3_column_int64(remove, 0);
        status = database_step(&writer->database, remove, &row, err); /* to its end, where it is made */
    }
    database_done(remove);
    return status;
}

static enum limoe_status check_count(struct row_writer *writer, struct store_job *job,
                                     struct limoe_error *err) {
    int64_t count;
    const enum limoe_status status = number(writer, ROW_COUNT, &count, err);
    if (status != LIMOE_OK || count < (int64_t)writer->most)
        return status;
    job->outcome = STORE_TOO_MANY;
    return limoe_fail(err, LIMOE_TOO_LARGE,
                      "%zu classifiers are stored, as many as are accepted; delete one first", writer->most);
}

static enum limoe_status insert(struct row_writer *writer, const struct store_job *job,
                                struct limoe_error *err) {
    sqlite3_stmt *insert = writer->write[ROW_INSERT];
    bind_text(insert, 1, job->name);
    sqlite3_bind_int64(insert, 2, job->created);
    sqlite3_bind_int64(insert, 3, job->updated);
    sqlite3_bind_int64(insert, 4, (int64_t)job->n_labels);
    sqlite3_bind_int64(insert, 5, (int64_t)job->n_templates);
    bind_text(insert, 6, job->labels);
    bind_text(insert, 7, job->templates);
    return run(writer, ROW_INSERT, err);
}

static enum limoe_status insert_matrix(struct row_writer *writer, const struct store_job *job, int64_t id,
                                       struct limoe_error *err) {
    /* Stored as it lies in memory, which is little-endian on every machine this builds for (answer.c). */
    sqlite3_stmt *insert = writer->write[ROW_INSERT_MATRIX];
    sqlite3_bind_int64(insert, 1, id);
    sqlite3_bind_text(insert, 2, job->model.fingerprint, -1, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 3, job->model.embed);
    sqlite3_bind_int64(insert, 4, (int64_t)job->prompt_tokens);
    sqlite3_bind_blob64(insert, 5, job->matrix, job->n_labels * job->model.embed * sizeof *job->matrix,
                        SQLITE_STATIC);
    return run(writer, ROW_INSERT_MATRIX, err);
}

/* ---- the changes; *changed: there is something to commit */

static enum limoe_status put(struct row_writer *writer, struct store_job *job, bool *changed,
                             struct limoe_error *err) {
    bool found;
    job->created = job->updated = time(NULL);
    enum limoe_status status = remove_row(writer, job->name, &found, &job->created, err);
    if (status == LIMOE_OK && !found)
        status = check_count(writer, job, err);
    if (status == LIMOE_OK)
        status = check_bytes(writer, job, err);
    if (status == LIMOE_OK)
        status = insert(writer, job, err);
    if (status == LIMOE_OK) {
        job->revision = sqlite3_last_insert_rowid(writer->database.handle);
        status = insert_matrix(writer, job, job->revision, err);
    }
    *changed = true;
    return status;
}

static enum limoe_status put_matrix(struct row_writer *writer, struct store_job *job, bool *changed,
                                    struct limoe_error *err) {
    sqlite3_stmt *trim = writer->write[ROW_TRIM_MATRICES];
    sqlite3_bind_int64(trim, 1, job->revision);
    sqlite3_bind_text(trim, 2, job->model.fingerprint, -1, SQLITE_STATIC);
    sqlite3_bind_int64(trim, 3, (sqlite3_int64)writer->others);
    enum limoe_status status = run(writer, ROW_TRIM_MATRICES, err);
    if (status == LIMOE_OK)
        status = check_bytes(writer, job, err);
    if (status == LIMOE_OK)
        status = insert_matrix(writer, job, job->revision, err);
    *changed = status == LIMOE_OK && sqlite3_changes64(writer->database.handle) > 0;
    return status;
}

static enum limoe_status change(struct row_writer *writer, struct store_job *job, bool *changed,
                                struct limoe_error *err) {
    int64_t used, size, created;
    enum limoe_status status = LIMOE_OK;
    *changed = false;
    switch (job->operation) {
    case STORE_PUT:
        return put(writer, job, changed, err);
    case STORE_PUT_MATRIX:
        return put_matrix(writer, job, changed, err);
    case STORE_DELETE:
        status = remove_row(writer, job->name, &job->found, &created, err);
        *changed = status == LIMOE_OK && job->found;
        return status;
    default:
        return count_pages(writer, &used, &size, err);
    }
}

/* Keeps what was put: a classification by it needs no disk. Without memory for it, it is read when it is
 * used. */
static void keep(struct shelf *shelf, const struct store_job *job, int64_t version) {
    const struct classifier_row row = {
        .id = job->revision,
        .created = job->created,
        .updated = job->updated,
        .name = job->name,
        .labels = job->labels,
        .templates = job->templates,
        .fingerprint = job->model.fingerprint,
        .matrix = job->matrix,
        .matrix_bytes = job->n_labels * job->model.embed * sizeof *job->matrix,
        .embed = job->model.embed,
        .prompt_tokens = job->prompt_tokens,
    };
    struct classifier_entry *entry;
    if (classifier_entry_new(&row, &entry, NULL) != LIMOE_OK)
        return;
    shelf_keep(shelf, &entry->classifier, version);
    classifier_release(&entry->classifier);
}

void row_write(struct row_writer *writer, int fd, struct shelf *shelf, struct store_job *job) {
    struct database *database = &writer->database;
    bool changed = false;
    database->code = SQLITE_OK;
    job->outcome = STORE_DONE;
    enum limoe_status status = run(writer, ROW_BEGIN, &job->error);
    const int64_t version = database_version(fd, true);
    if (status == LIMOE_OK)
        status = change(writer, job, &changed, &job->error);
    if (status == LIMOE_OK && changed)
        status = run(writer, ROW_COMMIT, &job->error);
    const int code = database->code;
    if (!sqlite3_get_autocommit(database->handle))
        run(writer, ROW_ROLLBACK, NULL);
    database->code = code;
    if (job->outcome == STORE_DONE)
        job->outcome = row_outcome(database, status);
    if (status != LIMOE_OK || !changed)
        return;
    if (version == DATABASE_UNKNOWN) {
        shelf_forget(shelf, job->name);
        return;
    }
    shelf_changed(shelf, job->name, version);
    if (job->operation == STORE_PUT)
        keep(shelf, job, version + 1);
}
