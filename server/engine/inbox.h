/* inbox.h - what the front sends to an engine: one thread, the reader, receives it, and the thread that
 * computes takes it.
 *
 * A socket holds much less than a step of pictures, so without the reader the front could not send ahead, and
 * the processor would idle between two steps while pixels are copied. At most two steps are with an engine.
 * There is room for one frame more, so that the reader never has to wait. For a rank that waits for others in
 * the midst of a step must hear of a new generation, and that frame comes behind the steps.
 */
#ifndef LIMOE_SERVER_ENGINE_INBOX_H
#define LIMOE_SERVER_ENGINE_INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"
#include "server/protocol/frame.h"
#include "server/protocol/link.h"

enum { INBOX_ROOM = 3 };

struct inbox {
    int fd;
    struct limoe_ranks *ranks; /* interrupted when the front brings them together anew; NULL: it does not */
    bool ending;               /* another sees to the socket's end */

    /* The lock is of all below; in[i] is the reader's until it is received, then the other's until taken. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct link in[INBOX_ROOM];
    uint64_t received, taken; /* steps: the next ones are in[received % INBOX_ROOM], in[taken % INBOX_ROOM] */
    uint64_t most;            /* bytes of a frame's payload */
    uint64_t asked, grouped;  /* generation of an ASK, a GROUP that is not seen to; 0: none */
    uint8_t unique_id[FRAME_UNIQUE_ID_BYTES]; /* of the GROUP */
    bool ended;                               /* the front wants no more */
    bool busy;                                /* with a step, or with opening the model */
};

void inbox_init(struct inbox *inbox, int fd);
/* Starts the reader, which ends the process when the front is done with it. 0, or an errno. */
int inbox_start(struct inbox *inbox);
/* From now on a STEP may come, with a payload of at most so many bytes. */
void inbox_expect(struct inbox *inbox, uint64_t most);

/* What to do next. */
enum inbox_event { INBOX_STEP, INBOX_ASK, INBOX_GROUP, INBOX_END };
enum inbox_event inbox_wait(struct inbox *inbox);

/* After INBOX_STEP: the link that has it. inbox_release gives it back to the inbox. */
const struct link *inbox_step(struct inbox *inbox);
void inbox_release(struct inbox *inbox);
/* After INBOX_ASK: the generation. */
uint64_t inbox_take_ask(struct inbox *inbox);
/* After INBOX_GROUP: the generation, and its unique id; steps received before it are over, and ranks are not
 * interrupted any more. 0: it is out of date already. */
uint64_t inbox_take_group(struct inbox *inbox, uint8_t unique_id[FRAME_UNIQUE_ID_BYTES]);

/* Makes inbox_wait say INBOX_END from now on. True if nothing is in hand. Any thread. */
bool inbox_end(struct inbox *inbox);

#endif
