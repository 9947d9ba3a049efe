/* database.c - opens, checks and makes the file, and translates SQLite's codes to liblimoe's. */
#include "server/front/store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"

#define APPLICATION_ID   0x6c696d6f /* "limo": tells our files from other programs' */
#define SCHEMA_VERSION   1
#define TEXT_OF(number)  TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* In the file's header (https://www.sqlite.org/fileformat.html): two bytes that say whether there is a
 * write-ahead log, and the change counter, which changes in such a log do not raise. */
#define HEADER_AT        18
#define HEADER_SIZE      10
#define HEADER_COUNTER   6
#define ROLLBACK_JOURNAL 1
#define WRITE_AHEAD_LOG  2

#define MOST_PAGES UINT64_C(1073741823) /* that SQLite accepts from all its versions */

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

static enum limoe_status fail(struct database *database, struct limoe_error *err) {
    enum limoe_status status = LIMOE_IO;
    database->code = sqlite3_errcode(database->handle) & 0xff;
    switch (database->code) {
    case SQLITE_LOCKED:
        database->code = SQLITE_BUSY;
        /* fall through */
    case SQLITE_BUSY:
        return limoe_fail(err, status, "%s is locked by another process", database->path);
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

enum limoe_status database_number(struct database *database, sqlite3_stmt *statement, bool *found,
                                  int64_t *out, struct limoe_error *err) {
    const enum limoe_status status = database_step(database, statement, found, err);
    if (status != LIMOE_OK)
        return status;
    *out = *found ? sqlite3_column_int64(statement, 0) : 0;
    database_done(statement);
    return LIMOE_OK;
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

/* A connection is one thread's: NOMUTEX spares SQLite's locks. */
static enum limoe_status connect_to(const struct database_options *options, struct database *database,
                                    struct limoe_error *err) {
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    *database = (struct database){0};
    if (asprintf(&database->path, "%s/%s", options->dir, DATABASE_FILE) < 0) {
        database->path = NULL;
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a path");
    }
    const int code = sqlite3_open_v2(database->path, &database->handle, flags, NULL);
    if (!database->handle)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory to open it", database->path);
    if (code != SQLITE_OK)
        return limoe_fail(err, LIMOE_IO, "%s: cannot open it: %s", database->path,
                          sqlite3_errmsg(database->handle));
    sqlite3_busy_handler(database->handle, options->busy, options->context);
    /* Temporary files would need room on a disk, and a mapped file that is cut short ends the process. */
    return execute(database, "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY", err);
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

/* ---- the journal */

/* The header's bytes; false: there are none, or not without `flags` allowing it. */
static bool read_header(int fd, int flags, unsigned char *header) {
    struct iovec into = {.iov_base = header, .iov_len = HEADER_SIZE};
    return preadv2(fd, &into, 1, HEADER_AT, flags) == HEADER_SIZE;
}

static bool has_log(const char *path) {
    unsigned char header[HEADER_SIZE];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool log = fd >= 0 && read_header(fd, 0, header) && header[0] == WRITE_AHEAD_LOG;
    if (fd >= 0)
        close(fd);
    return log;
}

/* A file that an earlier version wrote has a write-ahead log: it is taken into the file. Locked for itself,
 * SQLite does that without the shared memory that such a log needs else. */
static enum limoe_status convert(const struct database_options *options, struct limoe_error *err, int *code) {
    struct database database;
    char mode[16] = "";
    bool fresh;
    enum limoe_status status = connect_to(options, &database, err);
    if (status == LIMOE_OK)
        status = execute(&database, "PRAGMA locking_mode = EXCLUSIVE", err);
    if (status == LIMOE_OK)
        status = recognise(&database, &fresh, err);
    if (status == LIMOE_OK)
        status = ask(&database, "PRAGMA journal_mode = DELETE", mode, sizeof mode, err);
    if (status == LIMOE_OK && strcmp(mode, "delete") != 0) {
        database.code = SQLITE_BUSY;
        status = limoe_fail(err, LIMOE_IO, "%s is in use by an earlier version of limoe; stop that first",
                            database.path);
    }
    *code = database.code;
    database_close(&database);
    return status;
}

static enum limoe_status use_journal(struct database *database, struct limoe_error *err) {
    char mode[16];
    const enum limoe_status status = ask(database, "PRAGMA journal_mode = PERSIST", mode, sizeof mode, err);
    if (status == LIMOE_OK && strcmp(mode, "persist") != 0)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%s: SQLite keeps no journal of it, but \"%s\"",
                          database->path, mode);
    return status;
}

/* Has the journal's blocks allocated, in a transaction so that nobody else is at it. It may fail: then a
 * DELETE on a full disk will, too. */
static void reserve_journal(struct database *database) {
    struct stat found;
    char *path = NULL;
    if (asprintf(&path, "%s-journal", database->path) < 0)
        return;
    const bool there = stat(path, &found) == 0 && found.st_size >= DATABASE_JOURNAL_BYTES &&
                       (int64_t)found.st_blocks * 512 >= DATABASE_JOURNAL_BYTES;
    if (!there && execute(database, "BEGIN IMMEDIATE; PRAGMA user_version = " TEXT_OF(SCHEMA_VERSION),
                          NULL) == LIMOE_OK) {
        const int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd >= 0) {
            if (fallocate(fd, 0, 0, DATABASE_JOURNAL_BYTES) == 0)
                fsync(fd);
            close(fd);
        }
        execute(database, "COMMIT", NULL);
    }
    if (!sqlite3_get_autocommit(database->handle))
        execute(database, "ROLLBACK", NULL);
    free(path);
}

static enum limoe_status bound(struct database *database, uint64_t most_bytes, struct limoe_error *err) {
    char size[16], set[16], pragma[64];
    enum limoe_status status = ask(database, "PRAGMA page_size", size, sizeof size, err);
    if (status != LIMOE_OK)
        return status;
    const uint64_t pages = most_bytes / (uint64_t)atoll(size);
    snprintf(pragma, sizeof pragma, "PRAGMA max_page_count = %" PRIu64,
             pages < MOST_PAGES ? pages : MOST_PAGES);
    return ask(database, pragma, set, sizeof set, err);
}

/* ---- opening */

static enum limoe_status open_converted(const struct database_options *options, struct database *out,
                                        struct limoe_error *err) {
    /* FULL: COMMIT returns once the journal's end is on the disk. FAST: what is deleted is overwritten where
     * that costs no writing of its own; with ON, a DELETE would need a journal of all that it deletes. */
    static const char settings[] =
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete "
        "= FAST; PRAGMA journal_size_limit = " TEXT_OF(DATABASE_JOURNAL_BYTES);
    bool fresh;
    enum limoe_status status = connect_to(options, out, err);
    if (status == LIMOE_OK)
        status = recognise(out, &fresh, err); /* before anything of it is changed */
    if (status == LIMOE_OK)
        status = use_journal(out, err);
    if (status == LIMOE_OK)
        status = execute(out, settings, err);
    if (status == LIMOE_OK && fresh)
        status = make_tables(out, err);
    if (status == LIMOE_OK)
        status = check(out, err);
    if (status == LIMOE_OK)
        status = bound(out, options->most_bytes, err);
    if (status == LIMOE_OK)
        reserve_journal(out);
    return status;
}

enum limoe_status database_open(const struct database_options *options, struct database *out,
                                struct limoe_error *err) {
    char *path;
    *out = (struct database){0};
    if (asprintf(&path, "%s/%s", options->dir, DATABASE_FILE) < 0)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a path");
    enum limoe_status status = make_directory(options->dir, err);
    if (status == LIMOE_OK && has_log(path))
        status = convert(options, err, &out->code);
    free(path);
    if (status == LIMOE_OK)
        status = open_converted(options, out, err);
    if (status != LIMOE_OK)
        database_close(out);
    return status;
}

enum limoe_status database_open_reader(const struct database_options *options, struct database *out,
                                       struct limoe_error *err) {
    enum limoe_status status = connect_to(options, out, err);
    if (status == LIMOE_OK)
        status = execute(out, "PRAGMA query_only = ON", err);
    if (status != LIMOE_OK)
        database_close(out);
    return status;
}

void database_close(struct database *database) {
    sqlite3_close(database->handle);
    free(database->path);
    *database = (struct database){.code = database->code};
}

/* ---- the version */

int database_version_fd(const char *dir) {
    char *path;
    if (asprintf(&path, "%s/%s", dir, DATABASE_FILE) < 0)
        return -1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    return fd;
}

int64_t database_version(int fd, bool wait) {
    unsigned char header[HEADER_SIZE];
    if (fd < 0)
        return DATABASE_UNKNOWN;
    bool read = read_header(fd, wait ? 0 : RWF_NOWAIT, header);
    if (!read && !wait && errno != EAGAIN) /* a file system that does not know the flag */
        read = read_header(fd, 0, header);
    if (!read || header[0] != ROLLBACK_JOURNAL)
        return DATABASE_UNKNOWN;
    const unsigned char *counter = header + HEADER_COUNTER;
    return (int64_t)counter[0] << 24 | counter[1] << 16 | counter[2] << 8 | counter[3];
}
