#include "tests/unit/model/text/piece_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wire_varint(struct bytes *b, uint64_t value) {
    do {
        uint8_t byte = (uint8_t)(value & 0x7F);
        value >>= 7;
        byte |= value ? 0x80 : 0;
        bytes_add(b, &byte, 1);
    } while (value);
}

void wire_number(struct bytes *b, unsigned field, uint64_t value) {
    wire_varint(b, field << 3);
    wire_varint(b, value);
}

void wire_float(struct bytes *b, unsigned field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    wire_varint(b, field << 3 | 5);
    bytes_add_u32(b, bits);
}

void wire_bytes(struct bytes *b, unsigned field, const void *data, size_t size) {
    wire_varint(b, field << 3 | 2);
    wire_varint(b, size);
    bytes_add(b, data, size);
}

void add_piece(struct bytes *model, const char *piece, float score, enum piece_kind kind) {
    struct bytes b = {0};
    static const unsigned wire_kind[] = {[PIECE_NORMAL] = 1,       [PIECE_UNKNOWN] = 2, [PIECE_CONTROL] = 3,
                                         [PIECE_USER_DEFINED] = 4, [PIECE_UNUSED] = 5,  [PIECE_BYTE] = 6};
    wire_bytes(&b, 1, piece, strlen(piece));
    wire_float(&b, 2, score);
    wire_number(&b, 3, wire_kind[kind]);
    wire_bytes(model, 1, b.at, b.size);
    free(b.at);
}

void add_trainer_spec(struct bytes *model, unsigned type) {
    struct bytes b = {0};
    wire_number(&b, 3, type);
    wire_bytes(model, 2, b.at, b.size);
    free(b.at);
}

void add_normalizer_spec(struct bytes *model, const struct bytes *charsmap) {
    struct bytes b = {0};
    wire_bytes(&b, 1, "test", 4);
    if (charsmap->size > 0)
        wire_bytes(&b, 2, charsmap->at, charsmap->size);
    wire_bytes(model, 3, b.at, b.size);
    free(b.at);
}

/* Rule k is unit base(k - 1) ^ 'A'; its own base is block k of 256 units, where its leaf lies at label 0. */
struct bytes chain_charsmap(unsigned chain, const char *replacement, size_t size, bool loop) {
    uint32_t n = 256 * (chain + 2), *unit = calloc(n, sizeof *unit);
    size_t base = 256;
    unit[0] = 256u << 10;
    for (uint32_t k = 1; k <= chain; k++) {
        size_t at = base ^ 'A', next = 256 * (k + 1u);
        bool last = loop && k == chain;
        unit[at] = 'A' | 1u << 8 | (uint32_t)(at ^ (last ? base : next)) << 10;
        base = last ? base : next;
        unit[base] = 1u << 31; /* the replacement at 0 */
    }
    struct bytes map = {0};
    bytes_add_u32(&map, 4 * n);
    for (uint32_t i = 0; i < n; i++)
        bytes_add_u32(&map, unit[i]);
    bytes_add(&map, replacement, size);
    bytes_add(&map, "", 1);
    free(unit);
    return map;
}

struct bytes tiny_model(void) {
    struct bytes model = {0}, map = chain_charsmap(1, "a", 1, false);
    add_piece(&model, "<unk>", 0, PIECE_UNKNOWN);
    add_piece(&model, "<s>", 0, PIECE_CONTROL);
    add_piece(&model, "</s>", 0, PIECE_CONTROL);
    add_piece(&model, "\xE2\x96\x81", -3, PIECE_NORMAL);
    add_piece(&model,
              "\xE2\x96\x81"
              "cat",
              -4, PIECE_NORMAL);
    add_piece(&model,
              "\xE2\x96\x81"
              "dog",
              -4, PIECE_NORMAL);
    for (char c = 'a'; c <= 'z'; c++)
        add_piece(&model, (char[]){c, 0}, -5, PIECE_NORMAL);
    static const char *const rest[] = {"\xE7\x8A\xAC", "\xE7\x8C\xAB", "\xC3\xA9", "ss",
                                       "ing",          "er",           "un",       "x1"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        add_piece(&model, rest[i], -6, PIECE_NORMAL);
    add_trainer_spec(&model, 1);
    add_normalizer_spec(&model, &map);
    free(map.at);
    return model;
}

uint32_t count_pieces(const uint8_t *model, size_t size) {
    uint32_t pieces = 0;
    size_t at = 0;
    while (at < size) { /* fields 1 to 5 are all messages: a byte of field and type, a length */
        size_t length = 0;
        pieces += model[at++] == (1 << 3 | 2);
        for (unsigned shift = 0; at < size; shift += 7) {
            length |= (size_t)(model[at] & 0x7F) << shift;
            if (!(model[at++] & 0x80))
                break;
        }
        at += length;
    }
    return pieces;
}
