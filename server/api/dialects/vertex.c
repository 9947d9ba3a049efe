/* vertex.c - {"instances":[…],"parameters"?} → {"predictions":[…]}. Contract:
 * cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements. */
#include "server/api/dialects/vertex.h"

#include "server/api/dialects/hf.h"
#include "server/api/dialects/instances.h"

bool vertex_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    return instances_read(in, (struct text){.data = "", .size = 0}, out, error);
}

/* Only its status is looked at. */
bool vertex_tell_health(const struct dialect_about *about, struct dialect_answer *out,
                        struct api_error *error) {
    return hf_tell_ping(about, out, error);
}

static const char *const prefixes[] = {"/vertex", NULL};
const struct dialect dialect_vertex = {
    .name = "vertex", .bit = DIALECT_VERTEX, .prefixes = prefixes, .write_error = dialect_error_string};
