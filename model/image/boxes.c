/* boxes.c - one box after the other. No state, no threads. */
#include "model/image/boxes.h"

bool box_take(struct cursor *cursor, struct box *box) {
    const uint8_t *head = cursor_take(cursor, 8);
    if (!head)
        return false;
    uint64_t size = be32(head), used = 8;
    if (size == 1) { /* it follows, of 64 bits */
        const uint8_t *wide = cursor_take(cursor, 8);
        if (!wide)
            return false;
        size = (uint64_t)be32(wide) << 32 | be32(wide + 4);
        used = 16;
    }
    const uint64_t left = cursor_left(cursor), rest = size < used ? left : size - used; /* 0: to the end */
    const size_t length = (size_t)(rest < left ? rest : left);
    box->type = be32(head + 4);
    box->inside = (struct cursor){cursor->at, cursor->at + length};
    cursor->at += length;
    return true;
}
