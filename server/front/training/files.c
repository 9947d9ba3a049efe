/* files.c - jobs' folders: written, listed, ended, removed.
 *
 * STATE/training/NUMBER has job.json, what was asked for; examples, the pictures end to end behind a table, unpacked as they are
 * written; what the trainer writes;
 * and once the job has ended, end.json beside job.json alone. A folder without a job.json was not finished. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/disk.h"
#include "base/error.h"
#include "server/front/training/work.h"

#define FOLDER "training"

static enum limoe_status fail(const char *what, const char *path, bool *full, struct limoe_error *err) {
    *full = errno == ENOSPC || errno == EDQUOT;
    return limoe_fail(err, LIMOE_IO, "cannot %s %.300s: %s", what, path, strerror(errno));
}

void training_path(const struct training *training, const struct training_job *job, const char *file,
                   char path[PATH_MAX]) {
    if (snprintf(path, PATH_MAX, "%s/%llu%s%s", training->folder, (unsigned long long)job->number,
                 file ? "/" : "", file ? file : "") >= PATH_MAX)
        path[0] = '\0'; /* it cannot be: training_open_folder has left room */
}

enum limoe_status training_open_folder(struct training *training, struct limoe_error *err) {
    const char *state = training->options.state_dir;
    /* Room for a number and a file's name behind it. */
    if (snprintf(training->folder, sizeof training->folder, "%s/%s", state, FOLDER) >= PATH_MAX - 64)
        return limoe_fail(err, LIMOE_INVALID, "the state directory's path is too long: %.200s…", state);
    if (mkdir(training->folder, 0700) != 0 && errno != EEXIST)
        return limoe_fail(err, LIMOE_IO, "cannot make %s: %s", training->folder, strerror(errno));
    return LIMOE_OK;
}

/* ---- writing */

static size_t name_bytes(const struct training_example *example) {
    return example->bytes ? 0 : strlen(example->param);
}

static bool write_table(int fd, const struct training_request *request) {
    const struct work_head head = {.magic = WORK_MAGIC, .n = request->n};
    bool good = disk_write(fd, &head, sizeof head);
    for (size_t i = 0; i < request->n && good; i++) {
        const struct training_example *example = &request->examples[i];
        const struct work_row row = {
            .size = example->size, .class = request->of[i], .name_bytes = (uint32_t)name_bytes(example)};
        good = disk_write(fd, &row, sizeof row);
    }
    for (size_t i = 0; i < request->n && good; i++)
        good = disk_write(fd, request->examples[i].param, name_bytes(&request->examples[i]));
    return good;
}

static enum limoe_status open_archive(const struct training_request *request, struct archive **out,
                                      struct limoe_error *err) {
    const struct training_archive *a = &request->archive;
    *out = NULL;
    return a->bytes ? archive_open(a->bytes, a->size, &a->limits, out, err) : LIMOE_OK;
}

/* LIMOE_IO: errno says why; another status: the archive is at fault. */
static enum limoe_status write_pictures(int fd, const struct training_request *request,
                                        struct limoe_error *err) {
    struct archive *archive;
    enum limoe_status status = open_archive(request, &archive, err);
    for (size_t i = 0; i < request->n && !status; i++) {
        const struct training_example *example = &request->examples[i];
        if (!example->bytes)
            status = archive_unpack(archive, example->entry, fd, err);
        else if (!disk_write(fd, example->bytes, example->size))
            status = LIMOE_IO;
    }
    const int cause = errno;
    archive_close(archive);
    errno = cause;
    return status;
}

/* The same of its status. */
static enum limoe_status write_examples(const char *path, const struct training_request *request,
                                        struct limoe_error *err) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return LIMOE_IO;
    enum limoe_status status = write_table(fd, request) ? write_pictures(fd, request, err) : LIMOE_IO;
    if (!status && fsync(fd) != 0)
        status = LIMOE_IO;
    const int cause = errno;
    close(fd);
    errno = cause;
    return status;
}

static bool write_file(const char *path, const void *bytes, size_t size) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    const bool good = disk_write(fd, bytes, size) && fsync(fd) == 0;
    const int cause = errno;
    close(fd);
    errno = cause;
    return good;
}

/* A text of JSON, which is there whole or not at all. */
static bool write_text(const struct training *training, const struct training_job *job, const char *file,
                       const struct buffer *text) {
    char path[PATH_MAX], made[PATH_MAX], folder[PATH_MAX];
    training_path(training, job, file, path);
    training_path(training, job, ".new", made);
    training_path(training, job, NULL, folder);
    return write_file(made, text->data, text->size) && rename(made, path) == 0 && disk_flush_folder(folder);
}

