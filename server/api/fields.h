/* fields.h - the fields of each request, one table a request: its reader dispatches by it, messages list what
 * is accepted from it, and the OpenAPI document has its schema of it.
 *
 * A field in several forms of one request (JSON, a form's parts, the query) is one row. Tables are static and
 * read-only; any thread.
 */
#ifndef LIMOE_SERVER_API_FIELDS_H
#define LIMOE_SERVER_API_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"
#include "server/api/api_error.h"
#include "server/formats/json_reader.h"

/* JSON as it stands in a source: SCHEMA({"type": "string"}) is a string constant. */
#define SCHEMA(...) #__VA_ARGS__
/* A number that a macro stands for, as JSON. */
#define FIELD_NUMBER(number) SCHEMA(number)

/* Where a field may stand: a set of these. */
enum field_form { FIELD_JSON = 1, FIELD_PART = 2, FIELD_QUERY = 4 };

/* Numbers of bytes, items and what is counted are those from `least` to `most`; 0: there is no such bound. */
enum field_kind {
    FIELD_STRING,   /* of least to most bytes */
    FIELD_LABELS,   /* a list of least to most texts, each of 1 to `bytes` bytes and not blank */
    FIELD_PICTURE,  /* in JSON a data URI or base64, in a form a file, given again for several */
    FIELD_PICTURES, /* a list of least to most of the former, in JSON alone */
    FIELD_ITEMS,    /* a text or a picture (the component Item), or a list of least to most of them */
    FIELD_WHOLE,    /* a whole number */
    FIELD_CHOICE,   /* one of `choices` */
    FIELD_SCHEMA,   /* whatever `schema` says of it */
};

/* Reads a field's value, which is not null, to what `reader` points to: the request's own reader. False:
 * the reader's error says why. */
typedef bool field_read(void *reader, const struct json_value *value);

struct field {
    const char *name;
    unsigned forms; /* enum field_form */
    enum field_kind kind;
    bool required; /* in every form that it has */
    bool unlisted; /* other servers' name for a field: accepted, and not among those that messages list */
    uint64_t least, most, bytes;
    const char *const *choices; /* ends with NULL */
    const char *schema;         /* as JSON; without null, which any field that is not required may be */
    const char *fallback;       /* the default as JSON, where that is a value; or NULL */
    const char *what;           /* a sentence or two: what it means, and what no schema can say */
    field_read *read;           /* of the JSON form; NULL: it has been read before the others */
};

struct field_table {
    const struct field *fields; /* [n] */
    size_t n;
    /* A field that no row has, which must end in a value taken or an error (request_peers.h); or NULL. */
    field_read *other;
    /* Appends ,"name":{schema} for each such field; NULL where there are none. */
    void (*write_others)(struct buffer *out);
};
/* The table of an array of rows. */
#define FIELD_TABLE(rows) .fields = (rows), .n = sizeof(rows) / sizeof *(rows)

/* The row of a name in one of the forms; NULL: it has none. */
const struct field *field_find(const struct field_table *table, struct text name, unsigned form);
/* "image, labels, top_k": what a form of the request accepts. Returns out. */
const char *field_names(const struct field_table *table, unsigned form, char *out, size_t size);

/* Each member of a JSON object to its row's `read`; null is absent. Fails on a field that is none. */
bool field_read_object(const struct json_value *object, const struct field_table *table, void *reader,
                       struct api_error *error);

/* Appends the JSON schema of one field, or of a form as an object that has no others. */
void field_schema(struct buffer *out, const struct field *field, unsigned form);
void field_object_schema(struct buffer *out, const struct field_table *table, unsigned form);

/* Rows, and parts of rows, that several requests have. */
#define FIELD_IMAGES_ROW                                                                                     \
    .name = "images", .forms = FIELD_JSON, .kind = FIELD_PICTURES, .least = 1, .most = REQUEST_MAX_ITEMS,    \
    .what =                                                                                                  \
        "Several pictures, each a data URI, base64, or a URL where these are fetched, in place of image."
#define FIELD_LABELS_ROW                                                                                     \
    .name = "labels", .kind = FIELD_LABELS, .least = 1, .most = REQUEST_MAX_LABELS,                          \
    .bytes = REQUEST_MAX_LABEL_BYTES,                                                                        \
    .what = "The names to choose from; in a form or a query given again for each, once as a JSON array, or " \
            "once with commas between them."
#define FIELD_TEMPLATES_ROW                                                                                  \
    .name = "templates", .kind = FIELD_LABELS, .most = REQUEST_MAX_TEMPLATES,                                \
    .bytes = REQUEST_MAX_LABEL_BYTES, .fallback = "[\"{}\"]",                                                \
    .what = "Prompts, each with exactly one {} for the label; a label's prompts are ensembled. Labels x "    \
            "templates are bounded, too (too_many_prompts)."
#define FIELD_MODEL(places)                                                                                  \
    {                                                                                                        \
        .name = "model", .forms = (places), .kind = FIELD_STRING,                                            \
        .what = "The name of a hosted model or one of its aliases. Absent or empty: the default model."      \
    }

#endif
