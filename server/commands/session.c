/* session.c - the model and the pictures of a subcommand. One thread. */
#include "server/commands/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A picture larger than this is refused before the rest of it is read. */
#define MAX_IMAGE_BYTES ((size_t)32 << 20)
/* Tokens of one step: enough to fill the matrix multiplications, few enough to keep the workspace small. */
#define STEP_TOKENS 2048u

bool session_open(struct session *session, const struct session_options *shared) {
    char room[PATH_MAX];
    struct limoe_error err;
    const char *dir = model_dir(shared->model, room);
    const struct limoe_image_limits limits = {.max_bytes = MAX_IMAGE_BYTES};
    if (!dir) {
        command_complain("no model: give --model DIR or set LIMOE_MODEL");
        return false;
    }
    if (limoe_processor_open(dir, &limits, &session->processor, &err) != LIMOE_OK ||
        limoe_model_open(dir, &shared->compute, &session->model, &err) != LIMOE_OK) {
        command_complain("%s", err.message);
        return false;
    }
    return true;
}

void session_close(struct session *session) {
    limoe_model_close(session->model);
    limoe_processor_close(session->processor);
    *session = (struct session){0};
}

bool session_classifies(const struct session *session) {
    struct limoe_error missing;
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        if (limoe_accepts(limoe_model_info(session->model), (enum limoe_modality)m, &missing)) {
            command_complain("pictures are scored by texts, and %s", missing.message);
            return false;
        }
    return true;
}

bool session_embed(struct session *session, const struct limoe_item *items, size_t n, float *embeddings) {
    const size_t embed = limoe_model_info(session->model)->embed;
    for (size_t first = 0, end; first < n; first = end) {
        struct limoe_error err;
        uint64_t tokens = items[first].length;
        for (end = first + 1; end < n && tokens + items[end].length <= STEP_TOKENS; end++)
            tokens += items[end].length;
        if (limoe_model_embed(session->model, items + first, end - first, embeddings + first * embed, NULL,
                              &err) != LIMOE_OK) {
            command_complain("%s", err.message);
            return false;
        }
    }
    return true;
}

/* Reads to the end or to one byte past the limit, whichever comes first. NULL: errno says why. */
static uint8_t *read_all(int fd, size_t *size) {
    size_t capacity = 64 * 1024, n = 0;
    uint8_t *bytes = malloc(capacity);
    while (bytes && n <= MAX_IMAGE_BYTES) {
        if (n == capacity) {
            uint8_t *larger = realloc(bytes, capacity *= 2);
            if (!larger)
                break;
            bytes = larger;
        }
        const ssize_t got = read(fd, bytes + n, capacity - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        if (got == 0) {
            *size = n;
            return bytes;
        }
        n += (size_t)got;
    }
    if (bytes && n > MAX_IMAGE_BYTES)
        errno = EFBIG;
    free(bytes);
    return NULL;
}

bool session_read_image(const char *path, struct arena *arena, struct request_item *out) {
    const bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    const int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    uint8_t *bytes = fd >= 0 ? read_all(fd, &size) : NULL;
    if (!bytes && errno == EFBIG)
        command_complain("%s: more than %zu bytes", name, MAX_IMAGE_BYTES);
    else if (!bytes)
        command_complain("%s: %s", name, strerror(errno));
    else if (size == 0)
        command_complain("%s: empty", name);
    if (fd >= 0 && !standard)
        close(fd);

    uint8_t *copy = bytes && size ? arena_alloc(arena, size) : NULL;
    if (bytes && size && !copy)
        command_complain("%s: no memory for %zu bytes", name, size);
    if (copy) {
        memcpy(copy, bytes, size);
        *out = (struct request_item){.modality = LIMOE_IMAGE, .bytes = copy, .size = size, .param = name};
    }
    free(bytes);
    return copy;
}
