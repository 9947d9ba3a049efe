/* pictures.c - files to squares of pixels, and which of them are the same. The caller owns them; one thread. */
#include "model/tuning/pictures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/fingerprint.h"

/* The same but for its scale. Where pictures are not scaled, a larger square would show more of them. */
static struct limoe_preprocess enlarge(const struct limoe_preprocess *whole) {
    struct limoe_preprocess larger = *whole;
    const uint32_t side = (4 * whole->size + 2) / 3;
    if (whole->resize == LIMOE_UNSCALED || side > LIMOE_MAX_IMAGE_SIZE)
        return larger;
    larger.size = side;
    larger.width = (uint32_t)((uint64_t)whole->width * side / whole->size);
    larger.height = (uint32_t)((uint64_t)whole->height * side / whole->size);
    return larger;
}

struct job {
    const struct folder *folder;
    struct limoe_image_settings whole, larger;
    const struct limoe_tune_examples *from; /* NULL: the folder's files */
    bool skip_broken;
    pictures_told *tell;
    void *context;
    struct pictures *out;
    size_t *file; /* [n]: which of the folder's each is */
    struct limoe_error *err;
};

static size_t whole_bytes(const struct pictures *p) {
    return (size_t)3 * p->size * p->size;
}

static size_t large_bytes(const struct pictures *p) {
    return (size_t)3 * p->side * p->side;
}

static const char *path_of(const struct job *job, size_t i) {
    return job->folder->file[job->file[i]].path;
}

static enum limoe_status report(const struct job *job, size_t done, const char *line) {
    return job->tell(job->context, done, line) ? LIMOE_OK : limoe_fail(job->err, LIMOE_LOST, "stopped");
}

/* ---- reading */

static enum limoe_status reserve(struct job *job) {
    struct pictures *p = job->out;
    const size_t n = job->folder->files;
    p->label = calloc(n, sizeof *p->label);
    p->whole = calloc(n, whole_bytes(p));
    p->large = calloc(n, large_bytes(p));
    job->file = calloc(n, sizeof *job->file);
    if (!p->label || !p->whole || !p->large || !job->file)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory for %zu pictures of %u x %u pixels", n,
                          p->side, p->side);
    return LIMOE_OK;
}

static enum limoe_status read_file(const struct job *job, const char *path, uint8_t *whole, uint8_t *large,
                                   struct limoe_error *err) {
    uint8_t *bytes = NULL;
    size_t size;
    enum limoe_status status = file_read_path(path, job->whole.limits.max_bytes, &bytes, &size, err);
    if (!status)
        status = limoe_process_image_by(&job->whole, bytes, size, whole, err);
    if (!status)
        status = limoe_process_image_by(&job->larger, bytes, size, large, err);
    free(bytes);
    return status;
}

/* Both squares of the next picture. */
static enum limoe_status read_squares(const struct job *job, size_t file, struct limoe_error *err) {
    const struct pictures *p = job->out;
    uint8_t *whole = p->whole + p->n * whole_bytes(p), *large = p->large + p->n * large_bytes(p);
    const struct limoe_tune_examples *from = job->from;
    if (!from)
        return read_file(job, job->folder->file[file].path, whole, large, err);
    const enum limoe_status status = from->read(from->context, file, &job->whole, whole, err);
    return status ? status : from->read(from->context, file, &job->larger, large, err);
}

static enum limoe_status read_one(struct job *job, size_t file) {
    struct pictures *p = job->out;
    const char *path = job->folder->file[file].path;
    char line[1024];
    struct limoe_error why;
    const enum limoe_status status = read_squares(job, file, &why);
    if (status == LIMOE_OK) {
        p->label[p->n] = job->folder->file[file].class;
        job->file[p->n++] = file;
        return report(job, file + 1, NULL);
    }
    const bool ours = status == LIMOE_NO_MEMORY || status == LIMOE_LOST;
    if (ours || !job->skip_broken)
        return limoe_fail(job->err, ours ? status : LIMOE_BAD_IMAGE, "%.200s: %.290s", path, why.message);
    snprintf(line, sizeof line, "%.300s is left out: %s", path, why.message);
    p->skipped++;
    return report(job, file, line);
}

/* ---- the same picture twice */

struct print {
    char digits[FINGERPRINT_DIGITS + 1];
    size_t picture;
};

static int by_digits(const void *a, const void *b) {
    const struct print *x = a, *y = b;
    const int order = memcmp(x->digits, y->digits, FINGERPRINT_DIGITS);
    if (order != 0)
        return order;
    return x->picture < y->picture ? -1 : x->picture > y->picture;
}

