/* archive.h - zip files in memory: which files they hold, by name, and their bytes.
 *
 * They come from anyone. What is opened is bounded before a byte is unpacked: files, bytes of each, bytes of all, and how far
 * they may be above the archive's own bytes. Entries are files alone, each by a relative path; an archive with a link, a
 * device, a path that leads out of it, the same name twice, or something encrypted is refused as a whole. Stored and
 * deflated entries are read; ZIP64, which is for archives of 4 GiB or 65,535 files, is not.
 *
 * One thread at a time may use an archive.
 */
#ifndef LIMOE_SERVER_FORMATS_ARCHIVE_H
#define LIMOE_SERVER_FORMATS_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#define ARCHIVE_NAME_BYTES 1024u   /* of an entry's name at most */
#define ARCHIVE_MOST       60000u  /* what `entries` of the limits may be at most */
#define ARCHIVE_MOST_RATIO 100u    /* unpacked bytes of all files to bytes of the archive, */
#define ARCHIVE_FREE_BYTES 1048576 /* which so many may be whatever the archive's bytes */

struct archive_limits {
    size_t entries; /* files and folders, 1 to ARCHIVE_MOST */
    uint64_t entry_bytes, total_bytes;
};

/* A file. */
struct archive_entry {
    const char
        *name; /* UTF-8, "pets/cat.png": no empty, "." or ".." part, no backslash, no control character */
    uint64_t bytes; /* unpacked */
};

struct archive;

/* Whether bytes begin as an archive's do; nothing else is said of them. */
bool archive_is_one(const void *bytes, size_t size);

/* Reads the directory of bytes[size], which are not copied and must stay until archive_close. Folders are no entries.
 * LIMOE_CORRUPT: no zip file, cut short, or a name or a kind of entry that is not accepted. LIMOE_TOO_LARGE: beyond the limits.
 * LIMOE_UNSUPPORTED: encrypted, compressed otherwise, ZIP64. The message is of what is in the archive. */
enum limoe_status archive_open(const void *bytes, size_t size, const struct archive_limits *limits,
                               struct archive **out, struct limoe_error *err);
void archive_close(struct archive *archive); /* NULL is fine */

/* Entries are in the order of their names' bytes, each name once. They live as long as the archive. */
size_t archive_count(const struct archive *archive);
const struct archive_entry *archive_at(const struct archive *archive, size_t i); /* i < count */

/* Unpacks entry i to to[bytes of it]. LIMOE_CORRUPT: its data are damaged, or not as many as the directory says. */
enum limoe_status archive_read(struct archive *archive, size_t i, void *to, struct limoe_error *err);

/* The same to a file, a piece at a time. LIMOE_IO: it could not be written, and errno says why. */
enum limoe_status archive_unpack(struct archive *archive, size_t i, int fd, struct limoe_error *err);

#endif
