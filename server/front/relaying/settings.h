/* settings.h - which language model is asked, and how, checked. No state. */
#ifndef LIMOE_SERVER_FRONT_RELAYING_SETTINGS_H
#define LIMOE_SERVER_FRONT_RELAYING_SETTINGS_H

#include <stdint.h>

#include "limoe.h"
#include "server/protocol/relay_wire.h"

/* Strings are C strings, or NULL: not said. */
struct relaying_options {
    const char
        *url; /* of an OpenAI-compatible server, as its clients have it ("…/v1"); NULL: nobody is asked */
    const char *model;            /* what that server calls its model */
    const char *key_file;         /* with the key for it in a line */
    const char *certificate;      /* PEM file of the authorities that its certificate is held against */
    enum relay_endpoint endpoint; /* that questions go to */
    uint64_t bytes;               /* the most of one answer */
    unsigned seconds;             /* for one answer, from its asking */
    unsigned requests;            /* the most at a time; RELAYING_WAITING times as many wait */
};
#define RELAYING_WAITING 4

/* LIMOE_INVALID names the option, what was found and what is accepted. */
enum limoe_status relaying_check(const struct relaying_options *options, struct limoe_error *err);

/* For the relay. The options were checked; the key is read from its file. */
enum limoe_status relaying_settings(const struct relaying_options *options, struct relay_settings *settings,
                                    struct limoe_error *err);

#endif
