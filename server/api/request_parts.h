/* request_parts.h - what the readers of the routes share. Private to request*.c and the dialects' readers. */
#ifndef LIMOE_SERVER_API_REQUEST_PARTS_H
#define LIMOE_SERVER_API_REQUEST_PARTS_H

#include "server/api/request.h"
#include "server/formats/json_reader.h"

/* Parses a body that must be one JSON object. */
bool request_read_object(const char *body, size_t size, struct arena *arena, const struct json_value **object,
                         struct api_error *error);

/* The same of a body that may have more in it. */
bool request_read_large_object(const char *body, size_t size, const struct json_limits *limits,
                               struct arena *arena, const struct json_value **object,
                               struct api_error *error);

/* request_classify_json and request_embeddings_json, of a body that has been read. */
bool request_classify_object(const struct request_models *models, const struct json_value *object,
                             struct arena *arena, struct classify_request *out, struct api_error *error);
bool request_embeddings_object(const struct request_models *models, const struct json_value *object,
                               struct arena *arena, struct embed_request *out, struct api_error *error);

/* The 400 for a field no form of the route knows; `accepted` lists those it does. */
bool request_refuse_field(const char *name, size_t size, const char *accepted, struct api_error *error);

/* The 400 for a field that holds something else than it should. */
bool request_refuse_type(const char *param, const char *accepted, enum json_type found,
                         struct api_error *error);

/* Which model the object's "model" asks for; the default where it has none. Read before the other fields,
 * which may depend on it. */
bool request_choose_model(const struct request_models *models, const struct json_value *object, size_t *out,
                          struct api_error *error);

/* A field that is a list of texts, and where it goes. */
struct request_list {
    const char *name;
    bool commas;          /* as plain text, given once, it is divided at commas: "cat, dog" */
    size_t most;          /* checked before memory is spent on it */
    const char *too_many; /* error code */
    const struct text **texts;
    size_t *count;
};
struct request_list request_labels(struct classify_request *request);
struct request_list request_templates(struct classify_request *request);

/* A JSON array of strings → slices. The texts themselves are request_check_labels' to judge. */
bool request_read_strings(const struct json_value *list, const struct request_list *field,
                          struct arena *arena, struct api_error *error);

/* Whether list[i], a label, a term or a template, is no blank and not too long. `empty_code`: where it is blank. */
bool request_check_text(struct text text, const char *list, size_t i, const char *empty_code,
                        struct api_error *error);
/* How many "{}" it has. */
size_t request_placeholders(struct text template);

/* What reads "labels" and "templates" (fields.h): its own reader, or one that begins with it. */
struct request_labels_reader {
    struct classify_request *out;
    struct arena *arena;
    struct api_error *error;
};
bool request_read_labels(void *reader, const struct json_value *value);
bool request_read_templates(void *reader, const struct json_value *value);

/* A form's parts, or a query's arguments. */
struct request_form {
    const struct request_field *fields; /* [n] */
    size_t n;
};
/* A field that may stand once: *field is it, or NULL. */
bool request_form_one(const struct request_form *form, const char *name, const struct request_field **field,
                      struct api_error *error);
/* A list is its field repeated, or one field with a JSON array or with commas. */
bool request_form_list(const struct request_form *form, const struct request_list *list, struct arena *arena,
                       struct api_error *error);
/* What the JSON reader does for its strings: UTF-8, without NUL. */
bool request_form_text(struct text text, const char *param, struct api_error *error);

/* Labels and templates, or a classifier's name: what a classification must have one of. With an adapter, which may have labels of
 * its own, neither is needed yet. */
bool request_check_choice(struct classify_request *request, struct api_error *error);
bool request_refuse_top_k(struct api_error *error);

/* What a bare string is. */
enum request_strings { STRINGS_BY_LOOK, STRINGS_ARE_TEXTS, STRINGS_ARE_IMAGES };

/* Reads items to embed: strings, {"text"} and {"image"}. */
struct request_items_reader {
    struct arena *arena;
    enum request_strings strings;
    struct api_error *error;
};
/* A JSON value → an item. `param` must live as long as the item. */
bool request_read_item(const struct request_items_reader *reader, const struct json_value *value,
                       const char *param, struct request_item *out);
/* A JSON list → items[list->count], which the caller has checked the length of. Their params are "name[i]". */
bool request_read_item_list(const struct request_items_reader *reader, const struct json_value *list,
                            const char *name, struct request_item *items);
/* A field that is one item or a list of 1 to REQUEST_MAX_ITEMS; `value` NULL: it is missing. `name` is static. */
bool request_read_items(const struct request_items_reader *reader, const struct json_value *value,
                        const char *name, struct embed_request *out);
/* Whether the model takes what was sent. */
bool request_check_modalities(const struct limoe_info *model, const struct request_item *items, size_t n,
                              struct api_error *error);

/* A JSON string → a picture, or the URL of one (out->remote). `param` must live as long as the item. */
bool request_read_image(struct text text, const char *param, struct arena *arena, struct request_item *out,
                        struct api_error *error);
/* The fields image and images (NULL: absent), of which there is one → 1 to REQUEST_MAX_ITEMS pictures, in the arena. */
bool request_read_images(const struct json_value *image, const struct json_value *images, struct arena *arena,
                         const struct request_item **out, size_t *count, struct api_error *error);
/* A text of 1 to REQUEST_MAX_TEXT_BYTES bytes. `param` as above. */
bool request_read_text(struct text text, const char *param, struct request_item *out,
                       struct api_error *error);
/* OpenAI's messages of a chat, as vLLM embeds them: one message whose content is one item. */
bool request_read_messages(const struct request_items_reader *reader, const struct json_value *messages,
                           struct embed_request *out);

#endif
