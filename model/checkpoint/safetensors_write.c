/* safetensors_write.c - a header that safetensors_header.c would read. No state; the descriptor is the caller's. */
#include "model/checkpoint/safetensors_write.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/checkpoint/safetensors_header.h"

/* Offsets are counted from the start of the data. */
static void print_entry(struct buffer *to, const struct safetensors_entry *e, uint64_t at) {
    buffer_json_string(to, e->name);
    buffer_print(to, ":{\"dtype\":\"%s\",\"shape\":[", e->dtype);
    for (uint32_t i = 0; i < e->rank; i++)
        buffer_print(to, "%s%llu", i ? "," : "", (unsigned long long)e->shape[i]);
    const uint64_t end = at + e->bytes;
    buffer_print(to, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at, (unsigned long long)end);
}

enum limoe_status safetensors_write_at(int fd, const char *path, uint64_t offset, const void *bytes,
                                       size_t size, struct limoe_error *err) {
    for (size_t done = 0; done < size;) {
        const ssize_t n = pwrite(fd, (const char *)bytes + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return limoe_fail(err, LIMOE_IO, "cannot write %.400s: %s", path,
                              strerrordesc_np(n < 0 ? errno : ENOSPC));
        done += (size_t)n;
    }
    return LIMOE_OK;
}

static void print_metadata(struct buffer *to, const char *key, const char *text) {
    buffer_string(to, "{\"__metadata__\":{\"format\":\"pt\"");
    if (key) {
        buffer_string(to, ",");
        buffer_json_string(to, key);
        buffer_string(to, ":");
        buffer_json_string(to, text);
    }
    buffer_string(to, "}");
}

enum limoe_status safetensors_write_header(int fd, const char *path, const char *key, const char *text,
                                           struct safetensors_entry *entry, size_t n,
                                           struct limoe_error *err) {
    struct buffer header = {0};
    uint64_t at = 0;
    print_metadata(&header, key, text);
    for (size_t i = 0; i < n; at += entry[i++].bytes) {
        buffer_string(&header, ",");
        print_entry(&header, &entry[i], at);
    }
    buffer_string(&header, "}");
    while (header.size % 8 != 0 && !header.failed)
        buffer_string(&header, " ");
    uint8_t prefix[SAFETENSORS_PREFIX];
    for (size_t i = 0; i < sizeof prefix; i++)
        prefix[i] = (uint8_t)((uint64_t)header.size >> (8 * i));
    enum limoe_status status = LIMOE_OK;
    if (header.failed)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the header of %.400s", path);
    if (!status)
        status = safetensors_write_at(fd, path, 0, prefix, sizeof prefix, err);
    if (!status)
        status = safetensors_write_at(fd, path, sizeof prefix, header.data, header.size, err);
    at = sizeof prefix + header.size;
    for (size_t i = 0; i < n; at += entry[i++].bytes)
        entry[i].offset = at;
    buffer_free(&header);
    return status;
}
