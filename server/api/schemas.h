/* schemas.h - what answers look like, as JSON schemas: the OpenAPI document's components.
 *
 * They allow no member that they do not name, so that a test that holds real answers against them
 * (tests/e2e/test_openapi.py) shows what a writer of answers has come to say. Read-only, any thread.
 */
#ifndef LIMOE_SERVER_API_SCHEMAS_H
#define LIMOE_SERVER_API_SCHEMAS_H

#include <stddef.h>

struct schema {
    const char *name; /* "#/components/schemas/NAME" */
    const char *json;
};
extern const struct schema schemas[]; /* [schema_count] */
extern const size_t schema_count;

#endif
