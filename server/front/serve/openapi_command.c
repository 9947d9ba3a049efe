/* openapi_command.c - limoe openapi: the document that /openapi.json answers, without a server. */
#include "server/front/calls/openapi.h"
#include "server/front/serve/serve.h"
#include "server/options/command.h"

static const struct option_row table[] = {COMMAND_HELP_ROW};
static const struct option_note exits[] = {{"0", "it is printed"},
                                           {"1", "standard output takes no more"},
                                           {"2", "the command line is wrong"},
                                           {NULL, NULL}};
static const struct option_note uses[] = {
    {"limoe openapi >openapi.json", "For what makes clients, pages or tests of it"}, {NULL, NULL}};

const struct option_command openapi_command = {
    .name = "openapi",
    .summary = "print what the server speaks, as OpenAPI 3.1",
    .usage = "limoe openapi",
    .about =
        "Prints the document that a server of this version answers at /openapi.json: every route, field, "
        "limit, answer and error.",
    .table = table,
    .n = sizeof table / sizeof *table,
    .exits = exits,
    .uses = uses,
};

int openapi_main(int argc, char **argv) {
    struct arena *arena = arena_new();
    struct buffer out = {0};
    struct options options;
    int status = COMMAND_INPUT;
    if (!arena)
        command_complain("no memory");
    else if (command_options(&openapi_command, argc, argv, NULL, arena, &options, &status)) {
        openapi_write(&out);
        status = command_print(&out, false) ? COMMAND_OK : COMMAND_INPUT;
    }
    buffer_free(&out);
    arena_free(arena);
    return status;
}
