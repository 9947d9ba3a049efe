/* session.h - what the subcommands that compute share: their options, the model they open, the pictures
 * they read. */
#ifndef LIMOE_SERVER_COMMANDS_SESSION_H
#define LIMOE_SERVER_COMMANDS_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "limoe.h"
#include "server/api/request.h"
#include "server/options/command.h"

/* What classify and embed share. */
struct session_options {
    const char *model; /* NULL: not named */
    struct limoe_options compute;
    bool json;
};

/* All of them, for the struct session_options at `at`. */
#define COMMAND_ROWS(at)                                                                                     \
    COMMAND_MODEL_ROW(.offset = (at) + offsetof(struct session_options, model),                              \
                      .fallback = MODEL_DIR_DEFAULT),                                                        \
        COMMAND_DEVICE_ROW(.offset = (at) + offsetof(struct session_options, compute.device)),               \
        COMMAND_DTYPE_ROW(.offset = (at) + offsetof(struct session_options, compute.dtype)),                 \
        COMMAND_THREADS_ROW(.offset = (at) + offsetof(struct session_options, compute.threads)),             \
        COMMAND_JSON_ROW(.offset = (at) + offsetof(struct session_options, json),                            \
                         .help = "print the object that the HTTP route answers with"),                       \
        COMMAND_HELP_ROW

/* An open model. Zero-initialise; close in any state. */
struct session {
    struct limoe_processor *processor;
    struct limoe_model *model;
};
bool session_open(struct session *session, const struct session_options *shared); /* false: complained */
void session_close(struct session *session);
/* Whether the model takes pictures and texts, so that the ones can be scored by the others. False: complained. */
bool session_classifies(const struct session *session);

/* Embeds items[n] in steps of bounded size: embeddings [n, embed]. False: complained. */
bool session_embed(struct session *session, const struct limoe_item *items, size_t n, float *embeddings);

/* A picture's file ("-": standard input) → an item named after it, bytes in the arena. False: complained. */
bool session_read_image(const char *path, struct arena *arena, struct request_item *out);

#endif