enum limoe_status training_write(const struct training *training, struct training_job *job,
                                 const struct training_request *request, bool *full,
                                 struct limoe_error *err) {
    char folder[PATH_MAX], examples[PATH_MAX];
    struct buffer text = {0};
    enum limoe_status status = LIMOE_OK;
    *full = false;
    training_path(training, job, NULL, folder);
    training_path(training, job, WORK_EXAMPLES, examples);
    work_describe(&text, job, request);
    if (text.failed)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a job");
    else if (mkdir(folder, 0700) != 0)
        status = LIMOE_IO;
    else if (!(status = write_examples(examples, request, err)) &&
             (!write_text(training, job, WORK_JOB, &text) || !disk_flush_folder(training->folder)))
        status = LIMOE_IO;
    if (status == LIMOE_IO)
        status = fail("write", folder, full, err);
    buffer_free(&text);
    if (status)
        training_remove(training, job);
    return status;
}

/* ---- removing */

/* Removes what is in the job's folder but for what is kept of one that has ended; `all`: and the folder. */
static void clear(const struct training *training, const struct training_job *job, bool all) {
    char path[PATH_MAX];
    training_path(training, job, NULL, path);
    DIR *dir = opendir(path);
    for (const struct dirent *file; dir && (file = readdir(dir));) {
        const bool kept =
            !all && (strcmp(file->d_name, WORK_JOB) == 0 || strcmp(file->d_name, WORK_END) == 0);
        if (strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0 && !kept)
            unlinkat(dirfd(dir), file->d_name, 0);
    }
    if (dir)
        closedir(dir);
    if (all && rmdir(path) != 0 && errno != ENOENT)
        log_print(training->options.log, LOG_WARNING, NULL, "training: cannot remove %s: %s", path,
                  strerror(errno));
}

void training_remove(const struct training *training, const struct training_job *job) {
    clear(training, job, true);
}

bool training_write_end(const struct training *training, const struct training_job *job) {
    struct buffer text = {0};
    work_describe_end(&text, job);
    const bool written = !text.failed && write_text(training, job, WORK_END, &text);
    buffer_free(&text);
    return written;
}

/* Where there is no room for its end, what is removed makes some. */
void training_clear(const struct training *training, const struct training_job *job) {
    const bool written = training_write_end(training, job);
    clear(training, job, false);
    if (!written && !training_write_end(training, job))
        log_print(training->options.log, LOG_WARNING, NULL, "training: cannot write how %s ended: %s",
                  job->name, strerror(errno));
}

/* ---- listing */

