/* error_codes.h - every code that an error may have: with its status, who may get it, and when.
 *
 * Errors are made where they are found (api_fail); this table says them all, for the OpenAPI document, and
 * tests/docs holds both it and docs/api.md against the sources. Read-only, any thread.
 */
#ifndef LIMOE_SERVER_API_ERROR_CODES_H
#define LIMOE_SERVER_API_ERROR_CODES_H

#include <stddef.h>

/* What a request must have or do to get an error: a set of these. */
enum error_group {
    ERRORS_ANY = 1 << 0,         /* be a request at all */
    ERRORS_PATH = 1 << 1,        /* ask for what no route answers */
    ERRORS_KEY = 1 << 2,         /* ask for what needs a key */
    ERRORS_ADMIN = 1 << 3,       /* … an admin key */
    ERRORS_WORK = 1 << 4,        /* not be answered at once */
    ERRORS_BODY = 1 << 5,        /* have a body that is read */
    ERRORS_JSON = 1 << 6,        /* … in JSON */
    ERRORS_FORM = 1 << 7,        /* … as a form */
    ERRORS_QUERY = 1 << 8,       /* have arguments that are read strictly */
    ERRORS_MODEL = 1 << 9,       /* name a model */
    ERRORS_ENGINE = 1 << 10,     /* have something computed */
    ERRORS_PICTURES = 1 << 11,   /* have pictures */
    ERRORS_LABELS = 1 << 12,     /* have labels and templates */
    ERRORS_INPUT = 1 << 13,      /* have items to embed */
    ERRORS_EMBEDDINGS = 1 << 14, /* want embeddings */
    ERRORS_CLASSIFY = 1 << 15,   /* want pictures classified */
    ERRORS_STORE = 1 << 16,      /* need the disk */
    ERRORS_NAMED = 1 << 17,      /* name a classifier */
    ERRORS_FOUND = 1 << 18,      /* … that must be there */
    ERRORS_STORING = 1 << 19,    /* have one stored */
    ERRORS_LIST = 1 << 20,       /* want a page of a list */
    ERRORS_RELOAD = 1 << 21,     /* have models loaded anew */
    ERRORS_MODELS = 1 << 22,     /* ask what models there are */
    ERRORS_LOADTEST = 1 << 23,   /* have a load test started */
    ERRORS_LOADTESTS = 1 << 24,  /* name a load test */
    ERRORS_RERANK = 1 << 25,     /* want documents ranked */
    ERRORS_LINES = 1 << 26,      /* be a line of a body of lines: in its line, never as a status */
    ERRORS_ATTENTION = 1 << 27,  /* want a cosine split by patches */
    ERRORS_ROUTING = 1 << 28,    /* ask which experts took what */
};

/* The word for one group, of which names in the document are made. */
const char *error_group_name(unsigned group);

struct error_code {
    int status;
    const char *code;
    unsigned groups;  /* any of them may get it */
    const char *when; /* a sentence */
};
extern const struct error_code error_codes[]; /* [error_code_count], by status */
extern const size_t error_code_count;

#endif
