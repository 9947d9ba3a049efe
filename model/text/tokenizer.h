/* tokenizer.h - text to token ids: one face, several kinds, chosen by what a model's folder holds.
 *
 * Each kind gives the ids of one original:
 *
 *   limoe-1 folder       tokenizer.model: SentencePiece (pieces.h)
 *   Hugging Face folder  CLIP: transformers' CLIPTokenizer (CLIPTokenizerFast before its version 5), from
 *                        tokenizer.json (tokenizer_json.h), or vocab.json and merges.txt (clip_files.h)
 *                        SigLIP: transformers' SiglipTokenizer, over spiece.model (siglip.h)
 *                        SigLIP 2: transformers' Siglip2Tokenizer or GemmaTokenizer, over tokenizer.json
 *                        ChineseCLIP: transformers' BertTokenizer, from vocab.txt or tokenizer.json (bert.h)
 *   OpenCLIP folder      open_clip's SimpleTokenizer with what open_clip_config.json says (clip_files.h), or its
 *                        HFTokenizer around one of the above, or for SigLIP around T5Tokenizer (unigram.h); all behind
 *                        open_clip's cleaning (clean.h)
 *
 * A tokenizer is read-only once opened: any number of threads may encode. Letters, digits, case and NFC are those
 * of the utf8proc that the program is linked with (Debian 12: Unicode 15); code points assigned later count as
 * unassigned.
 */
#ifndef LIMOE_MODEL_TEXT_TOKENIZER_H
#define LIMOE_MODEL_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/fingerprint.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tokenizer;

/* Loads dir/tokenizer.model of a limoe-1 folder, whose vocabulary must be exactly `vocab` pieces, and adds its
 * bytes to `fingerprint` (NULL: to none). */
enum limoe_status tokenizer_open(const char *dir, uint32_t vocab, struct fingerprint *fingerprint,
                                 struct tokenizer **out, struct limoe_error *err);
/* Adds to the fingerprint what tokenizer_open would add, for callers that need no tokenizer. A file that
 * is not there counts as empty, which no tokenizer is. */
enum limoe_status tokenizer_fingerprint(const char *dir, struct fingerprint *fingerprint,
                                        struct limoe_error *err);

/* Whose folder it is, and so whose tokenizer is the original. */
enum tokenizer_origin { TOKENIZER_HUGGING_FACE, TOKENIZER_OPENCLIP };

/* Loads the tokenizer of such a folder. Every id it gives is below `vocab`, the rows of the model's token table,
 * or the folder is refused. What the files say beyond what is reproduced is refused by name: LIMOE_UNSUPPORTED;
 * LIMOE_CORRUPT, _NOT_FOUND, _TOO_LARGE, _IO and _NO_MEMORY as their names say. Messages begin with the file's
 * name. All files read are added to `fingerprint` (NULL: to none). */
enum limoe_status tokenizer_open_folder(const char *dir, enum tokenizer_origin origin, uint32_t vocab,
                                        struct fingerprint *fingerprint, struct tokenizer **out,
                                        struct limoe_error *err);
/* Adds what tokenizer_open_folder would have. */
enum limoe_status tokenizer_fingerprint_folder(const char *dir, struct fingerprint *fingerprint,
                                               struct limoe_error *err);

void tokenizer_close(struct tokenizer *tokenizer); /* NULL is fine */

/* What the folder says of its tokenizer. */
struct tokenizer_facts {
    const char *kind; /* "SentencePiece", "CLIP BPE", … for people */
    uint32_t vocab;   /* one more than the largest id */
    uint32_t length;  /* the most tokens of a text, start and end included; 0: the folder does not say */
    int32_t start;    /* the id that encode puts before a text; -1: none */
    int32_t end;      /* the id that encode puts behind a text; -1: none (limoe-1: the caller adds it) */
    int32_t pad;      /* the id that fills a row up to the model's length; -1: the folder does not say */
    bool pad_left;    /* the original fills rows before the text, not behind it */
};

struct tokenizer_facts tokenizer_facts(const struct tokenizer *tokenizer);

/* Encodes UTF-8 text: *count ids, start and end among them (not limoe-1's), no padding. What is longer than
 * `capacity` is cut as the original cuts to a context of that many tokens, that is, the end token is kept.
 * Time is n log n in the size of the text. Safe from many threads at once. */
enum limoe_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size,
                                   int32_t *ids, uint32_t capacity, uint32_t *count, struct limoe_error *err);

/* The text of ids, NUL-terminated UTF-8, to text[size]: as the original decodes them. LIMOE_INVALID: an id that there is not;
 * LIMOE_TOO_LARGE: no room; LIMOE_UNSUPPORTED: a kind other than SentencePiece's
 * of limoe's own folders. Safe from many threads at once. */
enum limoe_status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, uint32_t count,
                                   char *text, size_t size, struct limoe_error *err);

#ifdef __cplusplus
}
#endif
#endif
