/* tune.c - limoe_tune: from a folder of pictures and a model to an adapter's file.
 *
 * A job owns all below and gives it back in reverse order. One thread, beside the kernels'. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/utf8.h"
#include "limoe_tune.h"
#include "model/checkpoint/adapter.h"
#include "model/checkpoint/checkpoint.h"
#include "model/model.h"
#include "model/replacement.h"
#include "model/tuning/course.h"
#include "model/tuning/draft.h"
#include "model/tuning/folder.h"
#include "model/tuning/prompts.h"

enum { DEFAULT_EPOCHS = 10 };
static const double default_share = 0.2; /* held out */

struct job {
    struct limoe_tune_options options; /* defaults filled in */
    const char *dir, *out;
    char state[PATH_MAX];                   /* OUT.partial */
    const struct limoe_tune_examples *from; /* NULL: the folder's files */
    struct folder folder;
    const char **label; /* [folder.classes] */
    struct limoe_processor *processor;
    struct limoe_model *model;
    struct safetensors *st;
    struct prompts prompts;
    float *zero_shot;   /* [classes, embed]; NULL: the model takes no texts */
    float *prompt_rows; /* what enters the tail of texts */
    struct tuner *tuner;
    struct pictures pictures;
    struct course_outcome outcome;
    struct limoe_error *err;
};

static enum limoe_status no_memory(const struct job *job) {
    return limoe_fail(job->err, LIMOE_NO_MEMORY, "no memory to tune with");
}

/* ---- what is asked for */

static bool tell_nobody(void *context, const struct limoe_tune_progress *progress) {
    (void)context, (void)progress;
    return true;
}

static void fill_defaults(struct limoe_tune_options *o) {
    static const char *const bare[] = {"{}"};
    if (!o->epochs)
        o->epochs = DEFAULT_EPOCHS;
    if (!o->n_templates) {
        o->templates = bare;
        o->n_templates = 1;
    }
    if (o->held_out == 0)
        o->held_out = default_share;
    if (!o->tell)
        o->tell = tell_nobody;
}

static enum limoe_status check_text(const struct job *job, const char *what, const char *text) {
    const size_t size = strlen(text);
    if (size < 1 || size > ADAPTER_MAX_LABEL_BYTES)
        return limoe_fail(job->err, LIMOE_INVALID, "%s \"%.100s\" is %zu bytes; 1 to %u are accepted", what,
                          text, size, ADAPTER_MAX_LABEL_BYTES);
    if (utf8_check(text, size) < size)
        return limoe_fail(job->err, LIMOE_INVALID, "%s \"%.100s\" is not UTF-8", what, text);
    return LIMOE_OK;
}

static enum limoe_status check_options(const struct job *job) {
    const struct limoe_tune_options *o = &job->options;
    enum limoe_status status = LIMOE_OK;
    if (o->epochs > LIMOE_TUNE_MAX_EPOCHS)
        return limoe_fail(job->err, LIMOE_INVALID, "%u epochs; 1 to %u are accepted", o->epochs,
                          LIMOE_TUNE_MAX_EPOCHS);
    if (o->rate != 0 && !(o->rate > 0 && o->rate <= 10))
        return limoe_fail(job->err, LIMOE_INVALID,
                          "a learning rate of %g; more than 0 and up to 10 is accepted", o->rate);
    if (!(o->held_out <= 0.5))
        return limoe_fail(job->err, LIMOE_INVALID, "a share of %g to hold out; up to 0.5 is accepted",
                          o->held_out);
    if (o->n_templates > ADAPTER_MAX_TEMPLATES)
        return limoe_fail(job->err, LIMOE_INVALID, "%u templates; 1 to %u are accepted", o->n_templates,
                          ADAPTER_MAX_TEMPLATES);
    for (uint32_t i = 0; i < o->n_templates && !status; i++)
        status = check_text(job, "template", o->templates[i]);
    return status;
}

