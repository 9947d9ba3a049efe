/* fuzz_archive.c - a zip file from anyone: refused with a message, or entries in order, within the limits, that unpack to what
 * they say or fail. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/formats/archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int sound) {
    if (!sound)
        __builtin_trap();
}

static void check_entry(struct archive *archive, size_t i, const struct archive_limits *limits) {
    const struct archive_entry *entry = archive_at(archive, i);
    struct limoe_error err = {0};
    require(entry->bytes <= limits->entry_bytes && entry->name[0] && entry->name[0] != '/');
    require(!strstr(entry->name, "/../") && strncmp(entry->name, "../", 3) != 0);
    require(i == 0 || strcmp(archive_at(archive, i - 1)->name, entry->name) < 0);
    void *bytes = malloc((size_t)entry->bytes + 1);
    require(bytes != NULL);
    const enum limoe_status status = archive_read(archive, i, bytes, &err);
    require(status == LIMOE_OK || (status == LIMOE_CORRUPT && err.message[0]));
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct archive_limits limits = {
        .entries = 50, .entry_bytes = 1 << 20, .total_bytes = 2 << 20};
    struct archive *archive = NULL;
    struct limoe_error err = {0};
    const enum limoe_status status = archive_open(data, size, &limits, &archive, &err);
    if (status != LIMOE_OK) {
        require(!archive && err.status == status && strncmp(err.message, "the archive", 11) == 0);
        return 0;
    }
    require(archive_count(archive) <= limits.entries);
    for (size_t i = 0; i < archive_count(archive); i++)
        check_entry(archive, i, &limits);
    archive_close(archive);
    return 0;
}
