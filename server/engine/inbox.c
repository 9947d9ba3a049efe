/* inbox.c - the reader, and what it leaves for the thread that computes. */
#include "server/engine/inbox.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "server/options/command.h"

void inbox_init(struct inbox *inbox, int fd) {
    *inbox = (struct inbox){.fd = fd, .most = FRAME_UNIQUE_ID_BYTES, .busy = true};
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_cond_init(&inbox->changed, NULL);
    for (size_t i = 0; i < INBOX_ROOM; i++)
        link_init(&inbox->in[i], fd);
}

void inbox_expect(struct inbox *inbox, uint64_t most) {
    pthread_mutex_lock(&inbox->lock);
    inbox->most = most > FRAME_UNIQUE_ID_BYTES ? most : FRAME_UNIQUE_ID_BYTES;
    pthread_mutex_unlock(&inbox->lock);
}

/* ---- the reader */

/* Waits until there is room for the next frame and it has begun to come, and returns the link to receive
 * it with. Only then is *most read, since the longest payload follows from what has been said before. */
static struct link *await_frame(struct inbox *inbox, uint64_t *most) {
    struct pollfd in = {.fd = inbox->fd, .events = POLLIN};
    pthread_mutex_lock(&inbox->lock);
    while (inbox->received - inbox->taken == INBOX_ROOM)
        pthread_cond_wait(&inbox->changed, &inbox->lock);
    pthread_mutex_unlock(&inbox->lock);
    while (poll(&in, 1, -1) <= 0)
        ;
    pthread_mutex_lock(&inbox->lock);
    *most = inbox->most;
    struct link *link = &inbox->in[inbox->received % INBOX_ROOM];
    pthread_mutex_unlock(&inbox->lock);
    return link;
}

/* Keeps what has been received. A new generation, or the end of one, interrupts the thread that computes, if it
 * waits for ranks: it waits for those of a generation that is over. */
static enum limoe_status keep(struct inbox *inbox, const struct link *link, struct limoe_error *err) {
    const struct frame_header *frame = &link->frame;
    enum limoe_status status = LIMOE_OK;
    pthread_mutex_lock(&inbox->lock);
    if (frame->type == FRAME_STEP) {
        inbox->received++;
    } else if (frame->type == FRAME_ASK || frame->type == FRAME_APART) {
        status = frame_get_unique_id(frame, link->payload, NULL, err);
        inbox->asked = frame->type == FRAME_ASK ? frame->id : 0;
        inbox->grouped = 0;
    } else {
        status = frame_get_unique_id(frame, link->payload, inbox->unique_id, err);
        inbox->grouped = frame->id;
    }
    if (frame->type != FRAME_STEP)
        limoe_ranks_interrupt(inbox->ranks, true);
    pthread_cond_signal(&inbox->changed);
    pthread_mutex_unlock(&inbox->lock);
    return status;
}

static void *read_frames(void *argument) {
    struct inbox *inbox = argument;
    const unsigned step = FRAME_IN(FRAME_STEP),
                   news = FRAME_IN(FRAME_ASK) | FRAME_IN(FRAME_APART) | FRAME_IN(FRAME_GROUP);
    struct limoe_error err;
    pthread_setname_np(pthread_self(), "limoe-reader");
    for (;;) {
        uint64_t most;
        struct link *link = await_frame(inbox, &most);
        enum link_event event = link_receive_any(link, inbox->ranks ? step | news : step, most, &err);
        if (event == LINK_ENDED && inbox->ending)
            return NULL;
        if (event == LINK_ENDED)
            _exit(COMMAND_OK); /* also in the midst of a step nobody waits for */
        if (event != LINK_DONE || keep(inbox, link, &err) != LIMOE_OK) {
            command_complain("engine: %s", err.message);
            _exit(COMMAND_INPUT);
        }
    }
}

int inbox_start(struct inbox *inbox) {
    pthread_t reader;
    const int code = pthread_create(&reader, NULL, read_frames, inbox);
    if (!code)
        pthread_detach(reader); /* it ends with the front's connections, or with the process */
    return code;
}

/* ---- the thread that computes */

static bool is_empty(const struct inbox *inbox) {
    return !inbox->ended && !inbox->asked && !inbox->grouped && inbox->received == inbox->taken;
}

enum inbox_event inbox_wait(struct inbox *inbox) {
    pthread_mutex_lock(&inbox->lock);
    inbox->busy = false;
    while (is_empty(inbox))
        pthread_cond_wait(&inbox->changed, &inbox->lock);
    enum inbox_event event = inbox->ended     ? INBOX_END
                             : inbox->asked   ? INBOX_ASK
                             : inbox->grouped ? INBOX_GROUP
                                              : INBOX_STEP;
    inbox->busy = event != INBOX_END;
    pthread_mutex_unlock(&inbox->lock);
    return event;
}

const struct link *inbox_step(struct inbox *inbox) {
    pthread_mutex_lock(&inbox->lock);
    const struct link *link = &inbox->in[inbox->taken % INBOX_ROOM];
    pthread_mutex_unlock(&inbox->lock);
    return link;
}

void inbox_release(struct inbox *inbox) {
    pthread_mutex_lock(&inbox->lock);
    inbox->taken++;
    pthread_cond_signal(&inbox->changed);
    pthread_mutex_unlock(&inbox->lock);
}

uint64_t inbox_take_ask(struct inbox *inbox) {
    pthread_mutex_lock(&inbox->lock);
    const uint64_t generation = inbox->asked;
    inbox->asked = 0;
    pthread_mutex_unlock(&inbox->lock);
    return generation;
}

uint64_t inbox_take_group(struct inbox *inbox, uint8_t unique_id[FRAME_UNIQUE_ID_BYTES]) {
    pthread_mutex_lock(&inbox->lock);
    const uint64_t generation = inbox->asked ? 0 : inbox->grouped;
    if (generation) {
        inbox->grouped = 0;
        inbox->taken = inbox->received;
        memcpy(unique_id, inbox->unique_id, FRAME_UNIQUE_ID_BYTES);
        limoe_ranks_interrupt(inbox->ranks, false);
        pthread_cond_signal(&inbox->changed);
    }
    pthread_mutex_unlock(&inbox->lock);
    return generation;
}

bool inbox_end(struct inbox *inbox) {
    pthread_mutex_lock(&inbox->lock);
    const bool idle = !inbox->busy;
    inbox->ended = idle;
    pthread_cond_signal(&inbox->changed);
    pthread_mutex_unlock(&inbox->lock);
    return idle;
}
