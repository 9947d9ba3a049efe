/* hosts.c - a file of hosts, read line by line. No state. */
#include "server/front/supervisor/hosts.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

enum { MOST_SLOTS = 1024 };

/* An address that can be bound is this host's. A name that only the agent knows has none. */
static bool is_here(const char *host) {
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    bool here = false;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    for (const struct addrinfo *at = found; at && !here; at = at->ai_next) {
        const int fd = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        here = fd >= 0 && bind(fd, at->ai_addr, at->ai_addrlen) == 0;
        if (fd >= 0)
            close(fd);
    }
    freeaddrinfo(found);
    return here;
}

static void set_place(struct place *place, const char *host, uint32_t gpu) {
    *place = (struct place){.host = ""};
    snprintf(place->host, sizeof place->host, "%s", host);
    snprintf(place->device, sizeof place->device, "cuda:%u", gpu);
    snprintf(place->name, sizeof place->name, "%s, %s", *host ? host : "this host", place->device);
}

/* 1 without a word about it, 0 if it cannot be. */
static uint32_t slots_of(const char *word) {
    char *end;
    if (!word)
        return 1;
    if (strncmp(word, "slots=", 6) != 0 || word[6] < '0' || word[6] > '9')
        return 0;
    const unsigned long slots = strtoul(word + 6, &end, 10);
    return *end || slots > MOST_SLOTS ? 0 : (uint32_t)slots;
}

/* What has been read so far. */
struct reading {
    const char *path;
    struct place *places;
    uint32_t ranks, placed;
    unsigned line;
};

static enum limoe_status read_line(struct reading *reading, char *line, struct limoe_error *err) {
    char *rest = NULL;
    line[strcspn(line, "#\r\n")] = '\0';
    const char *host = strtok_r(line, " \t", &rest), *word = strtok_r(NULL, " \t", &rest);
    if (!host)
        return LIMOE_OK;
    const char *more = strtok_r(NULL, " \t", &rest);
    const uint32_t slots = slots_of(word);
    if (*host == '-' || strlen(host) >= HOSTS_NAME_SIZE || more || slots == 0)
        return limoe_fail(
            err, LIMOE_INVALID,
            "%s, line %u: \"%.60s%s%.40s\"; accepted: HOST, or HOST slots=N with N from 1 to %d",
            reading->path, reading->line, host, word ? " " : "",
            more   ? more
            : word ? word
                   : "",
            MOST_SLOTS);
    const char *name = is_here(host) ? "" : host;
    for (uint32_t gpu = 0; gpu < slots && reading->placed < reading->ranks; gpu++)
        set_place(&reading->places[reading->placed++], name, gpu);
    return LIMOE_OK;
}

static enum limoe_status read_file(struct reading *reading, FILE *file, struct limoe_error *err) {
    char *line = NULL;
    size_t room = 0;
    enum limoe_status status = LIMOE_OK;
    while (!status && getline(&line, &room, file) >= 0) {
        reading->line++;
        status = read_line(reading, line, err);
    }
    if (!status && ferror(file))
        status = limoe_fail(err, LIMOE_IO, "cannot read %s: %s", reading->path, strerror(errno));
    free(line);
    if (!status && reading->placed < reading->ranks)
        status =
            limoe_fail(err, LIMOE_INVALID, "%s has %u slots, and ranks is %u; accepted: as many, or more",
                       reading->path, reading->placed, reading->ranks);
    return status;
}

enum limoe_status hosts_place(const char *path, uint32_t ranks, struct place *places,
                              struct limoe_error *err) {
    struct reading reading = {.path = path, .places = places, .ranks = ranks};
    for (uint32_t r = 0; !path && r < ranks; r++)
        set_place(&places[r], "", r);
    if (!path)
        return LIMOE_OK;
    FILE *file = fopen(path, "re");
    if (!file)
        return limoe_fail(err, errno == ENOENT ? LIMOE_NOT_FOUND : LIMOE_IO, "cannot open %s: %s", path,
                          strerror(errno));
    enum limoe_status status = read_file(&reading, file, err);
    fclose(file);
    return status;
}
