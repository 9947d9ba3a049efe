/* archive.c - over libzip. What it would allocate is known from the end of the directory, which is looked at first; what it
 * would unpack, from the directory, before anything is. */
#include "server/formats/archive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "base/error.h"
#include "base/text.h"

enum {
    PIECE = 1 << 16,
    QUOTED = 200, /* of a name in a message */
    END = 22,     /* bytes of the record at the directory's end, without its comment */
    LOCATOR = 20, /* bytes of ZIP64's locator before it */
    MOST_COMMENT = 65535,
    MOST_ENDS =
        4, /* records that look like an end, in a comment or in packed bytes; the library tries each */
    ENTRY_MEAN = 256, /* bytes of an entry in the directory, in the mean */
    SYSTEM_OS_X = 19, /* whose attributes are Unix's */
};
_Static_assert(ARCHIVE_MOST *(uint64_t)ENTRY_MEAN < UINT32_MAX, "the size is one of 32 bits");

/* An entry, and where the library has it. */
struct listed {
    struct archive_entry entry;
    zip_uint64_t at;
};

struct archive {
    zip_t *zip;
    struct listed *list; /* [count], by name */
    size_t count;
};

/* ---- the end of the directory */

static uint32_t number(const uint8_t *at, int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

static bool begins(const uint8_t *at, const char signature[4]) {
    return memcmp(at, signature, 4) == 0;
}

/* An adapter's file begins with eight bytes that count its header's: no more than 10^8, which an empty archive's would be, and
 * the last four of them zeros, which are not so in any other. */
bool archive_is_one(const void *bytes, size_t size) {
    return size >= 8 && (begins(bytes, "PK\5\6") ||
                         (begins(bytes, "PK\3\4") && number((const uint8_t *)bytes + 4, 4) != 0));
}

static enum limoe_status check_end(const uint8_t *start, const uint8_t *end,
                                   const struct archive_limits *limits, struct limoe_error *err) {
    const uint32_t entries = number(end + 10, 2), bytes = number(end + 12, 4);
    if (end - start >= LOCATOR && begins(end - LOCATOR, "PK\6\7"))
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "the archive is a ZIP64; zip files below 4 GiB and 65,535 files are accepted");
    if (entries > limits->entries)
        return limoe_fail(err, LIMOE_TOO_LARGE, "the archive has %u entries; up to %zu are accepted", entries,
                          limits->entries);
    if (bytes > limits->entries * ENTRY_MEAN)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "the archive's directory has %u bytes; up to %zu are accepted, %d for each of %zu "
                          "entries",
                          bytes, limits->entries * ENTRY_MEAN, ENTRY_MEAN, limits->entries);
    return LIMOE_OK;
}

/* Each record that the library may take for the end must be within the limits. */
static enum limoe_status check_ends(const uint8_t *bytes, size_t size, const struct archive_limits *limits,
                                    struct limoe_error *err) {
    const size_t first = size > END + MOST_COMMENT ? size - END - MOST_COMMENT : 0;
    int ends = 0;
    for (size_t at = first; size >= END && at <= size - END; at++) {
        if (!begins(bytes + at, "PK\5\6"))
            continue;
        const enum limoe_status status = check_end(bytes, bytes + at, limits, err);
        if (status)
            return status;
        ends++;
    }
    if (ends == 0)
        return limoe_fail(err, LIMOE_CORRUPT,
                          "the archive's end is not there: it is cut short, or no zip file");
    if (ends > MOST_ENDS)
        return limoe_fail(err, LIMOE_CORRUPT, "the archive seems to end %d times; one end is accepted", ends);
    return LIMOE_OK;
}

/* ---- names and kinds */

static const char *quoted(const char *name, char room[QUOTED]) {
    return text_quote(text_of(name), room, QUOTED);
}

static bool is_sound_part(const char *part, size_t size) {
    return size > 0 && !(size == 1 && part[0] == '.') && !(size == 2 && part[0] == '.' && part[1] == '.');
}