/* The place of what is written must be one that can be written to: known now, not at the end. */
static enum limoe_status check_place(struct job *job) {
    struct replacement r = {0};
    struct stat st;
    if (snprintf(job->state, sizeof job->state, "%s.partial", job->out) >= PATH_MAX)
        return limoe_fail(job->err, LIMOE_INVALID, "a path of %zu bytes; less than %d are accepted",
                          strlen(job->out), PATH_MAX - (int)sizeof ".partial.new");
    if (stat(job->out, &st) == 0 && !S_ISREG(st.st_mode))
        return limoe_fail(job->err, LIMOE_INVALID, "%.400s is there and no file; a file to write is accepted",
                          job->out);
    enum limoe_status status = replacement_begin(&r, job->state, job->err);
    replacement_end(&r);
    return status;
}

/* ---- labels */

/* The class that "FOLDER=LABEL" begins with, the longest where several do; its number of classes: none. */
static uint32_t named_class(const struct job *job, const char *pair) {
    uint32_t found = job->folder.classes;
    size_t longest = 0;
    for (uint32_t c = 0; c < job->folder.classes; c++) {
        const size_t length = strlen(job->folder.class[c]);
        if (length > longest && strncmp(pair, job->folder.class[c], length) == 0 && pair[length] == '=') {
            found = c;
            longest = length;
        }
    }
    return found;
}

static enum limoe_status check_labels(const struct job *job) {
    enum limoe_status status = LIMOE_OK;
    for (uint32_t c = 0; c < job->folder.classes && !status; c++) {
        status = check_text(job, "label", job->label[c]);
        for (uint32_t before = 0; before < c && !status; before++)
            if (strcmp(job->label[before], job->label[c]) == 0)
                status = limoe_fail(
                    job->err, LIMOE_INVALID,
                    "%s \"%.100s\" and \"%.100s\" have one label, \"%.100s\"; each its own is accepted",
                    job->from ? "classes" : "folders", job->folder.class[before], job -> folder.class[c],
                    job -> label[c]);
    }
    return status;
}

static enum limoe_status name_classes(struct job *job) {
    const struct limoe_tune_options *o = &job->options;
    job->label = calloc(job->folder.classes, sizeof *job->label);
    if (!job->label)
        return no_memory(job);
    for (uint32_t c = 0; c < job->folder.classes; c++)
        job->label[c] = job->folder.class[c];
    for (uint32_t i = 0; i < o->n_labels && !job->from; i++) {
        const uint32_t c = named_class(job, o->labels[i]);
        if (c == job->folder.classes)
            return limoe_fail(job->err, LIMOE_INVALID,
                              "label \"%.200s\" names no folder of the pictures; FOLDER=LABEL is accepted",
                              o->labels[i]);
        job->label[c] = o->labels[i] + strlen(job->folder.class[c]) + 1;
    }
    return check_labels(job);
}

/* ---- the model */

static uint32_t fewest_blocks(const struct limoe_info *info) {
    const uint32_t images = info->tower[LIMOE_IMAGE].blocks, texts = info->tower[LIMOE_TEXT].blocks;
    return texts && texts < images ? texts : images;
}

static enum limoe_status check_model(struct job *job) {
    const struct limoe_info *info = limoe_model_info(job->model);
    const uint32_t most = fewest_blocks(info);
    enum limoe_status status = limoe_accepts(info, LIMOE_IMAGE, job->err);
    if (status)
        return status;
    if (job->options.base && strcmp(job->options.base, limoe_model_base(job->model)) != 0)
        return limoe_fail(job->err, LIMOE_INVALID, "\"%s\" is %s, where %.32s is to be taught", info->name,
                          limoe_model_base(job->model), job->options.base);
    if (model_config(job->model)->moe.capacity != 0)
        return limoe_fail(
            job->err, LIMOE_UNSUPPORTED,
            "\"%s\" has \"moe.capacity\", by which answers depend on each other; models without it can be "
            "tuned",
            info->name);
    if (job->options.start_block == LIMOE_TUNE_MIDDLE)
        job->options.start_block = most / 2;
    if (job->options.start_block > most)
        return limoe_fail(job->err, LIMOE_INVALID, "start block %u; 0 to %u are accepted of \"%s\"",
                          job->options.start_block, most, info->name);
    return LIMOE_OK;
}

