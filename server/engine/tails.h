/* tails.h - the tails that an engine has in memory: what adapters make of its model, by file and strength.
 *
 * Bounded in bytes. Those that were used least recently go first, but none that a step in hand uses, and are read again when
 * they are wanted. One thread, which is the model's.
 */
#ifndef LIMOE_SERVER_ENGINE_TAILS_H
#define LIMOE_SERVER_ENGINE_TAILS_H

#include "limoe.h"
#include "server/protocol/frame.h"

#define TAILS_MOST 1024u /* whatever their size */

struct tails;

/* `dir` has the adapters' files, each named by its digest (tail_key.h), and outlives the tails. NULL: no memory. */
struct tails *tails_new(const char *dir, uint64_t most_bytes);
/* Before the model is closed. NULL is fine. */
void tails_free(struct tails *tails);

/* The tail of a key, which is read if it is not there, and stays until tails_let_go. LIMOE_NOT_FOUND: there is no such file.
 * LIMOE_TOO_LARGE: there is no room for it, beside those that are held if *held is true, else at all. Else as
 * limoe_adapter_open and limoe_model_adapt have it. */
enum limoe_status tails_hold(struct tails *tails, struct limoe_model *model, const struct tail_key *key,
                             const struct limoe_tail **out, bool *held, struct limoe_error *err);
/* No tail is in use any more. */
void tails_let_go(struct tails *tails);

/* Sets held, bytes, reads and drops, of which the latter two are since the last call. */
void tails_count(struct tails *tails, struct frame_tails *out);

#endif