/* NULL: it is accepted; a folder's name ends in a slash. */
static const char *fault_of(const char *name, size_t size) {
    if (size == 0 || size > ARCHIVE_NAME_BYTES)
        return "an empty or a long name";
    if (text_check(name, size) != size)
        return "a name that is not UTF-8";
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '\\')
            return "a control character or a backslash in its name";
    const size_t end = size > 1 && name[size - 1] == '/' ? size - 1 : size;
    for (size_t from = 0; from <= end;) {
        const char *slash = memchr(name + from, '/', end - from);
        const size_t to = slash ? (size_t)(slash - name) : end;
        if (!is_sound_part(name + from, to - from))
            return "a path that is absolute or has an empty, \".\" or \"..\" part";
        from = to + 1;
    }
    return NULL;
}

static enum limoe_status check_name(const char *name, struct limoe_error *err) {
    char room[QUOTED];
    const char *fault = fault_of(name, strlen(name));
    return fault
               ? limoe_fail(err, LIMOE_CORRUPT,
                            "the archive's entry \"%s\" has %s; relative paths of 1 to %u bytes are accepted",
                            quoted(name, room), fault, ARCHIVE_NAME_BYTES)
               : LIMOE_OK;
}

/* Of Unix a file's mode stands in the attributes; 0: whoever packed it did not say. */
static enum limoe_status check_mode(zip_t *zip, const char *name, zip_uint64_t at, struct limoe_error *err) {
    zip_uint8_t system = 0;
    zip_uint32_t attributes = 0;
    char room[QUOTED];
    if (zip_file_get_external_attributes(zip, at, 0, &system, &attributes) != 0)
        return limoe_fail(err, LIMOE_CORRUPT, "the archive's entry \"%s\" has no attributes",
                          quoted(name, room));
    const mode_t kind = (mode_t)(attributes >> 16) & S_IFMT;
    const bool unix_mode = system == ZIP_OPSYS_UNIX || system == SYSTEM_OS_X;
    if (unix_mode && kind != 0 && !S_ISREG(kind) && !S_ISDIR(kind))
        return limoe_fail(err, LIMOE_CORRUPT,
                          "the archive's entry \"%s\" is %s; files and folders are accepted",
                          quoted(name, room), S_ISLNK(kind) ? "a link" : "a device, a socket or a pipe");
    return LIMOE_OK;
}

static enum limoe_status check_form(const zip_stat_t *stat, struct limoe_error *err) {
    const zip_uint64_t needed =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    char room[QUOTED];
    if ((stat->valid & needed) != needed)
        return limoe_fail(err, LIMOE_CORRUPT, "the archive's entry \"%s\" does not say what it is",
                          quoted(stat->name, room));
    if (stat->encryption_method != ZIP_EM_NONE)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "the archive's entry \"%s\" is encrypted; entries that are not are accepted",
                          quoted(stat->name, room));
    if (stat->comp_method != ZIP_CM_STORE && stat->comp_method != ZIP_CM_DEFLATE)
        return limoe_fail(
            err, LIMOE_UNSUPPORTED,
            "the archive's entry \"%s\" is compressed by method %u; 0 (stored) and 8 (deflate) are accepted",
            quoted(stat->name, room), stat->comp_method);
    return LIMOE_OK;
}

/* ---- sizes */

/* What all entries come to, before any is unpacked. */
struct sums {
    uint64_t bytes, packed;
};

