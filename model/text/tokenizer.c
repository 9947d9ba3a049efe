/* tokenizer.c - which kind a folder holds, and what all kinds have in common.
 *
 * Opening reads every file of the list below that is there, each once, and gives its bytes to whoever builds the
 * tokenizer; the fingerprint is of the same list, so that it does not depend on which of them was used. */
#include "model/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/text/bert.h"
#include "model/text/clip_files.h"
#include "model/text/folder_config.h"
#include "model/text/pieces.h"
#include "model/text/siglip.h"
#include "model/text/tokenizer_json.h"
#include "model/text/tokenizer_kind.h"

#define LIMOE_MODEL     "tokenizer.model"
#define MAX_LIMOE_MODEL ((size_t)64 << 20)
#define MAX_FILE        ((size_t)1 << 30)
#define MAX_UNPACKED    ((size_t)64 << 20) /* of the gzip: OpenCLIP's has 3 MB */

/* ---- limoe-1 */

struct limoe_pieces {
    struct tokenizer base;
    struct pieces *pieces;
};

static void close_limoe(struct tokenizer *tokenizer) {
    pieces_close(((struct limoe_pieces *)tokenizer)->pieces);
    free(tokenizer);
}

static enum limoe_status encode_limoe(const struct tokenizer *tokenizer, struct text text, int32_t *ids,
                                      uint32_t capacity, uint32_t *count, struct limoe_error *err) {
    return pieces_encode(((const struct limoe_pieces *)tokenizer)->pieces, text.data, text.size, 0, ids,
                         capacity, count, err);
}

static enum limoe_status decode_limoe(const struct tokenizer *tokenizer, const int32_t *ids, uint32_t count,
                                      char *text, size_t size, struct limoe_error *err) {
    return pieces_decode(((const struct limoe_pieces *)tokenizer)->pieces, ids, count, text, size, err);
}

static const struct tokenizer_kind limoe_kind = {
    .close = close_limoe, .encode = encode_limoe, .decode = decode_limoe};

static enum limoe_status open_limoe(const uint8_t *bytes, size_t size, uint32_t vocab, struct limoe_pieces *t,
                                    struct limoe_error *err) {
    t->base.kind = &limoe_kind;
    t->base.facts =
        (struct tokenizer_facts){.kind = "SentencePiece", .vocab = vocab, .start = -1, .end = -1, .pad = -1};
    enum limoe_status status = pieces_open(bytes, size, LIMOE_MODEL, &t->pieces, err);
    if (status == LIMOE_OK && pieces_count(t->pieces) != vocab) {
        status = limoe_fail(err, LIMOE_CORRUPT,
                            LIMOE_MODEL ": has %u pieces, but \"text.vocab\" in config.json is %u",
                            pieces_count(t->pieces), vocab);
    }
    return status;
}

enum limoe_status tokenizer_open(const char *dir, uint32_t vocab, struct fingerprint *fingerprint,
                                 struct tokenizer **out, struct limoe_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    enum limoe_status status = file_read(dir, LIMOE_MODEL, MAX_LIMOE_MODEL, &bytes, &size, err);
    if (status != LIMOE_OK)
        return status;
    struct limoe_pieces *t = calloc(1, sizeof *t);
    status = t ? open_limoe(bytes, size, vocab, t, err)
               : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tokenizer");
    if (status == LIMOE_OK) {
        if (fingerprint)
            fingerprint_add(fingerprint, LIMOE_MODEL, bytes, size);
        *out = &t->base;
    } else if (t) {
        close_limoe(&t->base);
    }
    free(bytes);
    return status;
}

enum limoe_status tokenizer_fingerprint(const char *dir, struct fingerprint *fingerprint,
                                        struct limoe_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (file_exists(dir, LIMOE_MODEL)) {
        enum limoe_status status = file_read(dir, LIMOE_MODEL, MAX_LIMOE_MODEL, &bytes, &size, err);
        if (status != LIMOE_OK)
            return status;
    }
    fingerprint_add(fingerprint, LIMOE_MODEL, bytes, size);
    free(bytes);
    return LIMOE_OK;
}

/* ---- the files of other folders */

enum file { JSON, VOCAB, MERGES, LINES, SIMPLE, SIMPLE_PACKED, SPIECE, CONFIG, MAP, MODEL, OPEN_CLIP, FILES };

static const char *const names[FILES] = {
    [JSON] = TOKENIZER_JSON, [VOCAB] = VOCAB_JSON,           [MERGES] = MERGES_TXT,
    [LINES] = VOCAB_TXT,     [SIMPLE] = SIMPLE_BPE,          [SIMPLE_PACKED] = SIMPLE_GZIP,
    [SPIECE] = SPIECE_MODEL, [CONFIG] = TOKENIZER_CONFIG,    [MAP] = SPECIAL_TOKENS_MAP,
    [MODEL] = MODEL_CONFIG,  [OPEN_CLIP] = OPEN_CLIP_CONFIG,
};

