/* request_loadtest.h - POST /v1/loadtests: bytes → the load that is asked for. */
#ifndef LIMOE_SERVER_API_REQUEST_LOADTEST_H
#define LIMOE_SERVER_API_REQUEST_LOADTEST_H

#include "server/api/request.h"

#define LOADTEST_LEAST_RATE      0.1
#define LOADTEST_LEAST_SECONDS   1
#define LOADTEST_MOST_WEIGHT     1000000 /* of a kind in the mix */
#define LOADTEST_MOST_NAME_BYTES 256u    /* of a model on another server */

/* As the server's options have them. */
struct loadtest_limits {
    uint64_t rate, seconds, requests;
    const char *targets; /* URLs divided by commas, each checked by loadtest_check_targets; NULL: none */
};

enum loadtest_kind { LOADTEST_CLASSIFY, LOADTEST_IMAGE, LOADTEST_TEXT, LOADTEST_KINDS };
extern const char *const loadtest_kinds[LOADTEST_KINDS]; /* as `limoe bench --mix` has them */

struct loadtest_request {
    double rate, seconds;
    bool constant;                /* arrivals; else Poisson */
    uint32_t mix[LOADTEST_KINDS]; /* one at least is above 0 */
    struct text target;           /* data NULL: this server */
    struct text model;            /* data NULL: the target's default */
};

extern const struct field_table request_loadtest_fields;

/* `models` are this server's: a test of it names one of them. */
bool request_loadtest_json(const struct request_models *models, const struct loadtest_limits *limits,
                           const char *body, size_t size, struct arena *arena, struct loadtest_request *out,
                           struct api_error *error);

/* Whether each of a list's members is http://HOST[:PORT] or https://…; NULL is. LIMOE_INVALID names the
 * first that is not. */
enum limoe_status loadtest_check_targets(const char *targets, struct limoe_error *err);

#endif
