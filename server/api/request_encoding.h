/* request_encoding.h - the fields that say what an embedding's numbers are and how they are written, by the
 * names that several servers gave them. Private to the readers of requests.
 *
 *     encoding_format                 OpenAI's: "float" and "base64" are ways to write; "int8" … numbers, too
 *     embedding_type, embedding_types Jina's, NVIDIA's and Cohere's: numbers; or "base64", of float32
 *     output_dtype                    Voyage's: numbers, which encoding_format "base64" then writes
 */
#ifndef LIMOE_SERVER_API_REQUEST_ENCODING_H
#define LIMOE_SERVER_API_REQUEST_ENCODING_H

#include "server/api/request.h"
#include "server/formats/json_reader.h"

/* What the fields have said so far; zeros before the first. */
struct encoding_choice {
    const char *by; /* the field that has named the numbers; NULL: none has */
    enum request_encoding numbers;
    bool base64;
};

/* Takes in the field. False: *error says what it is and what is accepted. */
bool encoding_read(struct encoding_choice *choice, const struct json_value *field, struct api_error *error);

/* What all fields together ask for; encoding_format "base64" beside other numbers than float32 only where
 * output_dtype named them: other fields come from clients that decode base64 as float32. */
bool encoding_settle(const struct encoding_choice *choice, enum request_encoding *out,
                     struct api_error *error);

#endif
