/* frame.h - what the front and an engine say to each other, as bytes. Pure functions: no socket, no thread.
 *
 * A stream of frames each way, over any stream socket:
 *     engine → front   JOIN once, if it comes to the front's rendezvous: the token that shows that it may join, and who
 *                      comes
 *     engine → front   CONNECTED once, after JOIN: it has looked for the other ranks. No payload
 *     engine → front   HELLO once: what was opened, or why it could not be
 *     front → engine   STEP: items to embed
 *     engine → front   RESULT, one for each STEP, in their order
 * Ranks that the front brings together, at first and after each loss, which begins a new generation of them:
 *     front → engine   ASK, to rank 0: for a unique id
 *     engine → front   UNIQUE_ID: by which all ranks of this generation join
 *     front → engine   APART, to each while some have still to come: what was joined is over, wait for the next GROUP
 *     front → engine   GROUP, to each: the unique id. What was before is over: STEPs not answered yet never are
 *     engine → front   HELLO, once it has joined and has the model open. What it sent before is over, too
 *
 * A frame is a header of FRAME_HEADER_BYTES and a payload, little-endian:
 *     magic u32 | version u16 | type u16 | flags u32 | 0 u32 | payload bytes u64 | id u64
 * Whoever receives knows the longest payload that may come, from the model's shape, before it makes room for
 * one. Nothing in a frame is believed: each get function checks every count against the bytes that are there
 * and against that shape, and answers LIMOE_CORRUPT with a message.
 *
 * Numbers are copied as they lie in memory, which is little-endian on every machine this builds for. Payloads
 * are read where they lie, so a buffer for one must be aligned for uint64_t (malloc is).
 */
#ifndef LIMOE_SERVER_PROTOCOL_FRAME_H
#define LIMOE_SERVER_PROTOCOL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "limoe.h"
#include "server/protocol/tail_key.h"

enum {
    FRAME_VERSION = 9,
    FRAME_HEADER_BYTES = 32,
    FRAME_MOST_BLOCKS = 1024, /* in a model; far above what its config may say */
    FRAME_NAME_BYTES = 128,
    FRAME_WORD_BYTES = 64,
    FRAME_MESSAGE_BYTES = 512,
    FRAME_NOTE_BYTES = 512,
    FRAME_TOKEN_BYTES = 64, /* hex digits */
    FRAME_UNIQUE_ID_BYTES = LIMOE_RANKS_UNIQUE_ID_BYTES,
};

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_STEP,
    FRAME_RESULT,
    FRAME_JOIN,
    FRAME_CONNECTED,
    FRAME_ASK,
    FRAME_UNIQUE_ID,
    FRAME_GROUP,
    FRAME_APART
};
/* Several of them: FRAME_IN(FRAME_STEP) | FRAME_IN(FRAME_ASK). */
#define FRAME_IN(type) (1u << (type))

/* Flags of a STEP and its RESULT: the routing is wanted, and there; captions stand before it (frame_caption.h). */
enum { FRAME_ROUTED = 1, FRAME_CAPTIONS = 2 };

struct frame_header {
    enum frame_type type;
    uint32_t flags;
    uint64_t length,
        id; /* length: of the payload. id: of the step; in ASK, UNIQUE_ID, GROUP, APART and the HELLO after it
                            of the generation, from 1 on; else 0 */
};

void frame_put_header(const struct frame_header *header, uint8_t out[FRAME_HEADER_BYTES]);
/* Accepts only a frame of one of these types, with a payload of at most `most` bytes. */
enum limoe_status frame_get_header(const uint8_t bytes[FRAME_HEADER_BYTES], unsigned types, uint64_t most,
                                   struct frame_header *out, struct limoe_error *err);

/* ---- JOIN: a payload of one size */

enum { FRAME_NO_RANK = 0xffffffffu };

struct frame_join {
    char token[FRAME_TOKEN_BYTES + 1];
    uint32_t rank;                 /* FRAME_NO_RANK: it does not know yet */
    char host[FRAME_WORD_BYTES];   /* where it runs, as that host calls itself */
    char device[FRAME_WORD_BYTES]; /* that it computes on; "": not said */
    char digest[FRAME_WORD_BYTES]; /* of the model's config and tokenizer, as it reads them; "": not said */
};