/* A whole file, small, in the arena; data NULL: there is none, or it is too large. */
static struct text read_text(const struct training *training, const struct training_job *job,
                             const char *file, struct arena *arena) {
    char path[PATH_MAX];
    struct stat st;
    struct text text = {.data = NULL};
    training_path(training, job, file, path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return text;
    char *bytes = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= WORK_MOST_TEXT
                      ? arena_array(arena, (size_t)st.st_size, 1)
                      : NULL;
    if (bytes && pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size)
        text = (struct text){.data = bytes, .size = (size_t)st.st_size};
    close(fd);
    return text;
}

/* The job of a folder, filled as far as memory needs it. False: there is none in it. */
static bool read_job(const struct training *training, struct training_job *job, struct arena *arena) {
    char path[PATH_MAX];
    struct stat st;
    if (!work_read_job(read_text(training, job, WORK_JOB, arena), arena, job, NULL))
        return false;
    if (work_read_end(read_text(training, job, WORK_END, arena), arena, job))
        return true;
    training_path(training, job, WORK_EXAMPLES, path);
    job->bytes = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    return true;
}

/* A folder whose name is a number, and what is in it. */
static bool take_folder(struct training *training, const char *name,
                        bool (*found)(struct training *training, struct training_job *job)) {
    char *end;
    struct training_job *job = calloc(1, sizeof *job);
    struct arena *arena = arena_new();
    bool good = job && arena;
    if (good) {
        errno = 0;
        job->number = strtoull(name, &end, 10);
        const bool number = name[0] >= '1' && name[0] <= '9' && !*end && !errno;
        if (number && read_job(training, job, arena)) {
            if (job->ended)
                clear(training, job, false);
            good = found(training, job);
            job = NULL;
        } else if (number) {
            log_print(training->options.log, LOG_WARNING, NULL, "training: %s/%s is no whole job: removed",
                      training->folder, name);
            training_remove(training, job);
        }
    }
    free(job);
    arena_free(arena);
    return good;
}

enum limoe_status training_read_folder(struct training *training,
                                       bool (*found)(struct training *training, struct training_job *job),
                                       struct limoe_error *err) {
    DIR *dir = opendir(training->folder);
    bool good = true;
    if (!dir)
        return limoe_fail(err, LIMOE_IO, "cannot open %s: %s", training->folder, strerror(errno));
    for (const struct dirent *entry; good && (entry = readdir(dir));)
        good = take_folder(training, entry->d_name, found);
    closedir(dir);
    return good ? LIMOE_OK : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for jobs");
}

/* ---- the work */

static enum limoe_status fail_table(struct limoe_error *err) {
    return limoe_fail(err, LIMOE_CORRUPT, "the examples on the disk are damaged");
}

/* The names that stand behind the rows, and where the pictures do, behind these. */
static enum limoe_status read_names(struct training_work *work, const struct work_row *row, uint64_t *at,
                                    struct limoe_error *err) {
    const size_t n = work->task.n_examples;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += row[i].name_bytes;
    char *names = bytes <= WORK_MOST_TEXT ? arena_array(work->arena, bytes + 1, 1) : NULL;
    work->names = arena_array(work->arena, n + 1, sizeof *work->names);
    if (!names || !work->names)
        return bytes > WORK_MOST_TEXT ? fail_table(err)
                                      : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu examples", n);
    if (pread(work->fd, names, bytes, (off_t)*at) != (ssize_t)bytes)
        return fail_table(err);
    *at += bytes;
    for (size_t i = 0; i < n; names += row[i++].name_bytes)
        if (!(work->names[i] = arena_copy(work->arena, names, row[i].name_bytes)))
            return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu examples", n);
    return LIMOE_OK;
}

/* The table at the head of the examples, held against the file's size. */
static enum limoe_status read_table(struct training_work *work, struct limoe_error *err) {
    struct work_head head;
    struct stat st;
    const bool read = fstat(work->fd, &st) == 0 && pread(work->fd, &head, sizeof head, 0) == sizeof head;
    if (!read || memcmp(head.magic, WORK_MAGIC, sizeof head.magic) != 0 || head.n > TRAINING_MOST_EXAMPLES)
        return fail_table(err);
    const size_t n = (size_t)head.n, table = n * sizeof(struct work_row);
    struct work_row *row = arena_array(work->arena, n + 1, sizeof *row);
    work->of = arena_array(work->arena, n + 1, sizeof *work->of);
    work->offset = arena_array(work->arena, n + 1, sizeof *work->offset);
    work->size = arena_array(work->arena, n + 1, sizeof *work->size);
    if (!row || !work->of || !work->offset || !work->size)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu examples", n);
    if (pread(work->fd, row, table, sizeof head) != (ssize_t)table)
        return fail_table(err);
    uint64_t at = sizeof head + table;
    work->task.n_examples = (uint32_t)n;
    const enum limoe_status status = read_names(work, row, &at, err);
    bool sound = true;
    for (size_t i = 0; i < n && !status && sound; i++) {
        work->of[i] = row[i].class;
        work->offset[i] = at;
        work->size[i] = row[i].size;
        sound = row[i].class < work->task.n_classes && row[i].size <= (uint64_t)st.st_size - at;
        at += row[i].size;
    }
    return status ? status : sound ? LIMOE_OK : fail_table(err);
}

enum limoe_status training_open_work(const struct training *training, const struct training_job *job,
                                     struct training_work *out, struct limoe_error *err) {
    char path[PATH_MAX];
    struct training_job same = {.number = job->number};
    *out = (struct training_work){.arena = arena_new(), .fd = -1};
    if (!out->arena)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a job");
    if (!work_read_job(read_text(training, job, WORK_JOB, out->arena), out->arena, &same, out))
        return limoe_fail(err, LIMOE_CORRUPT, "the job on the disk is damaged");
    training_path(training, job, WORK_EXAMPLES, path);
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    return out->fd >= 0 ? read_table(out, err)
                        : limoe_fail(err, LIMOE_IO, "its examples cannot be read: %s", strerror(errno));
}

void training_close_work(struct training_work *work) {
    if (work->fd >= 0)
        close(work->fd);
    arena_free(work->arena);
    *work = (struct training_work){.fd = -1};
}
