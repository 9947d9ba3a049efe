/* answer_training.c - the JSON of jobs that learn adapters. */
#include <string.h>

#include "base/arena.h"
#include "server/api/training.h"
#include "server/formats/json_reader.h"

const char *const training_state_names[TRAINING_STATES] = {[TRAINING_QUEUED] = "queued",
                                                           [TRAINING_RUNNING] = "training",
                                                           [TRAINING_READY] = "ready",
                                                           [TRAINING_FAILED] = "failed",
                                                           [TRAINING_CANCELLED] = "cancelled"};

void answer_training(struct buffer *out, const struct training_answer *job) {
    const bool going = job->state == TRAINING_RUNNING && job->stage[0];
    buffer_print(out, ",\"progress\":%.4g,\"seconds\":%.3f,\"stage\":", job->progress, job->seconds);
    buffer_json_string(out, going ? job->stage : NULL);
    if (going)
        buffer_print(out, ",\"epoch\":%u,\"epochs\":%u", job->epoch, job->epochs);
    else
        buffer_string(out, ",\"epoch\":null,\"epochs\":null");
    buffer_string(out, ",\"loss\":");
    if (going && job->loss > 0)
        buffer_json_float(out, job->loss);
    else
        buffer_string(out, "null");
    buffer_string(out, ",\"notes\":[");
    for (size_t i = 0; i < job->n_notes; i++) {
        buffer_string(out, i ? "," : "");
        buffer_json_string(out, job->note[i]);
    }
    buffer_string(out, "],\"reason\":");
    buffer_json_string(out, job->why[0] ? job->why : NULL);
}

void answer_training_head(struct buffer *out, struct text name, const struct training_answer *job) {
    buffer_string(out, "{\"object\":\"adapter\",\"name\":");
    buffer_json_text(out, name);
    buffer_string(out, ",\"model\":");
    buffer_json_string(out, job->model);
    buffer_print(out, ",\"state\":\"%s\",\"created\":%lld", training_state_names[job->state],
                 (long long)job->created);
}

void answer_training_alone(struct buffer *out, struct text name, const struct training_answer *job) {
    answer_training_head(out, name, job);
    answer_training(out, job);
    buffer_string(out, ",\"held_out\":null}");
}

void answer_training_begun(struct buffer *out, struct text name, int64_t created) {
    buffer_string(out, "{\"object\":\"adapter.job\",\"name\":");
    buffer_json_text(out, name);
    buffer_print(out, ",\"state\":\"queued\",\"created\":%lld}", (long long)created);
}

/* A number among the members of an object. */
static bool find_number(const struct json_value *object, const char *name, double *out) {
    const struct json_value *value = json_given(object, text_of(name));
    if (!value || value->type != JSON_NUMBER)
        return false;
    *out = value->number;
    return true;
}

/* The record is the adapter's, which may have been put by anyone. */
void answer_held_out(struct buffer *out, const struct limoe_adapter_info *info) {
    struct arena *arena = arena_new();
    struct json_value *training;
    struct json_error at;
    double before, after;
    const char *kind = limoe_adapter_kind_name(info->kind);
    const bool read =
        arena && info->training && json_read(info->training, strlen(info->training), arena, &training, &at);
    const struct json_value *held = read ? json_given(training, text_of("held_out")) : NULL;
    buffer_string(out, ",\"held_out\":");
    if (!held || !find_number(json_given(held, text_of(kind)), "right", &after))
        buffer_string(out, "null");
    else if (find_number(held, "before", &before))
        buffer_print(out, "{\"before\":%.4g,\"after\":%.4g}", before, after);
    else
        buffer_print(out, "{\"before\":null,\"after\":%.4g}", after);
    arena_free(arena);
}