enum { FRAME_JOIN_BYTES = FRAME_TOKEN_BYTES + 4 + 3 * FRAME_WORD_BYTES };

void frame_put_join(const struct frame_join *join, uint8_t out[FRAME_JOIN_BYTES]);
enum limoe_status frame_get_join(const uint8_t *payload, uint64_t length, struct frame_join *out,
                                 struct limoe_error *err);

/* ---- HELLO: a payload of one size */

struct frame_hello {
    enum limoe_status status;          /* not LIMOE_OK: only the message means something */
    char message[FRAME_MESSAGE_BYTES]; /* "" after LIMOE_OK */
    struct limoe_info model; /* its pointers lead to the arrays below: the struct stays where it is */
    char name[FRAME_NAME_BYTES], architecture[FRAME_WORD_BYTES];
    uint32_t moe_blocks[FRAME_MOST_BLOCKS];
    enum limoe_dtype dtype;
    uint32_t threads;
    uint32_t rank, ranks;               /* 0 of 1, where there is one */
    uint32_t experts;                   /* that this rank holds, over all layers */
    uint64_t dense_bytes, expert_bytes; /* of packed weights that it holds */
    uint64_t step_tokens;               /* that a step may have, and a few more (frame_shape) */
    char backend[FRAME_WORD_BYTES], fingerprint[FRAME_WORD_BYTES];
    char base[FRAME_WORD_BYTES]; /* limoe_model_base */
    char note[FRAME_NOTE_BYTES]; /* for the log; "": nothing */
};

enum {
    FRAME_HELLO_BYTES = 34 * 4 + 6 * 8 + 4 * FRAME_MOST_BLOCKS + FRAME_NAME_BYTES + 4 * FRAME_WORD_BYTES +
                        FRAME_NOTE_BYTES + FRAME_MESSAGE_BYTES,
};

/* The strings and moe_blocks of hello->model are taken, not the struct's own arrays; longer ones are cut. */
void frame_put_hello(const struct frame_hello *hello, uint8_t out[FRAME_HELLO_BYTES]);
enum limoe_status frame_get_hello(const uint8_t *payload, uint64_t length, struct frame_hello *out,
                                  struct limoe_error *err);
/* Whether both compute the same model in the same way with as many ranks, so that answers have the same
 * bits. */
bool frame_hello_equal(const struct frame_hello *a, const struct frame_hello *b);

/* ---- ASK and APART have no payload, UNIQUE_ID and GROUP have the unique_id, whatever it says */

/* unique_id is NULL for an ASK or an APART, which have none. */
enum limoe_status frame_get_unique_id(const struct frame_header *header, const uint8_t *payload,
                                      uint8_t unique_id[FRAME_UNIQUE_ID_BYTES], struct limoe_error *err);

/* ---- what a model and a step's budget bound */

struct frame_shape {
    uint32_t embed, layers, experts, top_k;
    uint32_t image_tokens,
        text_length; /* an image has so many tokens, a text at most; 0: the model takes none */
    uint64_t image_bytes;
    uint64_t patches;     /* of an image that its embedding can be split by */
    uint64_t items, rows; /* most of one step */
};

/* step_tokens: at least 1, at most 2^32. */
struct frame_shape frame_shape(const struct limoe_info *model, uint64_t step_tokens);
uint64_t frame_longest_step(const struct frame_shape *shape); /* payload bytes */
uint64_t frame_longest_result(const struct frame_shape *shape);

/* ---- STEP: u32 items (0: other ranks have them all), u32 tails, then (u16 modality, u16 flags, u32 length, u32 tail)
 * [items], (sha256, f32 strength) [tails], the texts' ids, the images' pixels, each in the items' order. Pixels last, so that
 * ids are aligned and pixels can be sent from where they are. An item that is the same text or picture as the one before it,
 * for another tail, has flag 2 and neither ids nor pixels. In frame_step.c.
 */

/* What is wanted of an item. */
struct frame_want {
    bool shares;   /* those of its patches; flag 1 */
    bool again;    /* it is what the item before it is */
    uint32_t tail; /* 0: the model as it is; else tails[tail - 1] */
};

