/* error_codes.h - every code that an error may have: with its status, who may get it, and when.
 *
 * Errors are made where they are found (api_fail); this table says them all, for the OpenAPI document, and
 * tests/docs holds both it and docs/api.md against the sources. Read-only, any thread.
 */
#ifndef LIMOE_SERVER_API_ERROR_CODES_H
#define LIMOE_SERVER_API_ERROR_CODES_H

#include <stddef.h>
#include <stdint.h>

/* What a request must have or do to get an error: a set of these, a bit each, whose words error_codes.c has. */
#define ERRORS_ANY         (UINT64_C(1) << 0)  /* be a request at all */
#define ERRORS_PATH        (UINT64_C(1) << 1)  /* ask for what no route answers */
#define ERRORS_KEY         (UINT64_C(1) << 2)  /* ask for what needs a key */
#define ERRORS_ADMIN       (UINT64_C(1) << 3)  /* … an admin key */
#define ERRORS_WORK        (UINT64_C(1) << 4)  /* not be answered at once */
#define ERRORS_BODY        (UINT64_C(1) << 5)  /* have a body that is read */
#define ERRORS_JSON        (UINT64_C(1) << 6)  /* … in JSON */
#define ERRORS_FORM        (UINT64_C(1) << 7)  /* … as a form */
#define ERRORS_QUERY       (UINT64_C(1) << 8)  /* have arguments that are read strictly */
#define ERRORS_MODEL       (UINT64_C(1) << 9)  /* name a model */
#define ERRORS_ENGINE      (UINT64_C(1) << 10) /* have something computed */
#define ERRORS_PICTURES    (UINT64_C(1) << 11) /* have pictures */
#define ERRORS_LABELS      (UINT64_C(1) << 12) /* have labels and templates */
#define ERRORS_INPUT       (UINT64_C(1) << 13) /* have items to embed */
#define ERRORS_EMBEDDINGS  (UINT64_C(1) << 14) /* want embeddings */
#define ERRORS_CLASSIFY    (UINT64_C(1) << 15) /* want pictures classified */
#define ERRORS_STORE       (UINT64_C(1) << 16) /* need the disk */
#define ERRORS_NAMED       (UINT64_C(1) << 17) /* name a classifier */
#define ERRORS_FOUND       (UINT64_C(1) << 18) /* … that must be there */
#define ERRORS_STORING     (UINT64_C(1) << 19) /* have one stored */
#define ERRORS_LIST        (UINT64_C(1) << 20) /* want a page of a list */
#define ERRORS_RELOAD      (UINT64_C(1) << 21) /* have models loaded anew */
#define ERRORS_MODELS      (UINT64_C(1) << 22) /* ask what models there are */
#define ERRORS_LOADTEST    (UINT64_C(1) << 23) /* have a load test started */
#define ERRORS_LOADTESTS   (UINT64_C(1) << 24) /* name a load test */
#define ERRORS_RERANK      (UINT64_C(1) << 25) /* want documents ranked */
#define ERRORS_LINES       (UINT64_C(1) << 26) /* be a line of a body of lines: in its line, never as a status */
#define ERRORS_ATTENTION   (UINT64_C(1) << 27) /* want a cosine split by patches */
#define ERRORS_ADAPTED     (UINT64_C(1) << 28) /* may want an adapter used */
#define ERRORS_ADAPTER     (UINT64_C(1) << 29) /* have an adapter looked for, or stored */
#define ERRORS_PUT_ADAPTER (UINT64_C(1) << 30) /* … stored */
#define ERRORS_ROUTING     (UINT64_C(1) << 31) /* ask which experts took what */
#define ERRORS_TRAINING    (UINT64_C(1) << 32) /* have an adapter learnt */
#define ERRORS_DESCRIBE    (UINT64_C(1) << 33) /* want pictures told in words */
#define ERRORS_VOCABULARY  (UINT64_C(1) << 34) /* have a vocabulary looked for */
#define ERRORS_TERMS       (UINT64_C(1) << 35) /* have one stored */
#define ERRORS_CHANGED     (UINT64_C(1) << 36) /* … or deleted */
#define ERRORS_ASK         (UINT64_C(1) << 37) /* have a language model asked */
#define ERRORS_CHAT        (UINT64_C(1) << 38) /* … to go on with a chat */
#define ERRORS_CAPTIONS    (UINT64_C(1) << 39) /* want captions of pictures */

/* The word for one group, of which names in the document are made. */
const char *error_group_name(uint64_t group);

struct error_code {
    int status;
    const char *code;
    uint64_t groups;  /* any of them may get it */
    const char *when; /* a sentence */
};
extern const struct error_code error_codes[]; /* [error_code_count], by status */
extern const size_t error_code_count;

#endif
