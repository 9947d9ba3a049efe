/* request_describe.h - what the readers of requests share that have pictures described. Private to request*.c. */
#ifndef LIMOE_SERVER_API_REQUEST_DESCRIBE_H
#define LIMOE_SERVER_API_REQUEST_DESCRIBE_H

#include "server/api/classifier.h"
#include "server/api/describe.h"
#include "server/api/request_parts.h"

/* What reads "tags", "attributes", "captions" and "ocr" (fields.h): its own reader, or one that begins with it. */
struct describe_reader {
    struct describe_request *out;
    struct describe_words *words; /* of the object that is read */
    struct arena *arena;
    struct api_error *error;
};
bool describe_read_tags(void *reader, const struct json_value *value);
bool describe_read_attributes(void *reader, const struct json_value *value);
bool describe_read_captions(void *reader, const struct json_value *value);
bool describe_read_ocr(void *reader, const struct json_value *value);

/* A name as classifier_check_name accepts it, k, threshold: what a field of terms may say. */
#define TERMS_SCHEMA                                                                                         \
    "{\"type\":\"object\",\"properties\":{\"vocabulary\":{\"anyOf\":[" CLASSIFIER_NAME_SCHEMA                \
    ",{\"type\":\"null\"}]},"                                                                                \
    "\"k\":{\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":50,\"default\":5},"                    \
    "\"threshold\":{\"anyOf\":[{\"const\":\"auto\"},{\"type\":\"number\",\"minimum\":-1,\"maximum\":1},"     \
    "{\"type\":\"null\"}],\"default\":\"auto\"}},\"additionalProperties\":{\"type\":\"null\"}}"
#define CAPTIONS_SCHEMA                                                                                      \
    "{\"type\":\"object\",\"properties\":{\"vocabulary\":" CLASSIFIER_NAME_SCHEMA                            \
    ",\"n\":{\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":50,\"default\":5}},"                  \
    "\"required\":[\"vocabulary\"],\"additionalProperties\":{\"type\":\"null\"}}"

/* Rows of a table. */
#define DESCRIBE_WORDS_ROWS                                                                                  \
    {.name = "tags",                                                                                         \
     .forms = FIELD_JSON,                                                                                    \
     .kind = FIELD_SCHEMA,                                                                                   \
     .schema = TERMS_SCHEMA,                                                                                 \
     .what = "Which vocabulary tags are taken from (tags, a stored vocabulary, or a stored classifier, "     \
             "whose labels are its terms), how many at most, and what a cosine must reach: a number, or "    \
             "what is unusual for the term.",                                                                \
     .read = describe_read_tags},                                                                            \
        {.name = "attributes",                                                                               \
         .forms = FIELD_JSON,                                                                                \
         .kind = FIELD_SCHEMA,                                                                               \
         .schema = TERMS_SCHEMA,                                                                             \
         .what = "The same of attributes, from the vocabulary attributes where none is named.",              \
         .read = describe_read_attributes},                                                                  \
        {.name = "captions",                                                                                 \
         .forms = FIELD_JSON,                                                                                \
         .kind = FIELD_SCHEMA,                                                                               \
         .schema = CAPTIONS_SCHEMA,                                                                          \
         .what = "The nearest n of a stored classifier's labels, which are captions. Absent: none.",         \
         .read = describe_read_captions},                                                                    \
    {                                                                                                        \
        .name = "ocr", .forms = FIELD_JSON, .kind = FIELD_STRING, .most = REQUEST_MAX_TEXT_BYTES,            \
        .what = "What is written on the pictures, for a prompt of mode paper.", .read = describe_read_ocr    \
    }

/* A text of up to REQUEST_MAX_TEXT_BYTES bytes, which may be empty. */
bool describe_read_text(const struct describe_reader *r, const struct json_value *value, const char *param,
                        struct text *out);

#endif
