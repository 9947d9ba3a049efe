/* json_writer.h - what json_reader.h has read, as JSON again: the same names, values and order, numbers digit by digit. */
#ifndef LIMOE_SERVER_FORMATS_JSON_WRITER_H
#define LIMOE_SERVER_FORMATS_JSON_WRITER_H

#include "base/buffer.h"
#include "server/formats/json_reader.h"

/* Appends the value, as deep as it was read: JSON_MAX_DEPTH. */
void json_write(struct buffer *out, const struct json_value *value);

#endif
