/* heif_references.c - whether a file's pictures refer to each other without end. libheif follows references
 * by recursion: a grid that is its own tile ends the process.
 *
 * A picture's level is above those of the pictures it is made of. Levels are raised edge by edge, all edges
 * once a round; if they have not settled after MOST_LEVELS rounds, they never may. No state, no threads. */
#include "model/image/boxes.h"

#include <stdlib.h>

#define MOST_LEVELS 4
#define ITEMS       65536u /* numbers of 16 bits; larger ones are not used by pictures of a sane size */

struct levels {
    uint8_t of[ITEMS];
    bool changed, strange; /* in this round; a number that is too large */
};

static void raise(struct levels *levels, uint32_t above, uint32_t below) {
    if (above >= ITEMS || below >= ITEMS) {
        levels->strange = true;
    } else if (levels->of[above] <= levels->of[below]) {
        levels->of[above] = (uint8_t)(levels->of[below] + 1);
        levels->changed = true;
    }
}

static bool take_item(struct cursor *cursor, bool wide, uint32_t *item) {
    const uint8_t *bytes = cursor_take(cursor, wide ? 4 : 2);
    *item = bytes ? wide ? be32(bytes) : be16(bytes) : 0;
    return bytes;
}

/* References of one type from one item: "dimg", what it is made of; "auxl", whose alpha it is. */
static void follow(struct box *box, bool wide, struct levels *levels) {
    uint32_t from, to, left;
    const bool derived = box->type == BOX('d', 'i', 'm', 'g'), alpha = box->type == BOX('a', 'u', 'x', 'l');
    if ((!derived && !alpha) || !take_item(&box->inside, wide, &from) ||
        !take_item(&box->inside, false, &left))
        return;
    while (left-- > 0 && take_item(&box->inside, wide, &to))
        raise(levels, derived ? from : to, derived ? to : from);
}

/* All references of all meta boxes, once. */
static void pass(const uint8_t *bytes, size_t size, struct levels *levels) {
    struct cursor file = {bytes, bytes + size};
    struct box meta, references, box;
    while (box_take(&file, &meta)) {
        if (meta.type != BOX('m', 'e', 't', 'a') || !cursor_take(&meta.inside, 4))
            continue;
        while (box_take(&meta.inside, &references)) {
            const uint8_t *version =
                references.type == BOX('i', 'r', 'e', 'f') ? cursor_take(&references.inside, 4) : NULL;
            while (version && box_take(&references.inside, &box))
                follow(&box, *version != 0, levels);
        }
    }
}

bool heif_references_end(const uint8_t *bytes, size_t size) {
    struct levels *levels = calloc(1, sizeof *levels);
    if (!levels)
        return false;
    for (int round = 0; round < MOST_LEVELS && (round == 0 || levels->changed); round++) {
        levels->changed = false;
        pass(bytes, size, levels);
    }
    const bool end = !levels->changed && !levels->strange;
    free(levels);
    return end;
}