static enum limoe_status add_sizes(const zip_stat_t *stat, size_t size, const struct archive_limits *limits,
                                   struct sums *sums, struct limoe_error *err) {
    char room[QUOTED];
    if (stat->size > limits->entry_bytes)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "the archive's entry \"%s\" has %llu bytes; up to %llu are accepted",
                          quoted(stat->name, room), (unsigned long long)stat->size,
                          (unsigned long long)limits->entry_bytes);
    if (stat->comp_size > size - sums->packed)
        return limoe_fail(err, LIMOE_CORRUPT,
                          "the archive's entries have more packed bytes than the %zu of the archive: one "
                          "is cut short, or they overlap",
                          size);
    sums->packed += stat->comp_size;
    sums->bytes += stat->size;
    const uint64_t unpacked = (uint64_t)size * ARCHIVE_MOST_RATIO;
    if (sums->bytes > limits->total_bytes)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "the archive's files have more than %llu bytes; up to as many are accepted",
                          (unsigned long long)limits->total_bytes);
    if (sums->bytes > ARCHIVE_FREE_BYTES && sums->bytes > unpacked)
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "the archive of %zu bytes would become more than %u times as many; up to that is "
                          "accepted",
                          size, ARCHIVE_MOST_RATIO);
    return LIMOE_OK;
}

/* ---- the list */

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct listed *)a)->entry.name, ((const struct listed *)b)->entry.name);
}

/* Entry `at` of the library, if it is a file, behind those that are listed. */
static enum limoe_status list_one(struct archive *archive, zip_uint64_t at, size_t size,
                                  const struct archive_limits *limits, struct sums *sums,
                                  struct limoe_error *err) {
    zip_stat_t stat;
    enum limoe_status status;
    /* As it was written: the library would take a name that is not UTF-8 for one of another code, and guess which. */
    if (zip_stat_index(archive->zip, at, ZIP_FL_ENC_RAW, &stat) != 0 || !(stat.valid & ZIP_STAT_NAME))
        return limoe_fail(err, LIMOE_CORRUPT, "the archive's entry %llu has no name", (unsigned long long)at);
    if ((status = check_name(stat.name, err)) || (status = check_mode(archive->zip, stat.name, at, err)) ||
        (status = check_form(&stat, err)) || (status = add_sizes(&stat, size, limits, sums, err)))
        return status;
    if (stat.name[strlen(stat.name) - 1] == '/')
        return LIMOE_OK;
    archive->list[archive->count++] =
        (struct listed){.entry = {.name = stat.name, .bytes = stat.size}, .at = at};
    return LIMOE_OK;
}

static enum limoe_status list_all(struct archive *archive, size_t size, const struct archive_limits *limits,
                                  struct limoe_error *err) {
    const zip_uint64_t n = (zip_uint64_t)zip_get_num_entries(archive->zip, 0);
    struct sums sums = {0};
    char room[QUOTED];
    if (n > limits->entries)
        return limoe_fail(err, LIMOE_TOO_LARGE, "the archive has %llu entries; up to %zu are accepted",
                          (unsigned long long)n, limits->entries);
    archive->list = calloc((size_t)n + 1, sizeof *archive->list);
    if (!archive->list)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an archive's entries");
    for (zip_uint64_t at = 0; at < n; at++) {
        const enum limoe_status status = list_one(archive, at, size, limits, &sums, err);
        if (status)
            return status;
    }
    qsort(archive->list, archive->count, sizeof *archive->list, by_name);
    for (size_t i = 1; i < archive->count; i++)
        if (by_name(&archive->list[i - 1], &archive->list[i]) == 0)
            return limoe_fail(err, LIMOE_CORRUPT, "the archive has two entries \"%s\"; each once is accepted",
                              quoted(archive->list[i].entry.name, room));
    return LIMOE_OK;
}

/* ---- open */

static enum limoe_status fail_zip(zip_error_t *cause, struct limoe_error *err) {
    const bool memory = zip_error_code_zip(cause) == ZIP_ER_MEMORY;
    const enum limoe_status status =
        memory ? limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an archive")
               : limoe_fail(err, LIMOE_CORRUPT, "the archive cannot be read: %s", zip_error_strerror(cause));
    zip_error_fini(cause);
    return status;
}

static enum limoe_status open_zip(const void *bytes, size_t size, zip_t **out, struct limoe_error *err) {
    zip_error_t cause;
    zip_error_init(&cause);
    zip_source_t *source = zip_source_buffer_create(bytes, size, 0, &cause);
    *out = source ? zip_open_from_source(source, ZIP_RDONLY, &cause) : NULL;
    if (*out)
        return LIMOE_OK;
    zip_source_free(source);
    return fail_zip(&cause, err);
}

