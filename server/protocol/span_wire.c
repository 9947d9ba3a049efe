/* span_wire.c - records packed and unpacked, settings sent. No state, any thread. */
#include "server/protocol/span_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(SPAN_RECORD_MOST <= PIPE_BUF, "a record is written whole or not at all");

size_t span_count(const struct span_record *record) {
    size_t n = 1;
    for (int i = 0; i < SPAN_PARTS; i++)
        n += record->part[i].began != 0;
    return n;
}

size_t span_pack(struct span_record *record, const char *const texts[SPAN_TEXTS],
                 char out[SPAN_RECORD_MOST]) {
    size_t size = sizeof *record;
    for (int i = 0; i < SPAN_TEXTS; i++) {
        const size_t length = texts[i] ? strnlen(texts[i], SPAN_TEXT_MOST) : 0;
        record->length[i] = (uint16_t)length;
        if (length)
            memcpy(out + size, texts[i], length);
        size += length;
    }
    while (size % 8)
        out[size++] = '\0';
    record->size = (uint32_t)size;
    memcpy(out, record, sizeof *record);
    return size;
}

size_t span_unpack(const char *bytes, size_t size, struct span_record *record,
                   const char *texts[SPAN_TEXTS]) {
    if (size < sizeof *record)
        return 0;
    memcpy(record, bytes, sizeof *record);
    size_t needed = sizeof *record;
    for (int i = 0; i < SPAN_TEXTS; i++) {
        texts[i] = bytes + needed;
        needed += record->length[i];
    }
    const bool ended = !record->trace_id[sizeof record->trace_id - 1] &&
                       !record->span_id[sizeof record->span_id - 1] &&
                       !record->parent_id[sizeof record->parent_id - 1];
    if (!ended || record->size < needed || record->size >= needed + 8)
        return SIZE_MAX;
    return record->size <= size ? record->size : 0;
}

bool span_send_settings(int fd, const struct span_settings *settings, int pipe) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)settings, sizeof *settings};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof pipe);
    memcpy(CMSG_DATA(head), &pipe, sizeof pipe);
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *settings;
}

bool span_receive_settings(int fd, struct span_settings *settings, int *pipe) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {settings, sizeof *settings};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(fd, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof *pipe))
        return false;
    memcpy(pipe, CMSG_DATA(head), sizeof *pipe);
    while (size < (ssize_t)sizeof *settings) { /* what follows a descriptor may come apart from it */
        const ssize_t more = read(fd, (char *)settings + size, sizeof *settings - (size_t)size);
        if (more == 0 || (more < 0 && errno != EINTR))
            return false;
        size += more > 0 ? more : 0;
    }
    return true;
}
