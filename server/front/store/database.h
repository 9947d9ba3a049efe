/* database.h - a connection to the state directory's classifiers.db. Private to the store.
 *
 * It has a rollback journal and synchronous=FULL: what COMMIT has answered survives kill -9 and a power cut,
 * and what it has not answered is as if it had never begun. Several processes may have the file open. Nothing
 * of it is mapped, not even what a write-ahead log would share in memory, since somebody may cut that file
 * short.
 *
 * One thread at a time uses a connection and its statements; database_look is anybody's.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_DATABASE_H
#define LIMOE_SERVER_FRONT_STORE_DATABASE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"

#define DATABASE_FILE "classifiers.db"
/* The journal has this size on the disk from the start, so that a DELETE needs no new blocks, and a full
 * disk takes it. */
#define DATABASE_JOURNAL_BYTES 1048576
#define DATABASE_UNKNOWN       (-1) /* no version */

struct database {
    sqlite3 *handle;
    char *path;
    int code; /* SQLite's primary code of the last failure, or SQLITE_FULL where a limit was met */
};

/* Whether to go on waiting for another process's lock; `tries` so far. May sleep for a moment. */
typedef int (*database_busy)(void *context, int tries);

struct database_options {
    const char *dir;
    uint64_t most_bytes; /* of the file */
    database_busy busy;
    void *context; /* for busy */
};

/* Opens `dir`/classifiers.db for writing; makes directory (mode 0700) and file where they are missing. A
 * file that is damaged, that another program or a later version has written is refused, with a message
 * that names it. If out->code is SQLITE_BUSY another process has it locked, and a later try may succeed. */
enum limoe_status database_open(const struct database_options *options, struct database *out,
                                struct limoe_error *err);
/* A second connection, for reading only, once the first is open. */
enum limoe_status database_open_reader(const struct database_options *options, struct database *out,
                                       struct limoe_error *err);
/* Its statements are finalized. A connection that was never opened (all zero) is fine. Keeps `code`. */
void database_close(struct database *database);

/* One statement, kept for the connection's life. */
enum limoe_status database_prepare(struct database *database, const char *sql, sqlite3_stmt **out,
                                   struct limoe_error *err);
/* Steps a bound statement: *row tells whether there is a row to read. After a failure it is reset. */
enum limoe_status database_step(struct database *database, sqlite3_stmt *statement, bool *row,
                                struct limoe_error *err);
/* Steps one that returns no row, and resets it. */
enum limoe_status database_run(struct database *database, sqlite3_stmt *statement, struct limoe_error *err);
/* The first column of the first row; *found false: there is no row. */
enum limoe_status database_number(struct database *database, sqlite3_stmt *statement, bool *found,
                                  int64_t *out, struct limoe_error *err);
/* Makes a statement ready to be bound again, and lets go of what was bound to it. */
void database_done(sqlite3_stmt *statement);

/* ---- the file's version: a number in its header that each change raises by one
 *
 * A descriptor for it is opened once the database is, and closed after all connections of this process are:
 * closing any descriptor of a file takes away the locks that the process has on it (POSIX). */

int database_version_fd(const char *dir); /* -1: not now */
/* DATABASE_UNKNOWN: cannot be said, or (without `wait`) not without reading the disk. The descriptor may be
 * -1. */
int64_t database_version(int fd, bool wait);

#endif