struct files {
    struct file_bytes file[FILES];
};

static void files_free(struct files *files) {
    for (int i = 0; i < FILES; i++)
        free(files->file[i].at);
}

static enum limoe_status files_read(const char *dir, struct files *files, struct fingerprint *fingerprint,
                                    struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    for (int i = 0; i < FILES && status == LIMOE_OK; i++) {
        struct file_bytes *file = &files->file[i];
        if (file_exists(dir, names[i]))
            status = file_read(dir, names[i], MAX_FILE, &file->at, &file->size, err);
        if (status == LIMOE_OK && fingerprint)
            fingerprint_add(fingerprint, names[i], file->at, file->size);
    }
    return status;
}

enum limoe_status tokenizer_fingerprint_folder(const char *dir, struct fingerprint *fingerprint,
                                               struct limoe_error *err) {
    struct files files = {0};
    const enum limoe_status status = files_read(dir, &files, fingerprint, err);
    files_free(&files);
    return status;
}

/* ---- which kind */

static enum limoe_status unpack(const struct file_bytes *packed, struct buffer *to, struct limoe_error *err) {
    z_stream stream = {.next_in = packed->at, .avail_in = (unsigned)packed->size};
    enum { GZIP = 16 + MAX_WBITS };
    if (packed->size > UINT32_MAX || inflateInit2(&stream, GZIP) != Z_OK)
        return limoe_fail(err, LIMOE_NO_MEMORY, SIMPLE_GZIP ": no memory to unpack it");
    int result = Z_OK;
    while (result == Z_OK && to->size <= MAX_UNPACKED) {
        unsigned char part[16384];
        stream.next_out = part;
        stream.avail_out = sizeof part;
        result = inflate(&stream, Z_NO_FLUSH);
        buffer_bytes(to, part, sizeof part - stream.avail_out);
    }
    inflateEnd(&stream);
    if (to->failed)
        return limoe_fail(err, LIMOE_NO_MEMORY, SIMPLE_GZIP ": no memory to unpack it");
    if (to->size > MAX_UNPACKED)
        return limoe_fail(err, LIMOE_TOO_LARGE, SIMPLE_GZIP ": unpacks to more than %zu bytes", MAX_UNPACKED);
    return result == Z_STREAM_END ? LIMOE_OK
                                  : limoe_fail(err, LIMOE_CORRUPT, SIMPLE_GZIP ": is not a whole gzip file");
}

/* OpenCLIP's own tokenizer, from its file or from the merges of Hugging Face's, which are the same. */
static enum limoe_status open_simple(struct files *files, const struct folder_config *config,
                                     struct tokenizer **out, struct limoe_error *err) {
    for (int i = 0; i < 2; i++) {
        const int file = i == 0 ? SIMPLE : MERGES;
        if (i == 1 && files->file[SIMPLE_PACKED].at)
            break;
        if (files->file[file].at) {
            return clip_files_read_simple((const char *)files->file[file].at, files->file[file].size,
                                          names[file], config, out, err);
        }
    }
    if (!files->file[SIMPLE_PACKED].at) {
        return limoe_fail(err, LIMOE_NOT_FOUND,
                          "the folder has no tokenizer: none of " SIMPLE_BPE ", " SIMPLE_GZIP
                          " and " MERGES_TXT " is there");
    }
    struct buffer unpacked = {0};
    enum limoe_status status = unpack(&files->file[SIMPLE_PACKED], &unpacked, err);
    if (status == LIMOE_OK)
        status = clip_files_read_simple(unpacked.data, unpacked.size, SIMPLE_GZIP, config, out, err);
    buffer_free(&unpacked);
    return status;
}

/* transformers reads tokenizer.json where there is one; but SiglipTokenizer, whose file spiece.model is, knows no
 * other. */
static enum limoe_status open_hugging_face(struct files *files, const struct folder_config *config,
                                           struct tokenizer **out, struct limoe_error *err) {
    struct file_bytes *json = &files->file[JSON], *vocab = &files->file[VOCAB],
                      *merges = &files->file[MERGES];
    const struct file_bytes *spiece = &files->file[SPIECE];
    if (spiece->at && !config->open_clip)
        return siglip_read(spiece->at, spiece->size, config, out, err);
    if (json->at)
        return tokenizer_json_read((char *)json->at, json->size, config, out, err);
    if (vocab->at && merges->at) {
        return clip_files_read((char *)vocab->at, vocab->size, (const char *)merges->at, merges->size, config,
                               out, err);
    }
    if (files->file[LINES].at) {
        return bert_read_lines((const char *)files->file[LINES].at, files->file[LINES].size, config, out,
                               err);
    }
    return limoe_fail(err, LIMOE_NOT_FOUND,
                      "the folder has no tokenizer: neither " TOKENIZER_JSON ", nor " VOCAB_JSON
                      " and " MERGES_TXT ", nor " SPIECE_MODEL ", nor " VOCAB_TXT " is there");
}

