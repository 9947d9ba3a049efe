/* training.h - jobs that learn an adapter: what POST /v1/adapters/{name} asks for, and what is said of a job.
 *
 * Each example comes into the request by training_take, whatever brings it: a JSON list, a form's parts, an archive. Pictures stay
 * encoded, in the body or the arena, and those of an archive packed in it.
 */
#ifndef LIMOE_SERVER_API_TRAINING_H
#define LIMOE_SERVER_API_TRAINING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "limoe_tune.h"
#include "server/api/api_error.h"
#include "server/api/fields.h"
#include "server/api/request.h"
#include "server/formats/archive.h"

#define TRAINING_MOST_EXAMPLES 10000u
#define TRAINING_MOST_ENTRIES  30000u /* of an archive: macOS adds one to each file, and folders are some */
#define TRAINING_MOST_SHARE    0.5    /* held out */

struct training_example {
    struct text label;
    const uint8_t *bytes; /* an encoded picture; NULL: it is an entry of the request's archive */
    size_t size;          /* of the picture, also of one that is packed */
    size_t entry;         /* of the archive, where it is one's */
    const char *param;    /* where it stood, for messages */
};

/* A zip file in the body. Opened with these limits it has the entries that examples name. */
struct training_archive {
    const void *bytes; /* NULL: there is none */
    size_t size;
    struct archive_limits limits;
};

struct training_request {
    struct classify_request
        definition; /* model, labels (once read: each class once, by bytes) and templates */
    enum limoe_tune_kind kind;
    uint32_t start_block, epochs; /* LIMOE_TUNE_MIDDLE; 0: the default */
    double rate, held_out;        /* 0: the default; held_out below 0: nothing */
    uint64_t seed;
    bool flip, skip_broken;
    struct training_example *examples; /* [n] */
    size_t n, room;
    struct training_archive archive;
    uint32_t *of; /* [n], once read: each example's class among the labels, ascending */
};

/* Adds an example; what it points to must outlive the request. False: its label or picture is none, or there are too many. */
bool training_take(struct training_request *request, const struct training_example *example,
                   struct arena *arena, struct api_error *error);

/* Adds an example for each picture in the request's archive, LABEL/picture, in the order of their names; none of it is unpacked.
 * False: *error says what is not accepted, and which entry it is. */
bool training_take_archive(struct training_request *request, struct arena *arena, struct api_error *error);

extern const struct field_table request_training_fields;

bool request_training_json(const struct request_models *models, const char *body, size_t size,
                           struct arena *arena, struct training_request *out, struct api_error *error);
/* Parts: examples[LABEL] (a file, repeated), archive (a zip file of LABEL/picture), labels, templates, model, kind, options (JSON).
 * A picture in the archive has at most `most_bytes`. */
bool request_training_multipart(const struct request_models *models, const struct request_field *parts,
                                size_t n, uint64_t most_bytes, struct arena *arena,
                                struct training_request *out, struct api_error *error);

/* ---- what is said of a job */

enum training_state {
    TRAINING_QUEUED,
    TRAINING_RUNNING,
    TRAINING_READY,
    TRAINING_FAILED,
    TRAINING_CANCELLED,
    TRAINING_STATES,
};
extern const char *const training_state_names[TRAINING_STATES];

#define TRAINING_NOTES      8
#define TRAINING_NOTE_BYTES 300

struct training_answer {
    enum training_state state;
    int64_t created; /* Unix seconds */
    double seconds;  /* of training */
    double progress; /* 0 to 1 */
    char stage[24];
    uint32_t epoch, epochs; /* of the stage */
    float loss;
    char model[257];
    char why[512]; /* of a job that failed */
    size_t n_notes;
    char note[TRAINING_NOTES][TRAINING_NOTE_BYTES];
};

/* ,"progress":… of an adapter's object, or of one that is not there yet. */
void answer_training(struct buffer *out, const struct training_answer *job);
/* The members that an adapter of which there is nothing but its job begins with; and the whole of it. */
void answer_training_head(struct buffer *out, struct text name, const struct training_answer *job);
void answer_training_alone(struct buffer *out, struct text name, const struct training_answer *job);
/* What POST is answered with. */
void answer_training_begun(struct buffer *out, struct text name, int64_t created);
/* ,"held_out":{"before":…,"after":…}, in per cent, by an adapter's record; null where it has none. */
void answer_held_out(struct buffer *out, const struct limoe_adapter_info *info);

#endif
