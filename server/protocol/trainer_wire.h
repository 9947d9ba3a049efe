/* trainer_wire.h - what the front and a trainer say to each other, over a Unix stream socket.
 *
 *     front                                        trainer
 *     struct trainer_task, strings, classes ─────►
 *                                          ◄────── struct trainer_word, as often as it has something to say
 *     struct wire_answer, pixels or message ─────►        after each TRAINER_READ alone
 *
 * The trainer learns by limoe_tune_from, in the folder of its job, where its state and what it has learnt are written. It sees no
 * encoded picture: it asks the front for each, which has its decoders. Its last word is TRAINER_DONE or TRAINER_FAILED. Both ends are
 * the same program on the same machine, so structs travel as they lie in memory, by decoder_wire.h's transfers.
 */
#ifndef LIMOE_SERVER_PROTOCOL_TRAINER_WIRE_H
#define LIMOE_SERVER_PROTOCOL_TRAINER_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "limoe_tune.h"
#include "server/protocol/decoder_wire.h"

#define TRAINER_TASK        UINT32_C(0x6c6d7431)
#define TRAINER_WORD        UINT32_C(0x6c6d7432)
#define TRAINER_STAGE_BYTES 24

/* Files in the job's folder. */
#define TRAINER_ADAPTER "adapter" /* what was learnt; beside it, its state and what is half written */
#define TRAINER_FIRST   "first"   /* the probe that comes before it */

struct trainer_task {
    uint32_t magic, kind; /* enum limoe_tune_kind */
    uint32_t start_block, epochs, threads, flip, skip_broken;
    uint32_t n_classes, n_templates, n_examples;
    double rate, held_out;
    uint64_t seed;
    char base[40]; /* that the model must have */
    uint64_t
        string_bytes; /* of what follows: C strings, the model's directory, the job's, each class' label, each template,
                              each example's name or nothing; and behind them uint32_t of[n_examples], their classes */
};

enum trainer_what {
    TRAINER_BEGUN,    /* it has its task, and can be stopped: it dies with the front from then on */
    TRAINER_PROGRESS, /* stage, epoch, epochs, loss, done */
    TRAINER_NOTE,     /* message: a line for people */
    TRAINER_READ,     /* example, settings: it waits for the pixels */
    TRAINER_PROBE,    /* TRAINER_FIRST is there */
    TRAINER_DONE,     /* TRAINER_ADAPTER is there */
    TRAINER_FAILED,   /* status, message */
    TRAINER_WHATS,
};

struct trainer_word {
    uint32_t magic, what, status;
    uint32_t epoch, epochs;
    float loss;
    double done;
    uint64_t example;
    struct limoe_image_settings settings;
    char stage[TRAINER_STAGE_BYTES];
    char message[sizeof((struct limoe_error *)0)->message];
};

/* Whether the word is one that a trainer may say of this task; its strings end. */
bool trainer_check_word(struct trainer_word *word, const struct trainer_task *task);

#endif
