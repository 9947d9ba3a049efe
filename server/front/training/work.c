/* work.c - job.json and end.json: written by this program, and read as distrustfully as anything on a disk. */
#include "server/front/training/work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "server/formats/json_reader.h"

#define FORMAT "limoe-job-1"

/* ---- writing */

static void print_texts(struct buffer *out, const char *key, const struct text *text, size_t n) {
    buffer_print(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        buffer_string(out, i ? "," : "");
        buffer_json_text(out, text[i]);
    }
    buffer_string(out, "]");
}

static void print_string(struct buffer *out, const char *key, const char *string) {
    buffer_print(out, ",\"%s\":", key);
    buffer_json_string(out, string);
}

void work_describe(struct buffer *out, const struct training_job *job,
                   const struct training_request *request) {
    const struct classify_request *d = &request->definition;
    buffer_string(out, "{\"format\":\"" FORMAT "\"");
    print_string(out, "name", job->name);
    print_string(out, "model", job->said.model);
    print_string(out, "base", job->base);
    print_string(out, "before", job->before);
    buffer_print(out, ",\"created\":%lld,\"kind\":%d,\"start_block\":%u,\"epochs\":%u,\"rate\":%.17g",
                 (long long)job->said.created, request->kind, request->start_block, request->epochs,
                 request->rate);
    buffer_print(out, ",\"held_out\":%.17g,\"seed\":%llu,\"flip\":%s,\"skip_broken\":%s", request->held_out,
                 (unsigned long long)request->seed, request->flip ? "true" : "false",
                 request->skip_broken ? "true" : "false");
    print_texts(out, "labels", d->labels, d->n_labels);
    print_texts(out, "templates", d->templates, d->n_templates);
    buffer_string(out, "}\n");
}

void work_describe_end(struct buffer *out, const struct training_job *job) {
    buffer_print(out, "{\"format\":\"" FORMAT "\",\"state\":%d,\"ended\":%lld,\"seconds\":%.3f",
                 job->said.state, (long long)job->ended, job->said.seconds);
    print_string(out, "why", job->said.why);
    print_string(out, "adapter", job->stored);
    buffer_string(out, "}\n");
}

/* ---- reading */

/* The object of this format; NULL: it is none. */
static const struct json_value *open_text(struct text text, struct arena *arena) {
    struct json_value *value;
    struct json_error error;
    if (!text.data || !json_read(text.data, text.size, arena, &value, &error))
        return NULL;
    const struct json_value *format = json_member(value, text_of("format"));
    return format && format->type == JSON_STRING && text_is(format->string, FORMAT) ? value : NULL;
}

static bool get_number(const struct json_value *object, const char *name, double least, double most,
                       double *out) {
    const struct json_value *value = json_member(object, text_of(name));
    if (!value || value->type != JSON_NUMBER || !(value->number >= least && value->number <= most))
        return false;
    *out = value->number;
    return true;
}

static bool get_u32(const struct json_value *object, const char *name, uint32_t *out) {
    double number;
    if (!get_number(object, name, 0, UINT32_MAX, &number))
        return false;
    *out = (uint32_t)number;
    return true;
}

static bool get_string(const struct json_value *object, const char *name, char *out, size_t size) {
    const struct json_value *value = json_member(object, text_of(name));
    if (!value || value->type != JSON_STRING || value->string.size >= size)
        return false;
    memcpy(out, value->string.data, value->string.size);
    out[value->string.size] = '\0';
    return true;
}

static bool get_strings(const struct json_value *object, const char *name, struct arena *arena,
                        const char ***out, uint32_t *n) {
    const struct json_value *list = json_member(object, text_of(name));
    uint32_t count = 0;
    if (!list || list->type != JSON_ARRAY)
        return false;
    const char **strings = arena_array(arena, list->count + 1, sizeof *strings);
    for (const struct json_value *one = list->child; strings && one; one = one->next) {
        if (one->type != JSON_STRING)
            return false;
        strings[count] = arena_copy(arena, one->string.data, one->string.size);
        if (!strings[count++])
            return false;
    }
    *out = strings;
    *n = count;
    return strings;
}

static bool get_switch(const struct json_value *object, const char *name, uint32_t *out) {
    const struct json_value *value = json_member(object, text_of(name));
    *out = value && value->type == JSON_TRUE;
    return *out || (value && value->type == JSON_FALSE);
}

static bool read_work(const struct json_value *object, struct arena *arena, struct training_work *work) {
    struct trainer_task *task = &work->task;
    double seed;
    *task = (struct trainer_task){.magic = TRAINER_TASK};
    if (!get_u32(object, "kind", &task->kind) || task->kind > LIMOE_TUNE_TAIL ||
        !get_u32(object, "start_block", &task->start_block) || !get_u32(object, "epochs", &task->epochs) ||
        !get_number(object, "rate", 0, 10, &task->rate) ||
        !get_number(object, "held_out", -1, 1, &task->held_out) ||
        !get_number(object, "seed", 0, 9007199254740992.0, &seed) ||
        !get_switch(object, "flip", &task->flip) || !get_switch(object, "skip_broken", &task->skip_broken))
        return false;
    task->seed = (uint64_t)seed;
    return get_strings(object, "labels", arena, &work->classes, &task->n_classes) &&
           get_strings(object, "templates", arena, &work->templates, &task->n_templates) &&
           get_string(object, "base", task->base, sizeof task->base) && task->n_classes > 0;
}

/* Digits of a file, or none. */
static bool get_digits(const struct json_value *object, const char *name, char out[TAIL_KEY_HEX + 1]) {
    return get_string(object, name, out, TAIL_KEY_HEX + 1) &&
           (!out[0] || strspn(out, "0123456789abcdef") == TAIL_KEY_HEX);
}

bool work_read_job(struct text text, struct arena *arena, struct training_job *job,
                   struct training_work *work) {
    const struct json_value *object = open_text(text, arena);
    struct api_error error;
    double created;
    if (!object || !get_string(object, "name", job->name, sizeof job->name) ||
        !classifier_check_name(text_of(job->name), "name", &error) ||
        !get_string(object, "model", job->said.model, sizeof job->said.model) ||
        !get_string(object, "base", job->base, sizeof job->base) ||
        !get_digits(object, "before", job->before) || !get_number(object, "created", 0, 1e15, &created))
        return false;
    job->said.created = (int64_t)created;
    return !work || read_work(object, arena, work);
}

bool work_read_end(struct text text, struct arena *arena, struct training_job *job) {
    const struct json_value *object = open_text(text, arena);
    struct training_job read = *job;
    uint32_t state;
    double ended;
    if (!object || !get_u32(object, "state", &state) || state < TRAINING_READY || state >= TRAINING_STATES ||
        !get_number(object, "ended", 1, 1e15, &ended) ||
        !get_number(object, "seconds", 0, 1e15, &read.said.seconds) ||
        !get_string(object, "why", read.said.why, sizeof read.said.why) ||
        !get_digits(object, "adapter", read.stored))
        return false;
    *job = read;
    job->said.state = (enum training_state)state;
    job->said.progress = state == TRAINING_READY;
    job->ended = (int64_t)ended;
    return true;
}