static enum limoe_status open_model(struct job *job) {
    const struct limoe_options options = {
        .device = "cpu", .dtype = LIMOE_FLOAT32, .threads = job->options.threads};
    enum limoe_status status;
    if ((status = limoe_processor_open(job->dir, NULL, &job->processor, job->err)) ||
        (status = limoe_model_open(job->dir, &options, &job->model, job->err)))
        return status;
    return check_model(job);
}

/* The probe that answers as the model does: exp(scale) times the classes' vectors. z [prompts, embed] is scratch. */
static enum limoe_status embed_classes(struct job *job, float *z) {
    const struct limoe_info *info = limoe_model_info(job->model);
    const struct prompts *p = &job->prompts;
    const size_t embed = info->embed;
    const float scale = expf(info->scoring.scale);
    enum limoe_status status = limoe_model_embed(job->model, p->item, p->count, z, NULL, job->err);
    for (uint32_t c = 0; c < p->classes && !status; c++)
        limoe_ensemble(z + c * p->templates * embed, p->templates, embed, job->zero_shot + c * embed);
    for (size_t i = 0; i < p->classes * embed && !status; i++)
        job->zero_shot[i] *= scale;
    return status;
}

static enum limoe_status embed_prompts(struct job *job) {
    const size_t embed = limoe_model_info(job->model)->embed;
    float *z = calloc(job->prompts.count * embed, sizeof *z);
    job->zero_shot = calloc(job->prompts.classes * embed, sizeof *job->zero_shot);
    const enum limoe_status status = z && job->zero_shot ? embed_classes(job, z) : no_memory(job);
    free(z);
    return status;
}

static enum limoe_status prepare_prompts(struct job *job) {
    const struct limoe_tune_options *o = &job->options;
    enum limoe_status status = prompts_create(job->processor, job->label, job->folder.classes, o->templates,
                                              o->n_templates, &job->prompts, job->err);
    return status ? status : embed_prompts(job);
}

static enum limoe_status prepare_tail(struct job *job, struct limoe_error *err) {
    const struct config *config = model_config(job->model);
    const struct prompts *p = &job->prompts;
    enum limoe_status status = limoe_accepts(limoe_model_info(job->model), LIMOE_TEXT, err);
    if (status)
        return status;
    job->prompt_rows =
        calloc((size_t)p->start[p->count] * config->tower[LIMOE_TEXT].width, sizeof *job->prompt_rows);
    if (!job->prompt_rows)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu prompts", p->count);
    if ((status = checkpoint_open(job->dir, config, &job->st, err)) ||
        (status =
             model_trunk(job->model, p->item, p->count, job->options.start_block, job->prompt_rows, err)))
        return status;
    const struct tuner_setup setup = {.config = config,
                                      .st = job->st,
                                      .k = model_kernels(job->model),
                                      .start_block = job->options.start_block,
                                      .classes = p->classes,
                                      .templates = p->templates,
                                      .prompt_rows = job->prompt_rows,
                                      .prompt_start = p->start,
                                      .scale = expf(limoe_model_info(job->model)->scoring.scale)};
    return tuner_create(&setup, &job->tuner, err);
}

/* Where a tail cannot be learnt of this model and was not asked for by name, a probe still can. */
static enum limoe_status prepare_learning(struct job *job) {
    const struct limoe_tune_options *o = &job->options;
    struct limoe_error why;
    char line[600];
    enum limoe_status status =
        limoe_has(limoe_model_info(job->model), LIMOE_TEXT) ? prepare_prompts(job) : LIMOE_OK;
    if (status || o->kind == LIMOE_TUNE_PROBE)
        return status;
    status = prepare_tail(job, &why);
    if (status != LIMOE_UNSUPPORTED || o->kind == LIMOE_TUNE_TAIL)
        return status ? limoe_fail(job->err, status, "%s", why.message) : LIMOE_OK;
    snprintf(line, sizeof line, "a probe alone is learnt: %s", why.message);
    const struct limoe_tune_progress progress = {.note = line};
    return o->tell(o->context, &progress) ? LIMOE_OK : limoe_fail(job->err, LIMOE_LOST, "stopped");
}

/* ---- pictures */

