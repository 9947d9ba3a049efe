/* oip_tensor.h - the elements of one input tensor, from JSON or from bytes. Private to oip_*.c. */
#ifndef LIMOE_SERVER_API_DIALECTS_OIP_TENSOR_H
#define LIMOE_SERVER_API_DIALECTS_OIP_TENSOR_H

#include "server/api/dialects/oip_body.h"
#include "server/formats/json_reader.h"

/* "shape" → how many elements there are. `param` names it in messages. */
bool oip_read_shape(const struct json_value *shape, const char *param, size_t *n, struct api_error *error);

/* "data" → input->elements, of which there must be input->n. */
bool oip_read_strings(const struct json_value *data, struct arena *arena, struct oip_input *input,
                      struct api_error *error);

/* bytes[size], which must be input->n elements and nothing more → input->elements. */
bool oip_read_binary(const char *bytes, size_t size, struct arena *arena, struct oip_input *input,
                     struct api_error *error);

#endif