enum limoe_status archive_open(const void *bytes, size_t size, const struct archive_limits *limits,
                               struct archive **out, struct limoe_error *err) {
    *out = NULL;
    enum limoe_status status = check_ends(bytes, size, limits, err);
    struct archive *archive = status ? NULL : calloc(1, sizeof *archive);
    if (status)
        return status;
    if (!archive)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an archive");
    if ((status = open_zip(bytes, size, &archive->zip, err)) ||
        (status = list_all(archive, size, limits, err)))
        archive_close(archive);
    else
        *out = archive;
    return status;
}

void archive_close(struct archive *archive) {
    if (!archive)
        return;
    if (archive->zip)
        zip_discard(archive->zip);
    free(archive->list);
    free(archive);
}

size_t archive_count(const struct archive *archive) {
    return archive->count;
}

const struct archive_entry *archive_at(const struct archive *archive, size_t i) {
    return &archive->list[i].entry;
}

/* ---- unpack */

/* Where unpacked bytes go: to memory, or to a file. */
struct target {
    uint8_t *memory;
    int fd; /* where memory is NULL */
};

static bool write_all(int fd, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        const ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno != EINTR)
            return false;
        bytes += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

static enum limoe_status fail_entry(const struct archive_entry *entry, zip_file_t *file,
                                    struct limoe_error *err) {
    char room[QUOTED];
    if (zip_error_code_zip(zip_file_get_error(file)) == ZIP_ER_MEMORY)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to unpack an archive");
    return limoe_fail(err, LIMOE_CORRUPT,
                      "the archive's entry \"%s\" is damaged, or not the %llu bytes that it says",
                      quoted(entry->name, room), (unsigned long long)entry->bytes);
}

/* The sum of what was packed is checked at its end, which has to be asked for. */
static enum limoe_status copy(const struct archive_entry *entry, zip_file_t *file, struct target target,
                              struct limoe_error *err) {
    uint8_t piece[PIECE];
    char room[QUOTED];
    for (uint64_t done = 0; done < entry->bytes;) {
        const uint64_t left = entry->bytes - done, most = left < PIECE ? left : PIECE;
        const zip_int64_t got = zip_fread(file, target.memory ? target.memory + done : piece, most);
        if (got <= 0)
            return fail_entry(entry, file, err);
        if (!target.memory && !write_all(target.fd, piece, (size_t)got))
            return limoe_fail(err, LIMOE_IO, "cannot write the archive's entry \"%s\": %s",
                              quoted(entry->name, room), strerrordesc_np(errno));
        done += (uint64_t)got;
    }
    return zip_fread(file, piece, 1) == 0 ? LIMOE_OK : fail_entry(entry, file, err);
}

static enum limoe_status unpack(struct archive *archive, size_t i, struct target target,
                                struct limoe_error *err) {
    const struct listed *listed = &archive->list[i];
    char room[QUOTED];
    zip_file_t *file = zip_fopen_index(archive->zip, listed->at, 0);
    if (!file)
        return zip_error_code_zip(zip_get_error(archive->zip)) == ZIP_ER_MEMORY
                   ? limoe_fail(err, LIMOE_NO_MEMORY, "no memory to unpack an archive")
                   : limoe_fail(err, LIMOE_CORRUPT, "the archive's entry \"%s\" cannot be read: %s",
                                quoted(listed->entry.name, room), zip_strerror(archive->zip));
    const enum limoe_status status = copy(&listed->entry, file, target, err);
    zip_fclose(file);
    return status;
}

enum limoe_status archive_read(struct archive *archive, size_t i, void *to, struct limoe_error *err) {
    uint8_t nothing[1];
    return unpack(archive, i, (struct target){.memory = to ? to : nothing}, err);
}

enum limoe_status archive_unpack(struct archive *archive, size_t i, int fd, struct limoe_error *err) {
    return unpack(archive, i, (struct target){.fd = fd}, err);
}
