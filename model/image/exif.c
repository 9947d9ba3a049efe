/* exif.c - the one EXIF field that changes what a picture shows. Hostile blocks in mind: every offset is
 * checked against the block before it is followed, and nothing is followed twice. No state, no threads. */
#include "formats.h"

#define ORIENTATION_TAG 0x0112u
#define TYPE_SHORT      3u
#define TYPE_LONG       4u

unsigned exif_orientation(const uint8_t *bytes, size_t size) {
    if (size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        size -= 6;
    }
    if (size < 8) {
        return 1;
    }
    bool big = memcmp(bytes, "MM\0*", 4) == 0;
    if (!big && memcmp(bytes, "II*\0", 4) != 0) {
        return 1;
    }
    size_t directory = big ? be32(bytes + 4) : le32(bytes + 4);
    if (directory > size - 2) {
        return 1;
    }
    size_t entries = big ? be16(bytes + directory) : le16(bytes + directory);
    size_t first = directory + 2;
    for (size_t i = 0; i < entries && (i + 1) * 12 <= size - first; i++) {
        const uint8_t *entry = bytes + first + 12 * i; /* tag 2, type 2, count 4, value 4 */
        uint32_t tag = big ? be16(entry) : le16(entry);
        uint32_t type = big ? be16(entry + 2) : le16(entry + 2);
        uint32_t count = big ? be32(entry + 4) : le32(entry + 4);
        if (tag != ORIENTATION_TAG || count != 1) {
            continue;
        }
        uint32_t value = 0;
        if (type == TYPE_SHORT) {
            value = big ? be16(entry + 8) : le16(entry + 8);
        } else if (type == TYPE_LONG) {
            value = big ? be32(entry + 8) : le32(entry + 8);
        }
        return value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}
