/* request_peers.h - fields that clients of other servers send with a request for embeddings.
 *
 * Each is accepted where it asks for what is done anyway, so that such a client works as it is, and refused
 * with the reason where it asks for something else. One table, which docs/api.md shows whole.
 */
#ifndef LIMOE_SERVER_API_REQUEST_PEERS_H
#define LIMOE_SERVER_API_REQUEST_PEERS_H

#include "server/api/request.h"
#include "server/formats/json_reader.h"

#define REQUEST_PEER_VALUES 10

struct request_peer_field {
    const char *name;
    /* What is accepted, as JSON: "true", "-1", "\"float\"". Ends with NULL. */
    const char *values[REQUEST_PEER_VALUES];
    enum { PEER_NO_NUMBER, PEER_DIMENSIONS, PEER_TEXT_LENGTH } number; /* also this number of the model's */
    const char *reason;                                                /* what is done anyway */
};
extern const struct request_peer_field request_peer_fields[]; /* [request_peer_count] */
extern const size_t request_peer_count;

/* The field's entry; NULL if no peer has a field of that name. */
const struct request_peer_field *request_peer_find(struct text name);

/* The 400 for a field that asks for something else. */
bool request_peer_check(const struct request_peer_field *field, const struct limoe_info *model,
                        const struct json_value *value, struct api_error *error);

/* Appends ,"name":{JSON schema} for each field. */
void request_peer_schemas(struct buffer *out);

#endif