static bool tell_picture(void *context, size_t done, const char *line) {
    const struct job *job = context;
    const struct limoe_tune_progress progress = {
        .note = line, .stage = "pictures", .epoch = (uint32_t)done, .epochs = (uint32_t)job->folder.files};
    return job->options.tell(job->options.context, &progress);
}

static enum limoe_status read_pictures(struct job *job) {
    const struct limoe_image_settings settings = limoe_processor_image_settings(job->processor);
    return pictures_read(&job->folder, &settings, job->from, job->options.skip_broken, tell_picture, job,
                         &job->pictures, job->err);
}

/* ---- what names the run */

/* Of all that the result depends on; threads are not among it. */
static enum limoe_status name_run(const struct job *job, char digest[FINGERPRINT_DIGITS]) {
    const struct limoe_tune_options *o = &job->options;
    const struct pictures *p = &job->pictures;
    const uint64_t numbers[] = {o->kind, o->start_block, o->epochs, o->seed, o->flip, p->n, p->classes};
    char digits[FINGERPRINT_DIGITS + 1];
    struct fingerprint *f;
    enum limoe_status status = fingerprint_create(&f, job->err);
    if (status)
        return status;
    fingerprint_add(f, limoe_version(), limoe_model_base(job->model), 2 * (size_t)FINGERPRINT_DIGITS);
    fingerprint_add(f, limoe_model_backend(job->model), numbers, sizeof numbers);
    fingerprint_add(f, "rate", &o->rate, sizeof o->rate);
    fingerprint_add(f, "share", &o->held_out, sizeof o->held_out);
    for (uint32_t i = 0; i < o->n_templates; i++)
        fingerprint_add(f, "template", o->templates[i], strlen(o->templates[i]));
    for (uint32_t c = 0; c < p->classes; c++)
        fingerprint_add(f, "label", job->label[c], strlen(job->label[c]));
    fingerprint_add(f, "labels", p->label, p->n * sizeof *p->label);
    fingerprint_add(f, "whole", p->whole, p->n * 3 * p->size * p->size);
    fingerprint_add(f, "large", p->large, p->n * 3 * p->side * p->side);
    fingerprint_digits(f, digits);
    memcpy(digest, digits, FINGERPRINT_DIGITS);
    fingerprint_free(f);
    return LIMOE_OK;
}

/* ---- the record */

static double points(const struct job *job, uint32_t right) {
    return 100.0 * right / (double)job->outcome.held;
}

static void print_trial(struct buffer *out, const struct job *job, const char *key,
                        const struct course_trial *t) {
    if (!t->made)
        return;
    buffer_print(out, ",\"%s\":{\"right\":%.2f,\"strength\":%.9g,\"rate\":%.9g}", key,
                 points(job, t->right[t->place]), (double)course_strengths[t->place], t->rate);
}

/* No times: a run that was disturbed has the record of one that was not. */
static void print_record(struct buffer *out, const struct job *job) {
    const struct limoe_tune_options *o = &job->options;
    const struct course_outcome *found = &job->outcome;
    const struct course_trial *any = found->probe.made ? &found->probe : &found->tail;
    buffer_print(out, "{\"program\":\"%s\",\"rate\":%.9g,\"seed\":%llu,\"pictures\":%zu,\"flip\":%s",
                 limoe_version(), found->rate, (unsigned long long)o->seed, job->pictures.n,
                 o->flip ? "true" : "false");
    if (found->kind == LIMOE_ADAPTER_TAIL)
        buffer_print(out, ",\"epochs\":%u", o->epochs);
    buffer_print(out, ",\"skipped\":%zu,\"repeated\":%zu", job->pictures.skipped, job->pictures.repeated);
    if (found->held) {
        buffer_print(out, ",\"held_out\":{\"pictures\":%zu", found->held);
        if (job->zero_shot)
            buffer_print(out, ",\"before\":%.2f", points(job, any->right[0]));
        print_trial(out, job, "probe", &found->probe);
        print_trial(out, job, "tail", &found->tail);
        buffer_string(out, "}");
    }
    buffer_string(out, "}");
    buffer_bytes(out, "", 1);
}

