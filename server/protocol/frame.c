/* frame.c - numbers in and out of frames, and what a receiver does not believe. */
#include "server/protocol/frame.h"

#include <string.h>

#include "base/error.h"
#include "limoe_caption.h"
#include "server/protocol/frame_parts.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames hold numbers as they lie in memory");

#define MAGIC UINT32_C(0x656f6d6c) /* "lmoe" */

/* No model is so large; and the products below stay within 64 bits. */
#define MOST_EMBED       (UINT32_C(1) << 17)
#define MOST_IMAGE_SIZE  (UINT32_C(1) << 14)
#define MOST_TEXT_LENGTH (UINT32_C(1) << 20)
#define MOST_EXPERTS     (UINT32_C(1) << 16)
#define MOST_TOP_K       (UINT32_C(1) << 8)

/* ---- header */

static const char *type_name(uint32_t type) {
    static const char *const names[] = {"unknown",   "HELLO", "STEP",      "RESULT", "JOIN",
                                        "CONNECTED", "ASK",   "UNIQUE_ID", "GROUP",  "APART"};
    return type < sizeof names / sizeof *names ? names[type] : names[0];
}

void frame_put_header(const struct frame_header *header, uint8_t out[FRAME_HEADER_BYTES]) {
    uint16_t words[2] = {FRAME_VERSION, (uint16_t)header->type};
    uint8_t *at = out;
    put_u32(&at, MAGIC);
    put(&at, words, sizeof words);
    put_u32(&at, header->flags);
    put_u32(&at, 0);
    put_u64(&at, header->length);
    put_u64(&at, header->id);
}

/* Where one type alone is due, its name. */
static const char *due_name(unsigned types) {
    return types & (types - 1) ? "frame of another type" : type_name((unsigned)__builtin_ctz(types));
}

enum limoe_status frame_get_header(const uint8_t bytes[FRAME_HEADER_BYTES], unsigned types, uint64_t most,
                                   struct frame_header *out, struct limoe_error *err) {
    uint16_t words[2];
    const uint8_t *at = bytes;
    uint32_t magic = get_u32(&at);
    get(&at, words, sizeof words);
    uint32_t flags = get_u32(&at), reserved = get_u32(&at);
    uint64_t length = get_u64(&at), id = get_u64(&at);
    if (magic != MAGIC)
        return limoe_fail(err, LIMOE_CORRUPT, "a frame begins with %08x, not %08x", magic, MAGIC);
    if (words[0] != FRAME_VERSION)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "a frame of protocol version %u; this limoe speaks %d",
                          words[0], FRAME_VERSION);
    if (words[1] > FRAME_APART || !(types & FRAME_IN(words[1])))
        return limoe_fail(err, LIMOE_CORRUPT, "a frame of type %u (%s) where a %s was due", words[1],
                          type_name(words[1]), due_name(types));
    const char *name = type_name(words[1]);
    if ((flags & ~(uint32_t)(FRAME_ROUTED | FRAME_CAPTIONS)) != 0 || reserved != 0)
        return limoe_fail(err, LIMOE_CORRUPT, "a %s with unknown flags %x, %x", name, flags, reserved);
    if (length > most)
        return limoe_fail(err, LIMOE_CORRUPT, "a %s of %llu bytes; at most %llu can be", name,
                          (unsigned long long)length, (unsigned long long)most);
    *out =
        (struct frame_header){.type = (enum frame_type)words[1], .flags = flags, .length = length, .id = id};
    return LIMOE_OK;
}

/* ---- JOIN */

void frame_put_join(const struct frame_join *join, uint8_t out[FRAME_JOIN_BYTES]) {
    uint8_t *at = out;
    put(&at, join->token, FRAME_TOKEN_BYTES);
    put_u32(&at, join->rank);
    put_string(&at, join->host, FRAME_WORD_BYTES);
    put_string(&at, join->device, FRAME_WORD_BYTES);
    put_string(&at, join->digest, FRAME_WORD_BYTES);
}

