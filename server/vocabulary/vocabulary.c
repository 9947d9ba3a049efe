/* vocabulary.c - a vocabulary by its name. */
#include "server/vocabulary/vocabulary.h"

#include "server/vocabulary/vocabulary_files.h"

const struct vocabulary *vocabulary_find(struct text name) {
    for (size_t i = 0; i < vocabulary_count; i++)
        if (text_is(name, vocabularies[i].name))
            return &vocabularies[i];
    return NULL;
}
