/* bpe_text.h - the kinds of tokenizer that are byte-pair encoding: CLIP's, OpenCLIP's and SigLIP 2's; and ChineseCLIP's,
 * which differs from them in its last step.
 *
 * A text goes through: added tokens as they are written ─► normaliser ─► added tokens as they read normalised ─►
 * words ─► symbols of a word ─► merges. What each step does is said by the fields, which the readers of files fill
 * (tokenizer_json.h, clip_files.h).
 */
#ifndef LIMOE_MODEL_TEXT_BPE_TEXT_H
#define LIMOE_MODEL_TEXT_BPE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/text/added.h"
#include "model/text/bpe.h"
#include "model/text/split.h"
#include "model/text/tokenizer_kind.h"
#include "model/text/vocab.h"
#include "model/text/wordpiece.h"

#define BPE_NO_ID UINT32_MAX

enum bpe_words {
    BPE_CLIP_WORDS,   /* split.h */
    BPE_SPACED_WORDS, /* each ends with its space */
    BPE_ONE_WORD,     /* the text */
    BPE_BERT_WORDS,   /* wordpiece.h */
};

struct bpe_text {
    struct tokenizer base;
    struct added raw, normalized;

    /* The normaliser, in this order. The first three are BERT's. */
    bool clean, space_chinese, strip_accents;
    bool nfc;
    bool collapse;  /* white space becomes one space */
    bool lower;     /* as Rust's */
    bool metaspace; /* spaces become U+2581 */

    enum bpe_words words;
    enum split_literals literals;
    bool literal_parts;     /* a literal is three words: its brackets and its name */
    int32_t literal_ids[2]; /* of a start, of an end that is written out; -1: they are words */

    /* Symbols: the bytes of a word, of which the last is another symbol; or its characters, or those characters'
     * bytes. BPE_NO_ID: there is no such piece. */
    bool bytes;
    uint32_t byte_ids[2][256]; /* [1]: the last of a word */
    struct bpe_character {
        uint32_t c, id;
    } * character; /* [characters], ascending */
    size_t characters;
    bool byte_fallback;
    uint32_t fallback_ids[256];

    uint32_t unknown;  /* for a symbol without a piece; BPE_NO_ID: it is left out */
    bool fuse_unknown; /* unknown ones side by side are one */
    struct bpe bpe;
    struct wordpiece *pieces; /* with BPE_BERT_WORDS, in place of symbols and merges */
};

/* NULL: no memory. Closed by tokenizer_close, filled or not. */
struct bpe_text *bpe_text_new(void);

/* Fills the symbols from the pieces. Bytes: pieces are written in GPT-2's alphabet, which has a printable
 * character for each byte, and the last of a word has "</w>" behind it. LIMOE_NO_MEMORY. */
enum limoe_status bpe_text_symbols(struct bpe_text *t, const struct vocab *vocab, struct limoe_error *err);

/* A byte as GPT-2's alphabet writes it, into letter[4]; and whether it stands for itself there. */
struct text bpe_byte_letter(unsigned byte, char letter[4]);
bool bpe_byte_printable(unsigned byte);

/* Appends text as the normaliser leaves it, to what is in `to`; `scratch` is used on the way. */
struct buffer;
void bpe_text_normalize(const struct bpe_text *t, struct text text, struct buffer *to,
                        struct buffer *scratch);

#endif