/* What a log or a message will show. */
static bool is_printable(const char *text) {
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

enum limoe_status frame_get_join(const uint8_t *payload, uint64_t length, struct frame_join *out,
                                 struct limoe_error *err) {
    const uint8_t *at = payload;
    if (length != FRAME_JOIN_BYTES)
        return limoe_fail(err, LIMOE_CORRUPT, "a JOIN of %llu bytes, not %d", (unsigned long long)length,
                          FRAME_JOIN_BYTES);
    get(&at, out->token, FRAME_TOKEN_BYTES);
    out->token[FRAME_TOKEN_BYTES] = '\0';
    out->rank = get_u32(&at);
    const bool ended = get_string(&at, out->host, FRAME_WORD_BYTES) &&
                       get_string(&at, out->device, FRAME_WORD_BYTES) &&
                       get_string(&at, out->digest, FRAME_WORD_BYTES);
    if (!ended || !is_printable(out->host) || !is_printable(out->device) || !is_printable(out->digest))
        return limoe_fail(err, LIMOE_CORRUPT, "a JOIN whose words have no end, or cannot be shown");
    return LIMOE_OK;
}

/* ---- HELLO */

void frame_put_hello(const struct frame_hello *hello, uint8_t out[FRAME_HELLO_BYTES]) {
    const struct limoe_info *model = &hello->model;
    uint8_t *at = out;
    put_u32(&at, hello->status);
    put_string(&at, hello->message, FRAME_MESSAGE_BYTES);
    const struct limoe_tower *image = &model->tower[LIMOE_IMAGE], *text = &model->tower[LIMOE_TEXT],
                             *decoder = &model->decoder;
    const uint32_t numbers[] = {
        hello->dtype,        hello->threads,      model->towers,        image->width,      image->blocks,
        image->heads,        image->mlp,          text->width,          text->blocks,      text->heads,
        text->mlp,           model->blocks,       model->embed,         model->image_size, model->patch,
        model->image_tokens, model->vocab,        model->text_length,   model->moe_layers, model->experts,
        model->top_k,        model->scoring.kind, model->shares,        decoder->width,    decoder->blocks,
        decoder->heads,      decoder->mlp,        model->caption_length};
    put(&at, numbers, sizeof numbers);
    put_u64(&at, model->total_parameters);
    put_u64(&at, model->active_parameters);
    put_u64(&at, model->weight_bytes);
    put_u64(&at, hello->dense_bytes);
    put_u64(&at, hello->expert_bytes);
    put_u64(&at, hello->step_tokens);
    put_u32(&at, hello->rank);
    put_u32(&at, hello->ranks);
    put_u32(&at, hello->experts);
    put(&at, &model->scoring.scale, sizeof model->scoring.scale);
    put(&at, &model->scoring.bias, sizeof model->scoring.bias);
    put_string(&at, model->name, FRAME_NAME_BYTES);
    put_string(&at, model->architecture, FRAME_WORD_BYTES);
    put_string(&at, hello->backend, FRAME_WORD_BYTES);
    put_string(&at, hello->fingerprint, FRAME_WORD_BYTES);
    put_string(&at, hello->base, FRAME_WORD_BYTES);
    put_string(&at, hello->note, FRAME_NOTE_BYTES);
    memset(at, 0, FRAME_MOST_BLOCKS * sizeof *model->moe_blocks);
    uint32_t layers = model->moe_layers < FRAME_MOST_BLOCKS ? model->moe_layers : FRAME_MOST_BLOCKS;
    if (model->moe_blocks)
        memcpy(at, model->moe_blocks, layers * sizeof *model->moe_blocks);
}

/* limoe_has, without the library. */
static bool takes(const struct limoe_info *model, enum limoe_modality modality) {
    return model->tower[modality].blocks > 0;
}

/* A size of a modality, which is 0 where the model does not take it. */
static bool fits(const struct limoe_info *model, enum limoe_modality modality, uint32_t value,
                 uint32_t most) {
    return takes(model, modality) ? within(value, 1, most) : value == 0;
}

static uint32_t patches(const struct limoe_info *model) {
    const uint32_t side = model->patch ? model->image_size / model->patch : 0;
    return side * side;
}

/* NULL, or which number is out of range. */
static const char *wrong_number(const struct frame_hello *hello) {
    const struct limoe_info *model = &hello->model;
    if (!within(hello->dtype, LIMOE_FLOAT32, LIMOE_INT8))
        return "dtype";
    if (!within(model->embed, 1, MOST_EMBED))
        return "embed";
    if (!within(model->towers, 1, LIMOE_MODALITIES) ||
        (!takes(model, LIMOE_IMAGE) && !takes(model, LIMOE_TEXT)))
        return "towers";
    if (!fits(model, LIMOE_IMAGE, model->image_size, MOST_IMAGE_SIZE))
        return "image_size";
    if (model->scoring.kind != LIMOE_SOFTMAX && model->scoring.kind != LIMOE_SIGMOID)
        return "scoring";
    if (!fits(model, LIMOE_IMAGE, model->patch, model->image_size))
        return "patch";
    if (takes(model, LIMOE_IMAGE) ? !within(model->image_tokens, patches(model), patches(model) + 1)
                                  : model->image_tokens != 0)
        return "image_tokens";
    if (!within(model->shares, LIMOE_SHARES_NONE, LIMOE_SHARES_ATTENTION))
        return "shares";
    if (!fits(model, LIMOE_TEXT, model->text_length, MOST_TEXT_LENGTH))
        return "text_length";
    if (!within(model->blocks, 1, FRAME_MOST_BLOCKS))
        return "blocks";
    if (!within(model->moe_layers, 0, model->blocks))
        return "moe_layers";
    if (!within(model->experts, model->moe_layers > 0, MOST_EXPERTS))
        return "experts";
    if (!within(model->top_k, model->moe_layers > 0, MOST_TOP_K) || model->top_k > model->experts)
        return "top_k";
    if (!within(model->decoder.blocks, 0, FRAME_MOST_BLOCKS) ||
        !within(model->caption_length, model->decoder.blocks > 0,
                model->decoder.blocks > 0 ? LIMOE_CAPTION_MAX_TOKENS : 0))
        return "decoder";
    if (hello->step_tokens < 1 || hello->step_tokens > UINT32_MAX)
        return "step_tokens";
    if (hello->rank >= hello->ranks)
        return "rank";
    for (uint32_t i = 0; i < model->moe_layers; i++)
        if (hello->moe_blocks[i] >= model->blocks ||
            (i > 0 && hello->moe_blocks[i] <= hello->moe_blocks[i - 1]))
            return "moe_blocks";
    return NULL;
}

enum limoe_status frame_get_hello(const uint8_t *payload, uint64_t length, struct frame_hello *out,
                                  struct limoe_error *err) {
    if (length != FRAME_HELLO_BYTES)
        return limoe_fail(err, LIMOE_CORRUPT, "a HELLO of %llu bytes, not %d", (unsigned long long)length,
                          FRAME_HELLO_BYTES);
    struct limoe_info *model = &out->model;
    uint32_t status = get_u32(&payload);
    bool ended = get_string(&payload, out->message, FRAME_MESSAGE_BYTES);
    out->dtype = (enum limoe_dtype)get_u32(&payload);
    out->threads = get_u32(&payload);
    struct limoe_tower *image = &model->tower[LIMOE_IMAGE], *text = &model->tower[LIMOE_TEXT];
    uint32_t kind = 0, shares = 0;
    uint32_t *const numbers[] = {&model->towers,
                                 &image->width,
                                 &image->blocks,
                                 &image->heads,
                                 &image->mlp,
                                 &text->width,
                                 &text->blocks,
                                 &text->heads,
                                 &text->mlp,
                                 &model->blocks,
                                 &model->embed,
                                 &model->image_size,
                                 &model->patch,
                                 &model->image_tokens,
                                 &model->vocab,
                                 &model->text_length,
                                 &model->moe_layers,
                                 &model->experts,
                                 &model->top_k,
                                 &kind,
                                 &shares,
                                 &model->decoder.width,
                                 &model->decoder.blocks,
                                 &model->decoder.heads,
                                 &model->decoder.mlp,
                                 &model->caption_length};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = get_u32(&payload);
    model->scoring.kind = (enum limoe_scoring_kind)kind;
    model->shares = (enum limoe_shares)shares;
    model->total_parameters = get_u64(&payload);
    model->active_parameters = get_u64(&payload);
    model->weight_bytes = get_u64(&payload);
    out->dense_bytes = get_u64(&payload);
    out->expert_bytes = get_u64(&payload);
    out->step_tokens = get_u64(&payload);
    out->rank = get_u32(&payload);
    out->ranks = get_u32(&payload);
    out->experts = get_u32(&payload);
    get(&payload, &model->scoring.scale, sizeof model->scoring.scale);
    get(&payload, &model->scoring.bias, sizeof model->scoring.bias);
    ended = get_string(&payload, out->name, FRAME_NAME_BYTES) && ended;
    ended = get_string(&payload, out->architecture, FRAME_WORD_BYTES) && ended;
    ended = get_string(&payload, out->backend, FRAME_WORD_BYTES) && ended;
    ended = get_string(&payload, out->fingerprint, FRAME_WORD_BYTES) && ended;
    ended = get_string(&payload, out->base, FRAME_WORD_BYTES) && ended;
    ended = get_string(&payload, out->note, FRAME_NOTE_BYTES) && ended;
    get(&payload, out->moe_blocks, sizeof out->moe_blocks);
    model->name = out->name;
    model->architecture = out->architecture;
    model->moe_blocks = out->moe_blocks;

    if (status > LIMOE_BROKEN || !ended || (status != LIMOE_OK) != (out->message[0] != '\0'))
        return limoe_fail(err, LIMOE_CORRUPT, "a HELLO with status %u and strings that do not fit it",
                          status);
    out->status = (enum limoe_status)status;
    const char *wrong = status == LIMOE_OK ? wrong_number(out) : NULL;
    if (wrong)
        return limoe_fail(err, LIMOE_CORRUPT, "a HELLO whose %s cannot be", wrong);
    return LIMOE_OK;
}

bool frame_hello_equal(const struct frame_hello *a, const struct frame_hello *b) {
    uint8_t bytes[2][FRAME_HELLO_BYTES];
    struct frame_hello plain = *a;
    plain.threads = b->threads; /* these change no bit of an answer */
    plain.rank = b->rank;
    plain.experts = b->experts;
    plain.dense_bytes = b->dense_bytes;
    plain.expert_bytes = b->expert_bytes;
    memcpy(plain.note, b->note, sizeof plain.note);
    frame_put_hello(&plain, bytes[0]);
    frame_put_hello(b, bytes[1]);
    return memcmp(bytes[0], bytes[1], FRAME_HELLO_BYTES) == 0;
}

/* ---- UNIQUE_ID, GROUP, ASK */

enum limoe_status frame_get_unique_id(const struct frame_header *header, const uint8_t *payload,
                                      uint8_t unique_id[FRAME_UNIQUE_ID_BYTES], struct limoe_error *err) {
    const uint64_t bytes = unique_id ? FRAME_UNIQUE_ID_BYTES : 0;
    if (header->length != bytes || header->id == 0)
        return limoe_fail(err, LIMOE_CORRUPT, "%s of generation %llu and %llu bytes, not %llu",
                          type_name(header->type), (unsigned long long)header->id,
                          (unsigned long long)header->length, (unsigned long long)bytes);
    if (unique_id)
        memcpy(unique_id, payload, FRAME_UNIQUE_ID_BYTES);
    return LIMOE_OK;
}

/* ---- bounds */

struct frame_shape frame_shape(const struct limoe_info *model, uint64_t step_tokens) {
    return (struct frame_shape){
        .embed = model->embed,
        .layers = model->moe_layers,
        .experts = model->experts,
        .top_k = model->top_k,
        .image_tokens = model->image_tokens,
        .text_length = model->text_length,
        .image_bytes = (uint64_t)model->image_size * model->image_size * 3,
        .patches = patches(model),
        /* An item has at least one token; the probe is one of each kind, whatever the budget. */
        .items = step_tokens + 1,
        .rows = step_tokens + model->image_tokens + model->text_length,
    };
}

static uint64_t load_bytes(const struct frame_shape *shape) {
    return (uint64_t)shape->layers * LIMOE_MODALITIES * shape->experts * sizeof(uint64_t);
}

/* Of rows_sent, bytes_sent or exchange_ns. */
static uint64_t exchange_bytes(const struct frame_shape *shape) {
    return (uint64_t)shape->layers * sizeof(uint64_t);
}

static uint64_t entropy_bytes(const struct frame_shape *shape) {
    return (uint64_t)shape->layers * LIMOE_MODALITIES * sizeof(double);
}

static uint64_t embeddings_bytes(const struct frame_shape *shape, uint64_t items) {
    return items * shape->embed * sizeof(float);
}

/* Of expert or gate: their elements have one size. */
static uint64_t routing_bytes(const struct frame_shape *shape, uint64_t rows) {
    _Static_assert(sizeof(int32_t) == sizeof(float), "expert and gate");
    return shape->layers * rows * shape->top_k * sizeof(int32_t);
}

size_t frame_shares_size(const struct frame_shape *shape) {
    return (shape->patches + 1) * shape->embed;
}

static uint64_t shares_bytes(const struct frame_shape *shape, uint64_t split) {
    return split * frame_shares_size(shape) * sizeof(float);
}

static uint64_t result_bytes(const struct frame_shape *shape, const struct frame_result *result,
                             bool routed) {
    return FRAME_RESULT_HEAD_BYTES + load_bytes(shape) + 3 * exchange_bytes(shape) + entropy_bytes(shape) +
           embeddings_bytes(shape, result->items) + shares_bytes(shape, result->split) +
           (routed ? 2 * routing_bytes(shape, result->rows) : 0);
}

uint64_t frame_longest_result(const struct frame_shape *shape) {
    const struct frame_result longest = {
        .items = shape->items, .rows = shape->rows, .split = most_images(shape)};
    return result_bytes(shape, &longest, true);
}

/* ---- RESULT */

static void put_tails(uint8_t **at, const struct frame_tails *tails) {
    const uint64_t numbers[] = {tails->held,       tails->bytes,     tails->reads, tails->drops,
                                tails->trunk_rows, tails->tail_rows, tails->known, tails->known_bytes,
                                tails->hits,       tails->misses};
    put(at, numbers, sizeof numbers);
}

static void get_tails(const uint8_t **at, struct frame_tails *tails) {
    uint64_t *const numbers[] = {&tails->held,       &tails->bytes,     &tails->reads, &tails->drops,
                                 &tails->trunk_rows, &tails->tail_rows, &tails->known, &tails->known_bytes,
                                 &tails->hits,       &tails->misses};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = get_u64(at);
}

uint64_t frame_put_result(const struct frame_shape *shape, const struct frame_result *result,
                          uint8_t head[FRAME_RESULT_HEAD_BYTES], struct iovec parts[FRAME_RESULT_PARTS]) {
    bool good = result->status == LIMOE_OK, routed = good && result->expert;
    uint8_t *at = head;
    parts[0] = (struct iovec){head, FRAME_RESULT_HEAD_BYTES};
    parts[1] = (struct iovec){(void *)result->load, good ? load_bytes(shape) : 0};
    parts[2] = (struct iovec){(void *)result->rows_sent, good ? exchange_bytes(shape) : 0};
    parts[3] = (struct iovec){(void *)result->bytes_sent, good ? exchange_bytes(shape) : 0};
    parts[4] = (struct iovec){(void *)result->exchange_ns, good ? exchange_bytes(shape) : 0};
    parts[5] = (struct iovec){(void *)result->entropy, good ? entropy_bytes(shape) : 0};
    parts[6] = (struct iovec){(void *)result->embeddings, good ? embeddings_bytes(shape, result->items) : 0};
    parts[7] = (struct iovec){(void *)result->shares, good ? shares_bytes(shape, result->split) : 0};
    parts[8] = (struct iovec){(void *)result->expert, routed ? routing_bytes(shape, result->rows) : 0};
    parts[9] = (struct iovec){(void *)result->gate, routed ? routing_bytes(shape, result->rows) : 0};
    put_u32(&at, result->status);
    put_u32(&at, good ? (uint32_t)result->items : 0);
    put_u64(&at, good ? result->rows : 0);
    put_u64(&at, good ? result->split : 0);
    put_u64(&at, result->compute_ns);
    put_u64(&at, result->gpu_used);
    put_u64(&at, result->gpu_total);
    put_tails(&at, &result->tails);
    put_string(&at, good ? "" : result->message, FRAME_MESSAGE_BYTES);
    uint64_t bytes = 0;
    for (int i = 0; i < FRAME_RESULT_PARTS; i++)
        bytes += parts[i].iov_len;
    return bytes;
}

static const void *next_array(const uint8_t **at, uint64_t bytes) {
    const void *array = *at;
    *at += bytes;
    return array;
}

enum limoe_status frame_get_result(const struct frame_shape *shape, const struct frame_header *header,
                                   const uint8_t *payload, struct frame_result *out,
                                   struct limoe_error *err) {
    if (header->length < FRAME_RESULT_HEAD_BYTES)
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT of %llu bytes", (unsigned long long)header->length);
    bool routed = header->flags & FRAME_ROUTED;
    uint32_t status = get_u32(&payload);
    *out = (struct frame_result){.items = get_u32(&payload)};
    out->rows = get_u64(&payload);
    out->split = get_u64(&payload);
    out->compute_ns = get_u64(&payload);
    out->gpu_used = get_u64(&payload);
    out->gpu_total = get_u64(&payload);
    get_tails(&payload, &out->tails);
    bool ended = get_string(&payload, out->message, FRAME_MESSAGE_BYTES);
    if (status > LIMOE_BROKEN || !ended || (status != LIMOE_OK) != (out->message[0] != '\0'))
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT with status %u and a message that does not fit it",
                          status);
    if (out->gpu_used > out->gpu_total)
        return limoe_fail(err, LIMOE_CORRUPT, "a RESULT of a GPU with %llu of its %llu bytes in use",
                          (unsigned long long)out->gpu_used, (unsigned long long)out->gpu_total);
    out->status = (enum limoe_status)status;
    if (out->items > shape->items || out->rows > shape->rows || out->split > most_images(shape))
        return limoe_fail(
            err, LIMOE_CORRUPT,
            "a RESULT of %llu items, %llu tokens and %llu shares; at most %llu, %llu and %llu can be",
            (unsigned long long)out->items, (unsigned long long)out->rows, (unsigned long long)out->split,
            (unsigned long long)shape->items, (unsigned long long)shape->rows,
            (unsigned long long)most_images(shape));
    uint64_t expected = status == LIMOE_OK ? result_bytes(shape, out, routed) : FRAME_RESULT_HEAD_BYTES;
    if (header->length != expected || (status != LIMOE_OK && (out->items || out->rows || out->split)))
        return limoe_fail(
            err, LIMOE_CORRUPT,
            "a RESULT of %llu bytes; status %u, %llu items, %llu tokens and %llu shares have %llu",
            (unsigned long long)header->length, status, (unsigned long long)out->items,
            (unsigned long long)out->rows, (unsigned long long)out->split, (unsigned long long)expected);
    if (status != LIMOE_OK)
        return LIMOE_OK;
    out->load = next_array(&payload, load_bytes(shape));
    out->rows_sent = next_array(&payload, exchange_bytes(shape));
    out->bytes_sent = next_array(&payload, exchange_bytes(shape));
    out->exchange_ns = next_array(&payload, exchange_bytes(shape));
    out->entropy = next_array(&payload, entropy_bytes(shape));
    out->embeddings = next_array(&payload, embeddings_bytes(shape, out->items));
    out->shares = next_array(&payload, shares_bytes(shape, out->split));
    if (routed) {
        out->expert = next_array(&payload, routing_bytes(shape, out->rows));
        out->gate = next_array(&payload, routing_bytes(shape, out->rows));
    }
    return LIMOE_OK;
}