static enum limoe_status write_adapter(const struct job *job, const char *path) {
    const struct course_outcome *found = &job->outcome;
    struct buffer record = {0};
    print_record(&record, job);
    const struct draft draft = {.base = limoe_model_base(job->model),
                                .start_block = job->options.start_block,
                                .label = job->label,
                                .labels = job->folder.classes,
                                .template = job->options.templates,
                                .templates = job->options.n_templates,
                                .strength = found->strength,
                                .training = record.data,
                                .embed = limoe_model_info(job->model)->embed,
                                .weight = found->weight,
                                .bias = found->bias,
                                .tuner = found->kind == LIMOE_ADAPTER_TAIL ? job->tuner : NULL,
                                .config = model_config(job->model),
                                .st = job->st};
    const enum limoe_status status = record.failed ? no_memory(job) : draft_write(path, &draft, job->err);
    buffer_free(&record);
    return status;
}

/* ---- the run */

static enum limoe_status write_first(void *context) {
    const struct job *job = context;
    const struct limoe_tune_options *o = &job->options;
    const struct limoe_tune_progress progress = {.stage = "probe", .first = true};
    const enum limoe_status status = write_adapter(job, o->first);
    if (status)
        return status;
    return o->tell(o->context, &progress) ? LIMOE_OK : limoe_fail(job->err, LIMOE_LOST, "stopped");
}

static enum limoe_status run(struct job *job) {
    const struct limoe_tune_options *o = &job->options;
    struct course course = {.model = job->model,
                            .pictures = &job->pictures,
                            .tuner = job->tuner,
                            .probe = o->kind != LIMOE_TUNE_TAIL,
                            .start_block = o->start_block,
                            .epochs = o->epochs,
                            .rate = o->rate,
                            .share = o->held_out > 0 ? o->held_out : 0,
                            .seed = o->seed,
                            .flip = o->flip,
                            .zero_shot = job->zero_shot,
                            .state = job->state,
                            .tell = o->tell,
                            .context = o->context,
                            .first = o->first ? write_first : NULL,
                            .first_context = job};
    enum limoe_status status = name_run(job, course.digest);
    return status ? status : course_run(&course, &job->outcome, job->err);
}

/* ---- the whole */

static enum limoe_status list_pictures(struct job *job, const char *pictures) {
    return job->from ? folder_list(job->from, &job->folder, job->err)
                     : folder_read(pictures, &job->folder, job->err);
}

/* `pictures` is a folder; NULL: there are examples. */
static enum limoe_status tune(struct job *job, const char *pictures) {
    enum limoe_status status;
    if ((status = check_options(job)) || (status = check_place(job)) ||
        (status = list_pictures(job, pictures)) || (status = name_classes(job)) ||
        (status = open_model(job)) || (status = prepare_learning(job)) || (status = read_pictures(job)) ||
        (status = run(job)) || (status = write_adapter(job, job->out)))
        return status;
    unlink(job->state);
    return LIMOE_OK;
}

static void release(struct job *job) {
    course_free(&job->outcome);
    pictures_free(&job->pictures);
    tuner_destroy(job->tuner);
    free(job->prompt_rows);
    free(job->zero_shot);
    prompts_free(&job->prompts);
    safetensors_close(job->st);
    limoe_model_close(job->model);
    limoe_processor_close(job->processor);
    free(job->label);
    folder_free(&job->folder);
    free(job);
}

static enum limoe_status tune_any(const char *dir, const char *pictures,
                                  const struct limoe_tune_examples *from, const char *out,
                                  const struct limoe_tune_options *options, struct limoe_error *err) {
    struct limoe_error own;
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to tune with");
    job->dir = dir;
    job->from = from;
    job->out = out;
    job->options = *options;
    job->err = err ? err : &own;
    fill_defaults(&job->options);
    const enum limoe_status status = tune(job, pictures);
    release(job);
    return status;
}

enum limoe_status limoe_tune(const char *dir, const char *pictures, const char *out,
                             const struct limoe_tune_options *options, struct limoe_error *err) {
    return tune_any(dir, pictures, NULL, out, options, err);
}

enum limoe_status limoe_tune_from(const char *dir, const struct limoe_tune_examples *examples,
                                  const char *out, const struct limoe_tune_options *options,
                                  struct limoe_error *err) {
    return tune_any(dir, NULL, examples, out, options, err);
}
