/* oip_body.h - an inference request of the Open Inference Protocol, version 2 (KServe's and Triton's) → tensors.
 *
 * The body is a JSON object, and behind it, where the header Inference-Header-Content-Length says how long the
 * object is, the bytes of those inputs whose parameters have binary_data_size, in the order of the inputs.
 * Inputs are of the datatype BYTES: in JSON a list of strings, flat or nested as the shape is, in binary each
 * element's length as a u32, little-endian, before its bytes.
 *
 * Everything is checked that needs no model: types, names once, shapes (multiplied within
 * OIP_MOST_ELEMENTS), lengths to the byte. Slices are of the body or lie in the arena. No state, any thread.
 */
#ifndef LIMOE_SERVER_API_DIALECTS_OIP_BODY_H
#define LIMOE_SERVER_API_DIALECTS_OIP_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/text.h"
#include "server/api/api_error.h"

#define OIP_LENGTH_HEADER "Inference-Header-Content-Length"

#define OIP_MOST_TENSORS    8u /* inputs, and outputs that are asked for */
#define OIP_MOST_DIMENSIONS 8u
#define OIP_MOST_ELEMENTS   16384u /* of one input: more than labels there may be */
#define OIP_MOST_ID_BYTES   1024u

struct oip_input {
    struct text name;
    const struct text *elements; /* [n], n at least 1: one dimension of the shape is n, all others are 1 */
    size_t n;
    bool binary;       /* the elements are bytes as they came; else they are UTF-8 without NUL */
    const char *param; /* "inputs[0].data", for messages; in the arena */
};

/* An output that is asked for. */
struct oip_output {
    struct text name;
    bool binary; /* its numbers behind the answer's JSON, not in it */
};

struct oip_body {
    struct text id; /* data NULL: there is none */
    const struct oip_input *inputs;
    size_t n_inputs; /* 1 … OIP_MOST_TENSORS */
    const struct oip_output *outputs;
    size_t n_outputs;    /* 0: all that there are, */
    bool binary_outputs; /* as binary data */
};

/* `length` is the value of the header OIP_LENGTH_HEADER; data NULL: it was not sent, and the body is JSON. */
bool oip_read_body(const char *body, size_t size, struct text length, struct arena *arena,
                   struct oip_body *out, struct api_error *error);

#endif
