/* database.c - opening, checking and making the file; SQLite's codes in liblimoe's terms. */
#include "store/database.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"

#define APPLICATION_ID   0x6c696d6f /* "limo": tells our files from other programs' */
#define SCHEMA_VERSION   1
#define TEXT_OF(number)  TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* How long a statement waits while another process writes. */
#define BUSY_MILLISECONDS 10000

/* A change replaces a classifier's row, so its id is also its revision: AUTOINCREMENT never gives one twice.
 * The counts stand before the lists, so that listing does not read through these. A matrix is
 * [label_count, embed] little-endian float32 for one fingerprint of a model. */
static const char schema[] =
    "CREATE TABLE classifier("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL UNIQUE,"
    " created INTEGER NOT NULL,"
    " updated INTEGER NOT NULL,"
    " label_count INTEGER NOT NULL,"
    " template_count INTEGER NOT NULL,"
    " labels TEXT NOT NULL,"
    " templates TEXT NOT NULL);"
    "CREATE TABLE matrix("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " classifier INTEGER NOT NULL REFERENCES classifier(id) ON DELETE CASCADE,"
    " fingerprint TEXT NOT NULL,"
    " label_count INTEGER NOT NULL,"
    " embed INTEGER NOT NULL,"
    " prompt_tokens INTEGER NOT NULL,"
    " vectors BLOB NOT NULL,"
    " UNIQUE(classifier, fingerprint));"
    "PRAGMA application_id = " TEXT_OF(APPLICATION_ID) ";"
                                                       "PRAGMA user_version = " TEXT_OF(SCHEMA_VERSION) ";";

static enum limoe_status fail(const struct database *database, struct limoe_error *err) {
    const int code = sqlite3_extended_errcode(database->handle);
    enum limoe_status status = LIMOE_IO;
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        status = LIMOE_NO_MEMORY;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        status = LIMOE_CORRUPT;
        break;
    default:
        break;
    }
    return limoe_fail(err, status, "%s: %s", database->path, sqlite3_errmsg(database->handle));
}

/* ---- statements */

