/* chat.h - POST /v1/chat/completions: OpenAI's request, in which what is seen of each picture takes its place. No HTTP here.
 *
 * What is asked of the language model is its server's to read: members other than messages and model pass as they came.
 * No state, any thread.
 */
#ifndef LIMOE_SERVER_API_CHAT_H
#define LIMOE_SERVER_API_CHAT_H

#include "server/api/describe.h"
#include "server/formats/json_reader.h"

struct chat_request {
    struct describe_request describe; /* of the pictures, in the order of the messages; there may be none */
    const struct json_value *object;  /* the request */
    bool stream;
};

/* `upstream`: what the language model goes by, which "model" may be, too. */
bool chat_read(const struct request_models *models, const char *upstream, const char *body, size_t size,
               struct arena *arena, struct chat_request *out, struct api_error *error);

/* Whether a message's part is a picture: by its type alone, whatever else it has. */
bool chat_part_is_image(const struct json_value *part);

/* Appends the request to the model's server. seen [n_images]: each picture's words as text. */
void chat_write_request(struct buffer *out, const struct chat_request *request, const char *upstream,
                        const struct text *seen);

/* Whether the model's server has answered a chat. False, with a 502: it has not. */
bool chat_check_reply(const char *bytes, size_t size, struct arena *arena, struct api_error *error);

#endif