static enum limoe_status open_kind(struct files *files, const struct folder_config *config,
                                   struct tokenizer **out, struct limoe_error *err) {
    if (config->open_clip && !config->hugging_face)
        return open_simple(files, config, out, err);
    enum limoe_status status = open_hugging_face(files, config, out, err);
    uint32_t length = 0;
    if (status != LIMOE_OK || !*out)
        return status;
    status = folder_config_length(config, &length, err);
    if (status == LIMOE_OK && (length > 0 || config->open_clip))
        (*out)->facts.length = config->open_clip ? config->context_length : length;
    (*out)->clean = config->clean;
    return status;
}

enum limoe_status tokenizer_open_folder(const char *dir, enum tokenizer_origin origin, uint32_t vocab,
                                        struct fingerprint *fingerprint, struct tokenizer **out,
                                        struct limoe_error *err) {
    struct files files = {0};
    struct folder_config config = {0};
    struct tokenizer *t = NULL;
    enum limoe_status status = files_read(dir, &files, fingerprint, err);
    if (status == LIMOE_OK) {
        const struct folder_files small = {files.file[CONFIG], files.file[MAP], files.file[MODEL],
                                           files.file[OPEN_CLIP]};
        status = folder_config_parse(&config, &small, origin == TOKENIZER_OPENCLIP, err);
    }
    if (status == LIMOE_OK)
        status = open_kind(&files, &config, &t, err);
    if (status == LIMOE_OK && t && t->facts.vocab > vocab) {
        status = limoe_fail(err, LIMOE_CORRUPT,
                            "the tokenizer has ids up to %u, but the model has %u rows of tokens",
                            t->facts.vocab - 1, vocab);
    }
    folder_config_free(&config);
    files_free(&files);
    if (status != LIMOE_OK) {
        tokenizer_close(t);
        return status;
    }
    *out = t;
    return LIMOE_OK;
}

/* ---- all kinds */

void tokenizer_close(struct tokenizer *tokenizer) {
    if (tokenizer)
        tokenizer->kind->close(tokenizer);
}

struct tokenizer_facts tokenizer_facts(const struct tokenizer *tokenizer) {
    return tokenizer->facts;
}

/* Start, text, end; the text gives way to the end, and the start to both. */
static enum limoe_status encode_framed(const struct tokenizer *t, struct text text, int32_t *ids,
                                       uint32_t capacity, uint32_t *count, struct limoe_error *err) {
    const uint32_t ends = t->facts.end >= 0, starts = t->facts.start >= 0 && capacity > ends;
    uint32_t n = 0;
    *count = 0;
    if (starts)
        ids[0] = t->facts.start;
    const uint32_t room = capacity > starts + ends ? capacity - starts - ends : 0;
    enum limoe_status status = t->kind->encode(t, text, ids + starts, room, &n, err);
    if (status != LIMOE_OK)
        return status;
    n += starts;
    if (ends && capacity > 0 && !(t->end_once && n > starts && ids[n - 1] == t->facts.end))
        ids[n++] = t->facts.end;
    *count = n;
    return LIMOE_OK;
}

enum limoe_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size,
                                   int32_t *ids, uint32_t capacity, uint32_t *count,
                                   struct limoe_error *err) {
    struct buffer clean = {0};
    struct text what = {.data = text, .size = size};
    if (tokenizer->clean != CLEAN_NOTHING) {
        clean_text(tokenizer->clean, what, &clean);
        what = (struct text){.data = clean.data, .size = clean.size};
    }
    const enum limoe_status status =
        clean.failed ? limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a text of %zu bytes", size)
                     : encode_framed(tokenizer, what, ids, capacity, count, err);
    buffer_free(&clean);
    return status;
}

enum limoe_status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, uint32_t count,
                                   char *text, size_t size, struct limoe_error *err) {
    if (!tokenizer->kind->decode)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "ids of %s are not made text; those of SentencePiece are",
                          tokenizer->facts.kind);
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= tokenizer->facts.vocab)
            return limoe_fail(err, LIMOE_INVALID, "token %u is id %d, must be 0 to %u", i, ids[i],
                              tokenizer->facts.vocab - 1);
    return tokenizer->kind->decode(tokenizer, ids, count, text, size, err);
}