enum limoe_status database_prepare(struct database *database, const char *sql, sqlite3_stmt **out,
                                   struct limoe_error *err) {
    if (sqlite3_prepare_v3(database->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return fail(database, err);
    return LIMOE_OK;
}

enum limoe_status database_step(struct database *database, sqlite3_stmt *statement, bool *row,
                                struct limoe_error *err) {
    const int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        return LIMOE_OK;
    const enum limoe_status status = fail(database, err);
    database_done(statement);
    return status;
}

enum limoe_status database_run(struct database *database, sqlite3_stmt *statement, struct limoe_error *err) {
    bool row;
    const enum limoe_status status = database_step(database, statement, &row, err);
    if (status == LIMOE_OK)
        database_done(statement);
    return status;
}

void database_done(sqlite3_stmt *statement) {
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

static enum limoe_status execute(struct database *database, const char *sql, struct limoe_error *err) {
    if (sqlite3_exec(database->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        return fail(database, err);
    return LIMOE_OK;
}

/* The first column of the only row, as text. */
static enum limoe_status ask(struct database *database, const char *sql, char *out, size_t limit,
                             struct limoe_error *err) {
    sqlite3_stmt *statement = NULL;
    bool row = false;
    enum limoe_status status = database_prepare(database, sql, &statement, err);
    if (status == LIMOE_OK)
        status = database_step(database, statement, &row, err);
    if (status == LIMOE_OK)
        snprintf(out, limit, "%s", row ? (const char *)sqlite3_column_text(statement, 0) : "");
    sqlite3_finalize(statement);
    return status;
}

/* ---- opening */

/* `dir` and what is missing above it. */
static enum limoe_status make_directory(const char *dir, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    char *path = strdup(dir);
    if (!path)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a path");
    for (char *slash = path + 1; status == LIMOE_OK; slash++) {
        slash = strchrnul(slash, '/');
        const char end = *slash;
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            status = limoe_fail(err, LIMOE_IO, "%s: cannot make this directory: %s", path, strerror(errno));
        *slash = end;
        if (!end)
            break;
    }
    free(path);
    return status;
}

/* Connections of their own are locked by ours: NOMUTEX spares SQLite's. */
static enum limoe_status connect_to(struct database *database, struct limoe_error *err) {
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    const int code = sqlite3_open_v2(database->path, &database->handle, flags, NULL);
    if (!database->handle)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory to open it", database->path);
    if (code != SQLITE_OK)
        return limoe_fail(err, LIMOE_IO, "%s: cannot open it: %s", database->path,
                          sqlite3_errmsg(database->handle));
    sqlite3_busy_timeout(database->handle, BUSY_MILLISECONDS);
    return LIMOE_OK;
}

/* Whether the file is ours, or *fresh: nothing is in it yet. */
static enum limoe_status recognise(struct database *database, bool *fresh, struct limoe_error *err) {
    char application[16], version[16], tables[16];
    enum limoe_status status = ask(database, "PRAGMA application_id", application, sizeof application, err);
    if (status == LIMOE_OK)
        status = ask(database, "PRAGMA user_version", version, sizeof version, err);
    if (status == LIMOE_OK)
        status = ask(database, "SELECT count(*) FROM sqlite_schema", tables, sizeof tables, err);
    if (status != LIMOE_OK)
        return status;
    *fresh = atoll(application) == 0 && atoll(tables) == 0;
    if (*fresh)
        return LIMOE_OK;
    if (atoll(application) != APPLICATION_ID)
        return limoe_fail(err, LIMOE_CORRUPT,
                          "%s: a database of another program (application id %s); move it away, or name "
                          "another state directory",
                          database->path, application);
    if (atoll(version) != SCHEMA_VERSION)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "%s: has schema version %s; this limoe reads and writes version %d", database->path,
                          version, SCHEMA_VERSION);
    return LIMOE_OK;
}

static enum limoe_status make_tables(struct database *database, struct limoe_error *err) {
    bool fresh = false;
    enum limoe_status status = execute(database, "BEGIN IMMEDIATE", err);
    if (status != LIMOE_OK)
        return status;
    status = recognise(database, &fresh, err); /* another process may have made them just now */
    if (status == LIMOE_OK && fresh)
        status = execute(database, schema, err);
    if (status == LIMOE_OK)
        status = execute(database, "COMMIT", err);
    if (status != LIMOE_OK)
        execute(database, "ROLLBACK", NULL);
    return status;
}

/* Reads the whole file once: damage is found at start, not in the middle of a request. */
static enum limoe_status check(struct database *database, struct limoe_error *err) {
    char found[256];
    const enum limoe_status status = ask(database, "PRAGMA quick_check(1)", found, sizeof found, err);
    if (status == LIMOE_OK && strcmp(found, "ok") != 0)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: damaged: %s; restore it from a backup or move it away",
                          database->path, found);
    return status;
}

static enum limoe_status use_log(struct database *database, struct limoe_error *err) {
    char mode[16];
    const enum limoe_status status = ask(database, "PRAGMA journal_mode = WAL", mode, sizeof mode, err);
    if (status == LIMOE_OK && strcmp(mode, "wal") != 0)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "%s: the file system does not support a write-ahead log (it needs shared memory); "
                          "name a state directory on a local one",
                          database->path);
    return status;
}

enum limoe_status database_open(const char *dir, struct database *out, struct limoe_error *err) {
    /* FULL: COMMIT returns once the log is on the disk. The limit: one huge change does not leave a huge log.
     */
    static const char settings[] =
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864";
    bool fresh;
    *out = (struct database){0};
    if (asprintf(&out->path, "%s/%s", dir, DATABASE_FILE) < 0) {
        out->path = NULL;
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a path");
    }
    enum limoe_status status = make_directory(dir, err);
    if (status == LIMOE_OK)
        status = connect_to(out, err);
    if (status == LIMOE_OK)
        status = recognise(out, &fresh, err); /* before anything of it is changed */
    if (status == LIMOE_OK)
        status = use_log(out, err);
    if (status == LIMOE_OK)
        status = execute(out, settings, err);
    if (status == LIMOE_OK)
        status = make_tables(out, err);
    if (status == LIMOE_OK)
        status = check(out, err);
    if (status != LIMOE_OK)
        database_close(out);
    return status;
}

enum limoe_status database_open_reader(const struct database *writer, struct database *out,
                                       struct limoe_error *err) {
    *out = (struct database){.path = strdup(writer->path)};
    if (!out->path)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a path");
    enum limoe_status status = connect_to(out, err);
    if (status == LIMOE_OK)
        status = execute(out, "PRAGMA query_only = ON", err);
    if (status != LIMOE_OK)
        database_close(out);
    return status;
}

void database_close(struct database *database) {
    sqlite3_close(database->handle);
    free(database->path);
    *database = (struct database){0};
}
