/* options.h - what a caption's options may be. */
#ifndef LIMOE_MODEL_CAPTION_OPTIONS_H
#define LIMOE_MODEL_CAPTION_OPTIONS_H

#include "limoe_caption.h"

/* How many texts a picture's captions may take at once. Options with defaults filled in. */
static inline uint32_t options_texts(const struct limoe_caption_options *options) {
    return options->n > options->beams ? options->n : options->beams;
}

#endif
