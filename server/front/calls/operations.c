/* operations.c - the table of operations.
 *
 * To describe a route: a row here; a field is a row of the request's own table, an answer one of schemas.c, an
 * error code one of error_codes.c. tests/unit/server/front/calls/test_openapi.c fails for a route that has no
 * row, and tests/e2e/test_openapi.py holds what it answers against what is said here. */
#include "server/front/calls/operation.h"

#include "server/api/classifier.h"
#include "server/api/dialects/rerank.h"
#include "server/api/error_codes.h"
#include "server/api/request.h"
#include "server/api/request_loadtest.h"

/* The least PNG there is of one red pixel. */
#define PIXEL "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"

/* "model" in the query. */
static const struct field of_model[] = {FIELD_MODEL(FIELD_QUERY)};
static const struct field_table model_query = {FIELD_TABLE(of_model)};

const struct operation operations[] = {
    {.method = "POST",
     .path = "/v1/classify",
     .id = "classify",
     .summary = "Zero-shot classification: which of the labels fits each picture",
     .about = "Labels and templates, or the name of a stored classifier, are given; not both.",
     .body = &request_classify_fields,
     .example =
         "{\"image\":\"" PIXEL "\",\"labels\":[\"cat\",\"dog\"],\"templates\":[\"a picture of a {}\"]}",
     .answers = {{200, NULL, "Classifications", NULL}},
     .errors = ERRORS_CLASSIFY | ERRORS_LABELS | ERRORS_PICTURES | ERRORS_MODEL | ERRORS_ENGINE |
               ERRORS_STORE | ERRORS_QUERY},
    {.method = "POST",
     .path = "/v1/embeddings",
     .id = "embeddings",
     .summary = "Embeddings of texts and pictures in one space, as OpenAI's clients ask for them",
     .about = "Either input or messages is given.",
     .body = &request_embeddings_fields,
     .example = "{\"input\":[\"a cat\",{\"image\":\"" PIXEL "\"}]}",
     .answers = {{200, NULL, "Embeddings", NULL}},
     .errors = ERRORS_INPUT | ERRORS_EMBEDDINGS | ERRORS_PICTURES | ERRORS_MODEL | ERRORS_ENGINE},
    {.method = "POST",
     .path = "/v1/routing",
     .id = "routing",
     .summary = "Which expert took which patch or token, layer by layer, with gate weights",
     .body = &request_routing_fields,
     .example = "{\"input\":[\"a cat\",{\"image\":\"" PIXEL "\"}]}",
     .answers = {{200, NULL, "Routing", NULL}},
     .errors = ERRORS_INPUT | ERRORS_PICTURES | ERRORS_MODEL | ERRORS_ENGINE},
    {.method = "POST",
     .path = "/v1/rerank",
     .id = "rerank",
     .summary = "Texts or pictures ordered for a text or a picture, by cosine",
     .body = &rerank_fields,
     .example = "{\"query\":\"a cat\",\"documents\":[\"a dog\",{\"image\":\"" PIXEL "\"}],\"top_n\":1}",
     .answers = {{200, NULL, "Ranking", NULL}},
     .errors = ERRORS_INPUT | ERRORS_RERANK | ERRORS_PICTURES | ERRORS_MODEL | ERRORS_ENGINE},
    {.method = "GET",
     .path = "/v1/classifiers",
     .id = "classifiers",
     .summary = "The stored classifiers, by name",
     .query = &request_classifiers_fields,
     .answers = {{200, NULL, "Classifiers", NULL}},
     .errors = ERRORS_LIST | ERRORS_STORE | ERRORS_QUERY},
    {.method = "GET",
     .path = "/v1/classifiers/{name}",
     .id = "classifier",
     .summary = "A stored classifier",
     .query = &model_query,
     .path_schema = CLASSIFIER_NAME_SCHEMA,
     .answers = {{200, NULL, "Classifier", NULL}},
     .errors = ERRORS_NAMED | ERRORS_FOUND | ERRORS_STORE | ERRORS_MODEL},
    {.method = "PUT",
     .path = "/v1/classifiers/{name}",
     .id = "putClassifier",
     .summary = "Stores labels and templates under a name, their prompts embedded once",
     .about = "A classifier of that name is replaced. What is answered with 200 is on the disk.",
     .body = &request_classifier_fields,
     .path_schema = CLASSIFIER_NAME_SCHEMA,
     .example = "{\"labels\":[\"cat\",\"dog\"],\"templates\":[\"{}\",\"a picture of a {}\"]}",
     .answers = {{200, NULL, "Classifier", NULL}},
     .errors = ERRORS_NAMED | ERRORS_STORING | ERRORS_STORE | ERRORS_LABELS | ERRORS_MODEL | ERRORS_ENGINE},
    {.method = "DELETE",
     .path = "/v1/classifiers/{name}",
     .id = "deleteClassifier",
     .summary = "Removes a stored classifier",
     .query = &model_query,
     .path_schema = CLASSIFIER_NAME_SCHEMA,
     .answers = {{200, NULL, "ClassifierDeleted", NULL}},
     .errors = ERRORS_NAMED | ERRORS_FOUND | ERRORS_STORE | ERRORS_MODEL},
    {.method = "GET",
     .path = "/v1/models",
     .id = "models",
     .summary = "The models that are served, the default first",
     .answers = {{200, NULL, "Models", NULL}},
     .errors = ERRORS_MODELS},
    {.method = "POST",
     .path = "/v1/models/reload",
     .id = "reload",
     .summary = "Loads one model or all anew, and answers when that is done",
     .about = "Requests are served meanwhile, by the old one until the new one is in force.",
     .body = &request_reload_fields,
     .optional = true,
     .answers = {{200, NULL, "Reload", NULL}},
     .errors = ERRORS_RELOAD | ERRORS_MODEL},
    {.method = "GET",
     .path = "/v1/models/{id}",
     .id = "model",
     .summary = "A model, by its name or an alias",
     .answers = {{200, NULL, "Model", NULL}},
     .errors = ERRORS_MODELS | ERRORS_MODEL},
    {.method = "GET",
     .path = "/v1/models/{id}/load",
     .id = "modelLoad",
     .summary = "What the model's experts were given to do since the start",
     .about = "As limoe serve --load and limoe inspect --load read it.",
     .answers = {{200, NULL, "Load", NULL}},
     .errors = ERRORS_MODELS | ERRORS_MODEL},
    {.method = "GET",
     .path = "/v1/loadtests",
     .id = "loadtests",
     .summary = "The load test that runs, and the last ones that ended",
     .answers = {{200, NULL, "Loadtests", NULL}}},
    {.method = "POST",
     .path = "/v1/loadtests",
     .id = "startLoadtest",
     .summary = "Starts a load test of this server, or of one that --loadtest-targets names",
     .body = &request_loadtest_fields,
     .answers = {{202, NULL, "Loadtest", "It is started."}},
     .errors = ERRORS_LOADTEST | ERRORS_MODEL},
    {.method = "GET",
     .path = "/v1/loadtests/{id}",
     .id = "loadtest",
     .summary = "A load test: its state, progress and result",
     .answers = {{200, NULL, "Loadtest", NULL}},
     .errors = ERRORS_LOADTESTS},
    {.method = "DELETE",
     .path = "/v1/loadtests/{id}",
     .id = "stopLoadtest",
     .summary = "Stops a load test",
     .answers = {{202, NULL, "Loadtest", "It is told to stop."}, {200, NULL, "Loadtest", "It had ended."}},
     .errors = ERRORS_LOADTESTS},
    {.method = "GET",
     .path = "/health",
     .id = "health",
     .summary = "Whether the engine of each model answers its probes",
     .query = &model_query,
     .answers = {{200, NULL, "Health", "It is served."}, {503, NULL, "Health", "It is not."}},
     .errors = ERRORS_MODEL},
    {.method = "GET",
     .path = "/livez",
     .id = "live",
     .summary = "200 as long as the front answers: for who would end it",
     .answers = {{200, NULL, "Health", NULL}}},
    {.method = "GET",
     .path = "/readyz",
     .id = "ready",
     .summary = "200 exactly when /health is: for who sends requests",
     .query = &model_query,
     .answers = {{200, NULL, "Health", "It is served."}, {503, NULL, "Health", "It is not."}},
     .errors = ERRORS_MODEL},
    {.method = "GET",
     .path = "/metrics",
     .id = "metrics",
     .summary = "What Prometheus scrapes",
     .answers = {{200, "text/plain; version=0.0.4; charset=utf-8", "Metrics", NULL}}},
    {.method = "GET",
     .path = "/openapi.json",
     .id = "openapi",
     .summary = "This document",
     .answers = {{200, NULL, "OpenAPI", NULL}}},
};
const size_t operation_count = sizeof operations / sizeof *operations;

const char *operation_path(const struct operation *operation, char *out, size_t size) {
    size_t used = 0;
    for (const char *c = operation->path; *c && used + 1 < size; c++) {
        const bool parameter = *c == '{';
        while (parameter && *c != '}')
            c++;
        out[used++] = parameter ? 'x' : *c;
    }
    out[used] = '\0';
    return out;
}
