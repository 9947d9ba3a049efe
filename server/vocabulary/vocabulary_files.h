/* vocabulary_files.h - what embed writes of the folder's files. */
#ifndef LIMOE_SERVER_VOCABULARY_VOCABULARY_FILES_H
#define LIMOE_SERVER_VOCABULARY_VOCABULARY_FILES_H

#include "server/vocabulary/vocabulary.h"

extern const struct vocabulary vocabularies[];
extern const size_t vocabulary_count;

#endif
