/* inspect_cards.h - limoe inspect --ranks --device cuda: what fits on GPUs, for people. */
#ifndef LIMOE_SERVER_COMMANDS_INSPECT_CARDS_H
#define LIMOE_SERVER_COMMANDS_INSPECT_CARDS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "server/api/answer.h"

/* What each rank takes of its card, and what fits on cards of answer->card_bytes. False: no memory. */
bool inspect_cards_print(const struct answer_cards *answer, struct arena *arena, struct buffer *out);

#endif
