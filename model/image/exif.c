/* exif.c - the one EXIF field that changes what a picture shows. Hostile blocks in mind: every offset is
 * checked against the block before it is followed, and nothing is followed twice. No state, no threads. */
#include "model/image/formats.h"

#define ORIENTATION_TAG 0x0112u

/* The first value of a field of integers that lies in its entry; 0 where it is something else. */
static uint32_t integer(const uint8_t *entry, bool big) {
    const uint32_t type = big ? be16(entry + 2) : le16(entry + 2);
    const uint32_t count = big ? be32(entry + 4) : le32(entry + 4);
    if ((type == 3 || type == 8) && (count == 1 || count == 2)) /* SHORT, SSHORT */
        return big ? be16(entry + 8) : le16(entry + 8);
    if ((type == 4 || type == 9) && count == 1) /* LONG, SLONG */
        return big ? be32(entry + 8) : le32(entry + 8);
    return type == 6 && count >= 1 && count <= 4 ? entry[8] : 0; /* SBYTE */
}

unsigned exif_orientation(const uint8_t *bytes, size_t size) {
    for (int i = 0; i < 2 && size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0; i++) { /* some write it twice */
        bytes += 6;
        size -= 6;
    }
    if (size < 8)
        return 1;
    bool big = memcmp(bytes, "MM\0*", 4) == 0;
    if (!big && memcmp(bytes, "II*\0", 4) != 0)
        return 1;
    size_t directory = big ? be32(bytes + 4) : le32(bytes + 4);
    if (directory > size - 2)
        return 1;
    size_t entries = big ? be16(bytes + directory) : le16(bytes + directory);
    size_t first = directory + 2;
    unsigned orientation = 1;
    for (size_t i = 0; i < entries && (i + 1) * 12 <= size - first; i++) {
        const uint8_t *entry = bytes + first + 12 * i;              /* tag 2, type 2, count 4, value 4 */
        if ((big ? be16(entry) : le16(entry)) == ORIENTATION_TAG) { /* the last one counts */
            const uint32_t value = integer(entry, big);
            orientation = value >= 1 && value <= 8 ? value : 1;
        }
    }
    return orientation;
}
