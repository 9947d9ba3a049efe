/* adapter.h - adapters in requests and answers: which one, at what strength; what is said of one that is kept. */
#ifndef LIMOE_SERVER_API_ADAPTER_H
#define LIMOE_SERVER_API_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "limoe.h"
#include "server/api/api_error.h"
#include "server/api/fields.h"
#include "server/api/request.h"

#define ADAPTER_BASE      "base" /* in place of a name: the model as it is */
#define ADAPTER_MOST_LIST 16u    /* names in a list */

/* Rows of a request's table, with their readers. */
#define FIELD_ADAPTER_ROW(places, reader)                                                                    \
    {                                                                                                        \
        .name = "adapter", .forms = (places), .kind = FIELD_STRING,                                          \
        .what = "The name of a stored adapter of the model, or \"base\" for the model as it is.",            \
        .read = (reader)                                                                                     \
    }
#define FIELD_STRENGTH_ROW(places, reader)                                                                   \
    {                                                                                                        \
        .name = "strength", .forms = (places), .kind = FIELD_SCHEMA,                                         \
        .schema = SCHEMA({"type" : "number", "minimum" : 0, "maximum" : 1}),                                 \
        .what = "How much of the adapter is used: 0 is the model as it is. Absent: as the adapter says.",    \
        .read = (reader)                                                                                     \
    }

/* Values of the two; what is wrong is said in *error. The list, with names in the arena, is for who answers by several. */
bool request_read_adapter(struct request_adapter *out, const struct json_value *value,
                          struct api_error *error);
bool request_read_adapter_list(struct request_adapter *out, const struct json_value *value,
                               struct arena *arena, struct api_error *error);
bool request_read_strength(struct request_adapter *out, const struct json_value *value,
                           struct api_error *error);
/* A strength is of an adapter. */
bool request_check_adapter(const struct request_adapter *adapter, struct api_error *error);

/* The name in a path: as a classifier's, and not "base". */
bool request_adapter_name(struct text name, struct api_error *error);

/* The 404 for a name that is not stored; nearest: one that looks like it, or NULL. False. */
bool adapter_refuse_unknown(struct text name, const char *param, const char *nearest,
                            struct api_error *error);

struct training_answer;

/* What is printed of an adapter. */
struct adapter_answer {
    const char *name;
    const char *model;                 /* by which it is served; NULL: by none */
    int64_t created;                   /* Unix seconds */
    uint64_t bytes;                    /* of its file */
    const struct training_answer *job; /* by which it was learnt, or is to be replaced; NULL: none is known */
};
/* Members that say what an adapter is: "kind" and what follows it, with a comma before each. */
void answer_adapter_info(struct buffer *out, const struct limoe_adapter_info *info);
void answer_adapter(struct buffer *out, const struct adapter_answer *adapter,
                    const struct limoe_adapter_info *info);

/* An entry of the list: between answer.h's answer_list_begin and answer_list_end. */
void answer_adapters_entry(struct buffer *out, size_t i, const struct adapter_answer *adapter,
                           enum limoe_adapter_kind kind, float strength, size_t label_count);
/* A name that has nothing but a job. */
void answer_adapters_job(struct buffer *out, size_t i, const char *name, const struct training_answer *job);

#endif
