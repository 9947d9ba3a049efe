/* feeder.h - texts embedded for nobody in particular, by the queue that everybody uses.
 *
 * A thread that may sleep hands over a part at a time and waits for it, so that what it wants takes its turn beside the requests,
 * and never more of the queue than a part. A feeder is one thread's; feeder_stop is anybody's.
 */
#ifndef LIMOE_SERVER_FRONT_FEEDER_H
#define LIMOE_SERVER_FRONT_FEEDER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "server/api/request.h"
#include "server/front/generation.h"

#define FEEDER_PART 512u /* prompts of one job */

struct feeder {
    sem_t computed;       /* posted when the job has come back */
    pthread_mutex_t lock; /* guards what follows, and that no job is handed over once `stop` is set */
    bool stop;
    struct queue *queue; /* that has the job; NULL: none has */
    struct job job;
};

void feeder_init(struct feeder *feeder);
void feeder_destroy(struct feeder *feeder);

/* Embeds prompts[n], at most FEEDER_PART: embeddings [n, embed]. Adds their tokens. The generation is held meanwhile by the
 * caller. LIMOE_LOST: it is being closed, or the feeder was stopped. */
enum limoe_status feeder_embed(struct feeder *feeder, struct generation *generation,
                               const struct request_item *prompts, size_t n, float *embeddings,
                               uint64_t *tokens, struct limoe_error *err);

/* From here on feeder_embed fails; one that waits is woken within a step. */
void feeder_stop(struct feeder *feeder);
bool feeder_stopped(struct feeder *feeder);

#endif