static enum limoe_status print_all(const struct job *job, struct print *print) {
    const struct pictures *p = job->out;
    for (size_t i = 0; i < p->n; i++) {
        struct fingerprint *f;
        enum limoe_status status = fingerprint_create(&f, job->err);
        if (status)
            return status;
        fingerprint_add(f, "picture", p->large + i * large_bytes(p), large_bytes(p));
        fingerprint_digits(f, print[i].digits);
        print[i].picture = i;
        fingerprint_free(f);
    }
    qsort(print, p->n, sizeof *print, by_digits);
    return LIMOE_OK;
}

static bool same(const struct pictures *p, size_t a, size_t b) {
    return memcmp(p->large + a * large_bytes(p), p->large + b * large_bytes(p), large_bytes(p)) == 0;
}

static enum limoe_status mark_copy(const struct job *job, size_t first, size_t copy, bool *repeated) {
    const struct pictures *p = job->out;
    char line[1024];
    if (p->label[first] != p->label[copy])
        return limoe_fail(job->err, LIMOE_INVALID,
                          "%.200s and %.200s are the same picture in two classes; a picture is of one",
                          path_of(job, first), path_of(job, copy));
    snprintf(line, sizeof line, "%.400s counts once: it is the same picture as %.400s", path_of(job, copy),
             path_of(job, first));
    repeated[copy] = true;
    return report(job, job->folder->files, line);
}

/* Among neighbours in the order of digits. */
static enum limoe_status mark_copies(const struct job *job, const struct print *print, bool *repeated) {
    for (size_t i = 0; i < job->out->n; i++)
        for (size_t j = i; j-- > 0 && memcmp(print[j].digits, print[i].digits, FINGERPRINT_DIGITS) == 0;) {
            const size_t first = print[j].picture, copy = print[i].picture;
            if (repeated[first] || !same(job->out, first, copy))
                continue;
            enum limoe_status status = mark_copy(job, first, copy, repeated);
            if (status)
                return status;
            break;
        }
    return LIMOE_OK;
}

static void leave_out(struct job *job, const bool *repeated) {
    struct pictures *p = job->out;
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (repeated[i])
            continue;
        p->label[kept] = p->label[i];
        memmove(p->whole + kept * whole_bytes(p), p->whole + i * whole_bytes(p), whole_bytes(p));
        memmove(p->large + kept * large_bytes(p), p->large + i * large_bytes(p), large_bytes(p));
        kept++;
    }
    p->repeated = p->n - kept;
    p->n = kept;
}

static enum limoe_status find_copies(struct job *job, struct print *print, bool *repeated) {
    enum limoe_status status = print_all(job, print);
    if (!status && !(status = mark_copies(job, print, repeated)))
        leave_out(job, repeated);
    return status;
}

static enum limoe_status drop_copies(struct job *job) {
    const size_t n = job->out->n;
    struct print *print = calloc(n + 1, sizeof *print);
    bool *repeated = calloc(n + 1, sizeof *repeated);
    const enum limoe_status status =
        print && repeated ? find_copies(job, print, repeated)
                          : limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory to compare %zu pictures", n);
    free(print);
    free(repeated);
    return status;
}

/* ---- the whole */

static enum limoe_status check_classes(const struct job *job) {
    const struct pictures *p = job->out;
    for (uint32_t c = 0; c < p->classes; c++) {
        bool any = false, given = false;
        for (size_t i = 0; i < p->n && !any; i++)
            any = p->label[i] == c;
        for (size_t i = 0; i < job->folder->files && !any && !given; i++)
            given = job->folder->file[i].class == c;
        if (given)
            return limoe_fail(job->err, LIMOE_BAD_IMAGE, "class \"%.200s\" has no picture that can be read",
                              job->folder->class[c]);
    }
    return LIMOE_OK;
}

static enum limoe_status read_all(struct job *job) {
    enum limoe_status status = reserve(job);
    for (size_t i = 0; i < job->folder->files && !status; i++)
        status = read_one(job, i);
    if (!status)
        status = check_classes(job);
    return status ? status : drop_copies(job);
}

enum limoe_status pictures_read(const struct folder *folder, const struct limoe_image_settings *settings,
                                const struct limoe_tune_examples *from, bool skip_broken, pictures_told *tell,
                                void *context, struct pictures *out, struct limoe_error *err) {
    struct job job = {.folder = folder,
                      .from = from,
                      .whole = *settings,
                      .larger = *settings,
                      .skip_broken = skip_broken,
                      .tell = tell,
                      .context = context,
                      .out = out,
                      .err = err};
    job.larger.preprocess = enlarge(&settings->preprocess);
    *out = (struct pictures){
        .classes = folder->classes, .size = settings->preprocess.size, .side = job.larger.preprocess.size};
    enum limoe_status status = read_all(&job);
    free(job.file);
    if (status)
        pictures_free(out);
    return status;
}

void pictures_free(struct pictures *p) {
    free(p->label);
    free(p->whole);
    free(p->large);
    *p = (struct pictures){0};
}