struct frame_step {
    const struct limoe_item *items; /* [n] */
    const struct frame_want *wants; /* [n] */
    const struct tail_key *tails;   /* [n_tails], all of which are used */
    size_t n, n_tails;
    uint64_t rows; /* the items' tokens */
};

/* Where a step's arrays are made, each for as many as there are items. */
struct frame_room {
    struct limoe_item *items;
    struct frame_want *wants;
    struct tail_key *tails;
};

/* The step of items [n], embedded by keys [n] (NULL, or an entry NULL: by the model as it is). wants and tails are made in
 * *room, whose items are not touched. */
struct frame_step frame_plan_step(const struct limoe_item *items, const struct tail_key *const *keys,
                                  size_t n, const struct frame_room *room);
/* Bytes of all but the pixels: of a step; the most that a step of these items can take; and of all. */
size_t frame_step_head_bytes(const struct frame_step *step);
size_t frame_step_most_head_bytes(const struct limoe_item *items, size_t n);
uint64_t frame_step_bytes(const struct frame_shape *shape, const struct frame_step *step);
/* head [frame_step_head_bytes]; pixels, of images that are not `again`, are the caller's to send behind it. */
void frame_put_step(const struct frame_step *step, uint8_t *head);
/* *room is of shape->items; its items point into the payload, and shares are the caller's to make room for. */
enum limoe_status frame_get_step(const struct frame_shape *shape, const uint8_t *payload, uint64_t length,
                                 const struct frame_room *room, struct frame_step *out,
                                 struct limoe_error *err);
/* Numbers of one image's shares. */
size_t frame_shares_size(const struct frame_shape *shape);

/* ---- RESULT: u32 status, u32 items, u64 rows, u64 split, u64 compute_ns, u64 gpu_used, u64 gpu_total, u64 [10] as
 * struct frame_tails, message, then after LIMOE_OK: load, rows_sent, bytes_sent, exchange_ns, entropy, embeddings,
 * shares, and when it is routed: expert, gate. */

/* The tails that the engine has in memory, and what a step took of them. */
struct frame_tails {
    uint64_t held, bytes;  /* now */
    uint64_t reads, drops; /* for this step */
    uint64_t trunk_rows,
        tail_rows; /* rows times blocks that those with tails have passed: once for all; by themselves */
    uint64_t known, known_bytes; /* items whose rows of the trunk are kept, and their memory, now */
    uint64_t hits, misses;       /* items of this step whose rows were known, and were not */
};

struct frame_result {
    enum limoe_status status; /* not LIMOE_OK: the step could not be computed; only the message is there */
    char message[FRAME_MESSAGE_BYTES];
    uint64_t items, rows, split, compute_ns; /* split: items with shares */
    uint64_t gpu_used, gpu_total; /* bytes of the rank's GPU, lately; at most gpu_total; 0: it has none */
    struct frame_tails tails;
    const uint64_t *load;                                 /* [layers, LIMOE_MODALITIES, experts] */
    const uint64_t *rows_sent, *bytes_sent, *exchange_ns; /* [layers], as struct limoe_routing */
    const double *entropy;                                /* [layers, LIMOE_MODALITIES] */
    const float *embeddings;                              /* [items, embed] */
    const float *shares;   /* [split, patches + 1, embed], in the items' order */
    const int32_t *expert; /* [layers, rows, top_k]; NULL unless routed */
    const float *gate;     /* as expert */
};

enum { FRAME_RESULT_HEAD_BYTES = 2 * 4 + 15 * 8 + FRAME_MESSAGE_BYTES, FRAME_RESULT_PARTS = 10 };

/* The payload as parts to be sent in order: head and the result's arrays. Returns its bytes. */
uint64_t frame_put_result(const struct frame_shape *shape, const struct frame_result *result,
                          uint8_t head[FRAME_RESULT_HEAD_BYTES], struct iovec parts[FRAME_RESULT_PARTS]);
/* The arrays of *out point into the payload. */
enum limoe_status frame_get_result(const struct frame_shape *shape, const struct frame_header *header,
                                   const uint8_t *payload, struct frame_result *out, struct limoe_error *err);

#endif
