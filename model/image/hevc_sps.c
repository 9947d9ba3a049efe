/* hevc_sps.c - the size that an HEVC stream announces, read before the decoder allocates for it
 * (H.265, 7.3.2.2). No state, no threads. */
#include "model/image/heif.h"

/* A cursor over bits; 3 after two zero bytes is passed, as the standard puts it in. Past the end there are
 * zeros. */
struct bits {
    const uint8_t *bytes;
    size_t size, at;     /* bytes; the next byte */
    uint32_t zeros;      /* zero bytes just before it */
    uint32_t held, left; /* bits of the byte in hand */
    bool ended;
};

static uint32_t next_bit(struct bits *bits) {
    if (bits->left == 0) {
        if (bits->zeros >= 2 && bits->at < bits->size && bits->bytes[bits->at] == 3) {
            bits->at++;
            bits->zeros = 0;
        }
        bits->ended = bits->ended || bits->at >= bits->size;
        bits->held = bits->ended ? 0 : bits->bytes[bits->at++];
        bits->zeros = bits->held == 0 ? bits->zeros + 1 : 0;
        bits->left = 8;
    }
    return bits->held >> --bits->left & 1;
}

static uint32_t next_bits(struct bits *bits, int n) {
    uint32_t value = 0;
    for (int i = 0; i < n; i++)
        value = value << 1 | next_bit(bits);
    return value;
}

static void skip_bits(struct bits *bits, int n) {
    for (int i = 0; i < n && !bits->ended; i++)
        next_bit(bits);
}

/* Exp-Golomb: as many zeros as bits follow the one. */
static uint64_t next_number(struct bits *bits) {
    int n = 0;
    while (n < 32 && !bits->ended && next_bit(bits) == 0)
        n++;
    return ((uint64_t)1 << n) - 1 + next_bits(bits, n);
}

/* profile_tier_level: 88 bits of the profile and 8 of the level, then those that sub-layers have. */
static void skip_profile(struct bits *bits, uint32_t sub_layers) {
    uint32_t profiles = 0, levels = 0;
    skip_bits(bits, 96);
    for (uint32_t i = 0; i < sub_layers; i++) {
        profiles += next_bit(bits);
        levels += next_bit(bits);
    }
    skip_bits(bits, sub_layers > 0 ? (int)(2 * (8 - sub_layers)) : 0);
    skip_bits(bits, (int)(88 * profiles + 8 * levels));
}

bool hevc_sps_size(const uint8_t *nal, size_t size, uint64_t *width, uint64_t *height) {
    struct bits bits = {.bytes = nal, .size = size, .at = 2};
    skip_bits(&bits, 4); /* the video parameter set's number */
    const uint32_t sub_layers = next_bits(&bits, 3);
    skip_bits(&bits, 1);
    skip_profile(&bits, sub_layers);
    next_number(&bits);          /* its own number */
    if (next_number(&bits) == 3) /* chroma 4:4:4, perhaps in planes apart */
        skip_bits(&bits, 1);
    *width = next_number(&bits);
    *height = next_number(&bits);
    return !bits.ended;
}
