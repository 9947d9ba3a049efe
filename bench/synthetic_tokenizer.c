/* synthetic_tokenizer.c - a tokenizer of any size from one that is there. One thread.
 *
 * In a protocol buffer the elements of a repeated field may lie anywhere and are taken in order; so pieces
 * are added by appending them to the file. They are marked unused: no text becomes one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench/synthetic.h"
#include "model/checkpoint/file.h"

#define MAX_FILE ((size_t)64 << 20)

struct reader {
    const uint8_t *at, *end;
};

static bool take_varint(struct reader *r, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        const uint8_t byte = *r->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* How many pieces (field 1 of the model) there are; -1 where this is no protocol buffer. */
static int64_t count_pieces(const uint8_t *bytes, size_t size) {
    struct reader r = {bytes, bytes + size};
    int64_t pieces = 0;
    while (r.at < r.end) {
        uint64_t tag, length;
        if (!take_varint(&r, &tag))
            return -1;
        switch (tag & 7) {
        case 0:
            if (!take_varint(&r, &length))
                return -1;
            continue;
        case 1:
            length = 8;
            break;
        case 2:
            if (!take_varint(&r, &length))
                return -1;
            break;
        case 5:
            length = 4;
            break;
        default:
            return -1;
        }
        if (length > (uint64_t)(r.end - r.at))
            return -1;
        r.at += length;
        pieces += tag == (1 << 3 | 2);
    }
    return pieces;
}

/* ModelProto.pieces { piece: "<unused N>", type: UNUSED } */
static void add_piece(FILE *f, uint32_t number) {
    enum { PIECES = 1 << 3 | 2, PIECE = 1 << 3 | 2, TYPE = 3 << 3, UNUSED = 5 };
    char name[32];
    const int length = snprintf(name, sizeof name, "<unused %u>", number);
    fputc(PIECES, f);
    fputc(length + 4, f);
    fputc(PIECE, f);
    fputc(length, f);
    fputs(name, f);
    fputc(TYPE, f);
    fputc(UNUSED, f);
}

enum limoe_status synthetic_tokenizer(const char *dir, const char *path, uint32_t vocab,
                                      struct limoe_error *err) {
    uint8_t *bytes = NULL;
    char *grown = NULL;
    size_t size = 0, grown_size = 0;
    FILE *f = NULL;
    enum limoe_status status = file_read_path(path, MAX_FILE, &bytes, &size, err);
    if (status)
        return status;
    const int64_t pieces = count_pieces(bytes, size);
    if (pieces < 1 || pieces > vocab) {
        status =
            limoe_fail(err, LIMOE_INVALID, "%.300s has %lld pieces; 1 to the vocabulary's %u are accepted",
                       path, (long long)pieces, vocab);
        goto out;
    }
    f = open_memstream(&grown, &grown_size);
    if (!f) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tokenizer");
        goto out;
    }
    fwrite(bytes, 1, size, f);
    for (uint32_t piece = (uint32_t)pieces; piece < vocab; piece++)
        add_piece(f, piece);
    status = fclose(f) == 0 ? synthetic_write(dir, "tokenizer.model", grown, grown_size, err)
                            : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tokenizer");
out:
    free(grown);
    free(bytes);
    return status;
}
