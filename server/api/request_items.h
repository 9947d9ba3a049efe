/* request_items.h - one text or picture to embed, in the forms that clients of several servers send it.
 * Private to the readers of requests.
 *
 *     "a cat", "data:image/png;base64,…"
 *     {"text": …}, {"image": …}, {"url": …}, {"bytes": …}
 *     {"type":"text","text": …}, {"type":"image_url","image_url":{"url": …}}, {"type":"image_base64",…}
 *
 * A picture is a data URI or base64 in each. No picture is fetched from a URL.
 */
#ifndef LIMOE_SERVER_API_REQUEST_ITEMS_H
#define LIMOE_SERVER_API_REQUEST_ITEMS_H

#include "server/api/request.h"
#include "server/formats/json_reader.h"

/* What a bare string is. */
enum strings { STRINGS_BY_LOOK, STRINGS_ARE_TEXTS, STRINGS_ARE_IMAGES };

struct items_reader {
    struct arena *arena;
    enum strings strings;
    struct api_error *error;
};

/* A text of 1 to REQUEST_MAX_TEXT_BYTES bytes. `param` must live as long as the item; so below. */
bool items_read_text(struct items_reader *r, struct text text, const char *param, struct request_item *out);

/* One item in any of the forms. */
bool items_read(struct items_reader *r, const struct json_value *value, const char *param,
                struct request_item *out);

/* An item that is a string, or 1 to REQUEST_MAX_ITEMS of them in a list → out->items. `forms` are those that
 * are accepted, for messages. */
bool items_read_list(struct items_reader *r, const struct json_value *list, const char *param,
                     const char *forms, struct embed_request *out);

/* OpenAI's messages of a chat, as vLLM embeds them: one message whose content is one item. */
bool items_read_messages(struct items_reader *r, const struct json_value *messages,
                         struct embed_request *out);

/* Whether the model takes what was sent. */
bool items_check_modalities(const struct limoe_info *model, const struct embed_request *request,
                            struct api_error *error);

#endif
