/* rows.h - the statements and transactions of classifiers.db. Private to the store.
 *
 * Each works at the disk, on the thread that has the connection. Failures are in the job's error and outcome.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_ROWS_H
#define LIMOE_SERVER_FRONT_STORE_ROWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "server/front/store/database.h"
#include "server/front/store/job.h"
#include "server/front/store/shelf.h"

/* What is a client's. Names of the program's own classifiers begin with a colon, as no client's can: they are found by
 * name, but listed, suggested and made ready for nobody. */
#define ROW_CLIENTS "(name < ':' OR name >= ';')"

enum row_write {
    ROW_BEGIN,
    ROW_COMMIT,
    ROW_ROLLBACK,
    ROW_COUNT,
    ROW_REMOVE,
    ROW_INSERT,
    ROW_INSERT_MATRIX,
    ROW_TRIM_MATRICES,
    ROW_PAGES,
    ROW_FREE_PAGES,
    ROW_PAGE_SIZE,
    ROW_WRITES
};
enum row_read { ROW_REVISION, ROW_READ, ROW_READ_NEXT, ROW_LIST, ROW_NAMES, ROW_READS };

struct row_reader {
    struct database database;
    sqlite3_stmt *read[ROW_READS];
    bool open;
};

struct row_writer {
    struct database database;
    sqlite3_stmt *write[ROW_WRITES];
    bool open;
    size_t most;            /* classifiers */
    size_t others;          /* matrices of other models that a classifier keeps */
    uint64_t most_bytes;    /* of the file */
    _Atomic uint64_t bytes; /* that are used of it, when it was looked at last */
};

/* Opening what is open already does nothing. After a failure they are closed, and database.code is
 * SQLite's. */
enum limoe_status row_reader_open(struct row_reader *reader, const struct database_options *options,
                                  struct limoe_error *err);
enum limoe_status row_writer_open(struct row_writer *writer, const struct database_options *options,
                                  struct limoe_error *err);
void row_reader_close(struct row_reader *reader);
void row_writer_close(struct row_writer *writer);

/* Does the job on the file, and what follows from it on the shelf. `fd`: of database_version_fd. */
void row_read(struct row_reader *reader, int fd, struct shelf *shelf, struct store_job *job);
void row_write(struct row_writer *writer, int fd, struct shelf *shelf, struct store_job *job);

/* The job's outcome that follows from what a connection has said. */
enum store_outcome row_outcome(const struct database *database, enum limoe_status status);

#endif
