/* trainer_wire.c - what is believed of a trainer's word. No state. */
#include "server/protocol/trainer_wire.h"

#include <math.h>

static bool is_picture(const struct trainer_word *word, const struct trainer_task *task) {
    const uint32_t side = word->settings.preprocess.size;
    return word->example < task->n_examples && side > 0 && side <= LIMOE_MAX_IMAGE_SIZE;
}

bool trainer_check_word(struct trainer_word *word, const struct trainer_task *task) {
    word->stage[sizeof word->stage - 1] = '\0';
    word->message[sizeof word->message - 1] = '\0';
    return word->magic == TRAINER_WORD && word->what < TRAINER_WHATS && word->done >= 0 && word->done <= 1 &&
           isfinite(word->loss) && word->epoch <= word->epochs &&
           (word->what != TRAINER_READ || is_picture(word, task));
}
