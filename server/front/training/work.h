/* work.h - a job's files as bytes and JSON. Private to this folder; nothing of it touches the disk. */
#ifndef LIMOE_SERVER_FRONT_TRAINING_WORK_H
#define LIMOE_SERVER_FRONT_TRAINING_WORK_H

#include "server/front/training/parts.h"

#define WORK_JOB       "job.json"
#define WORK_END       "end.json"
#define WORK_EXAMPLES  "examples"
#define WORK_MOST_TEXT (16 << 20) /* of either JSON */

/* The examples: the head, a row for each, the names of those that have one, and their bytes, end to end. */
#define WORK_MAGIC "limoe-examples1" /* with its NUL */
struct work_head {
    char magic[sizeof WORK_MAGIC];
    uint64_t n;
};
struct work_row {
    uint64_t size;
    uint32_t class, name_bytes; /* 0: it is counted within its class */
};

void work_describe(struct buffer *out, const struct training_job *job,
                   const struct training_request *request);
void work_describe_end(struct buffer *out, const struct training_job *job);

/* Reads job.json to the job and, unless it is NULL, to the work, whose strings are in the arena. False: it is none. */
bool work_read_job(struct text text, struct arena *arena, struct training_job *job,
                   struct training_work *work);
/* Reads end.json to the job. False: it is none, and the job has not ended. */
bool work_read_end(struct text text, struct arena *arena, struct training_job *job);

#endif
