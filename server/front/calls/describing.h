/* describing.h - the vocabularies of a description on the way from the store, or to it. */
#ifndef LIMOE_SERVER_FRONT_CALLS_DESCRIBING_H
#define LIMOE_SERVER_FRONT_CALLS_DESCRIBING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "server/api/api_error.h"
#include "server/api/describe.h"
#include "server/front/store/classifier.h"

struct call;

/* One for each list, and the reference pictures, which are kept as if they were labels. */
enum { DESCRIBING_REFERENCE = DESCRIBE_LISTS, DESCRIBING_SETS };

struct describing_set {
    bool wanted;
    bool own;        /* the program's, not a client's classifier */
    struct text key; /* its name in the store */
    const struct classifier
        *held;                 /* with a reference; NULL: it is not stored, or the store does not answer */
    const struct text *labels; /* [n]: of the program, or of what is held */
    size_t n;
    const float *matrix;                     /* [n, embed]; NULL: it is to be made of */
    const struct limoe_shortlist *shortlist; /* of what is held; or NULL */
    size_t first, inputs;                    /* the call's inputs, from the first */
    bool told;                               /* the store was given what was made */
};

struct describing {
    struct describing_set sets[DESCRIBING_SETS];
    size_t at; /* the set that the store is asked about */
};

/* Once the request is read: looks for its vocabularies, of which memory may lack some: then call->asking, and
 * describing_found goes on. False: there is none of a name. */
bool describing_look(struct call *call, struct api_error *error);
bool describing_found(struct call *call, struct api_error *error);
/* Lists what is to be embedded in call->inputs: the request's pictures, then prompts and reference pictures of what is not
 * stored, which are for everybody (call->shared). Refuses too many pictures for so many terms; adds to call->scratch what
 * ranking takes. */
bool describing_list(struct call *call, struct api_error *error);
/* About how many bytes the words of one picture take in an answer, once. */
size_t describing_words_size(const struct call *call);
/* Once everything is embedded: matrices of what was not stored, each handed to the store in its turn. True with
 * call->asking: describing_kept is to be called when it has answered. False: no memory. */
bool describing_make(struct call *call, struct api_error *error);
bool describing_kept(struct call *call, struct api_error *error);
/* The vocabularies, [DESCRIBE_LISTS], as the model sees them. False: no memory. */
bool describing_measure(struct call *call, struct describe_vocabulary *vocabularies);
/* The words of one of the request's pictures, [DESCRIBE_LISTS], in the arena. False: no memory. */
bool describing_rank(struct call *call, const struct describe_vocabulary *vocabularies, size_t image,
                     struct described_words *words);
void describing_release(struct call *call);

#endif
