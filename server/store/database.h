/* database.h - a connection to the state directory's classifiers.db. Private to the store.
 *
 * SQLite's write-ahead log with synchronous=FULL: what COMMIT has answered survives kill -9 and a power cut,
 * and what it has not answered is as if it had never begun. Several processes may have the file open.
 *
 * One thread at a time uses a connection and its statements.
 */
#ifndef LIMOE_DATABASE_H
#define LIMOE_DATABASE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "limoe.h"

#define DATABASE_FILE "classifiers.db"

struct database {
    sqlite3 *handle;
    char *path;
};

/* Opens `dir`/classifiers.db for writing; makes directory (mode 0700) and file where they are missing.
 * Refused with a message that names the file: one that is damaged, that something else wrote, or a later
 * version. */
enum limoe_status database_open(const char *dir, struct database *out, struct limoe_error *err);
/* A second connection, for reading only, once the first is open. */
enum limoe_status database_open_reader(const struct database *writer, struct database *out,
                                       struct limoe_error *err);
/* Its statements are finalized. A connection that was never opened (all zero) is fine. */
void database_close(struct database *database);

/* One statement, kept for the connection's life. */
enum limoe_status database_prepare(struct database *database, const char *sql, sqlite3_stmt **out,
                                   struct limoe_error *err);
/* Steps a bound statement: *row tells whether there is a row to read. After a failure it is reset. */
enum limoe_status database_step(struct database *database, sqlite3_stmt *statement, bool *row,
                                struct limoe_error *err);
/* Steps one that returns no row, and resets it. */
enum limoe_status database_run(struct database *database, sqlite3_stmt *statement, struct limoe_error *err);
/* Makes a statement ready to be bound again, and lets go of what was bound to it. */
void database_done(sqlite3_stmt *statement);

#endif
