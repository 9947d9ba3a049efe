/* health.h - whether the engine is alive. The engine itself is asked, by a probe that takes the way every
 * request takes.
 *
 * The probe is one picture and one text, embedded at start and every second from then on, ahead of what
 * waits; where that would cost the engine more than a twentieth of its time, less often, down to every 30 s, and
 * the limit below is longer by as much. Its answer must be unit vectors, and bit for bit those of the first probe. An engine that answers
 * otherwise is as unhealthy as one that does not answer in time.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_HEALTH_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "server/front/schedule/queue.h"
#include "server/front/supervisor/engine.h"

struct health;

/* `limit` is how old the last good answer may be, in nanoseconds. `answered_event` is an eventfd, written
 * after each answer. The processor and the queue outlive the probe. */
enum limoe_status health_new(const struct limoe_processor *processor, struct queue *queue, int64_t limit,
                             int answered_event, struct health **out, struct limoe_error *err);
void health_free(struct health *health); /* no probe is under way: the engine has stopped. NULL is fine */

/* Names the engine that the probes go to, once it is started, so that health_good can say why it does not
 * start. The engine outlives the last call of health_good. */
void health_watch(struct health *health, struct engine *engine);

/* Sends a probe when one is due and none is under way. One thread calls it. */
void health_probe(struct health *health, int64_t now);

/* True: the engine answers. False: why not, in why[size]. Any thread. */
bool health_good(struct health *health, char *why, size_t size);

#endif
