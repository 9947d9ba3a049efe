/* ask.h - POST /v1/ask: a picture and a question → what a language model is sent, and what it answers. No HTTP here.
 *
 * The language model sees no picture: it gets describe.h's prompt, with the question. No state, any thread.
 */
#ifndef LIMOE_SERVER_API_ASK_H
#define LIMOE_SERVER_API_ASK_H

#include "server/api/describe.h"

#define ASK_MOST_CHOICES 100u
#define ASK_MOST_TOKENS  4096u /* of an answer that a request may ask for */
#define ASK_TOKENS       256u  /* where it does not say */

/* How the model is held to a question's choices, which the prompt tells it in any case. */
enum ask_hold {
    ASK_HOLD_NONE,
    ASK_HOLD_GRAMMAR,    /* "grammar", as llama.cpp's server reads it */
    ASK_HOLD_GUIDED,     /* "guided_choice", as vLLM did */
    ASK_HOLD_STRUCTURED, /* "structured_outputs", as vLLM does */
};

struct ask_request {
    struct describe_request describe; /* of one picture; its prompt has the question, and the choices */
    const struct text *choices;       /* [n_choices]; 0: none */
    size_t n_choices;
    unsigned max_tokens;
    bool stream; /* the answer is to come as it is written (ask_stream.h) */
};

extern const struct field_table ask_fields;
bool ask_read(const struct request_models *models, const char *body, size_t size, struct arena *arena,
              struct ask_request *out, struct api_error *error);

/* What the operator says of the language model. */
struct ask_model {
    const char *name;
    bool chat; /* its chat is asked, else bare completions of the prompt */
    enum ask_hold hold;
};
/* Appends the request to the model's server, JSON. */
void ask_write_request(struct buffer *out, const struct ask_request *request, const struct ask_model *model,
                       struct text prompt);

/* What the model's server has answered; the texts are slices of its bytes, or live in the arena. */
struct ask_reply {
    struct text text;          /* without white space around it; of an event, as it came */
    struct text model, finish; /* data NULL: it does not say */
    bool counted;              /* it says: */
    uint64_t prompt_tokens, completion_tokens;
};
/* Reads an answer of a chat, or of completions. False, with a 502: it is none. */
bool ask_read_reply(const char *bytes, size_t size, bool chat, struct arena *arena, struct ask_reply *out,
                    struct api_error *error);

/* Reads an event of an answer that is streamed: what it adds, which may be no text. False, with a 502: it is none, or says that the
 * model's server has failed. */
bool ask_read_event(struct text data, bool chat, struct arena *arena, struct ask_reply *out,
                    struct api_error *error);
/* The text without white space around it. */
struct text ask_trim(struct text text);

/* The choice that the text names: the one that it is, white space, quotes and marks around it aside; else of those that stand in
 * it as words the first, of several that begin there the longest. ASCII letters are alike in either case. NULL: it names none. */
const struct text *ask_choose(struct text text, const struct text *choices, size_t n);

/* What is answered. */
struct ask_answer {
    const char *model; /* that saw the picture */
    const struct ask_request *request;
    const struct ask_reply *reply;
    struct text prompt;
    int64_t ns; /* that the language model took */
    const struct usage *usage;
};
void ask_write_answer(struct buffer *out, const struct ask_answer *answer);

#endif
