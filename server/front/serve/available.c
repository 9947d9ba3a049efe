/* available.c - /proc/meminfo, and the files of each control group from this process's up to the top.
 *
 * A group's use counts the page cache, which the system takes back before it ends anybody: what of it is
 * inactive counts as free, as kubernetes counts it.
 */
#include "server/front/serve/available.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The names of a version's files. */
struct group_files {
    const char *mount, *limit, *used, *inactive;
};
static const struct group_files version_2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                             "inactive_file"};
static const struct group_files version_1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                             "memory.usage_in_bytes", "total_inactive_file"};

/* The number in a file: on the line that begins with `key`, behind it, or, without a key, the first line's.
 * False: there is none, as in "max". */
static bool read_number(const char *path, const char *key, uint64_t *out) {
    char line[256];
    bool found = false;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const size_t skip = key ? strlen(key) : 0;
    while (!found && fgets(line, sizeof line, file)) {
        char *end;
        if (key && (strncmp(line, key, skip) != 0 || !strchr(" :", line[skip])))
            continue;
        const char *digits = line + skip + strspn(line + skip, ": \t");
        *out = strtoull(digits, &end, 10);
        found = end != digits && *digits != '-';
        if (!key)
            break;
    }
    fclose(file);
    return found;
}

static bool read_in(const char *folder, const char *name, const char *key, uint64_t *out) {
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
           read_number(path, key, out);
}

/* What is left of a group's limit; UINT64_MAX: it has none. */
static uint64_t left_in(const char *folder, const struct group_files *files) {
    uint64_t limit, used, inactive = 0;
    if (!read_in(folder, files->limit, NULL, &limit) || !read_in(folder, files->used, NULL, &used))
        return UINT64_MAX;
    read_in(folder, "memory.stat", files->inactive, &inactive);
    used -= inactive < used ? inactive : used;
    return limit > used ? limit - used : 0;
}

/* The least of a group and those above it. */
static void look_up(const char *root, const char *group, const struct group_files *files, uint64_t *least,
                    char where[AVAILABLE_WHERE_SIZE]) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s%s%s", root, files->mount, group) >= (int)sizeof path)
        return;
    const size_t top = strlen(root) + strlen(files->mount);
    for (;;) {
        const uint64_t left = left_in(path, files);
        if (left < *least) {
            *least = left;
            snprintf(where, AVAILABLE_WHERE_SIZE, "the control group %.100s", path[top] ? path + top : "/");
        }
        char *slash = strrchr(path + top, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

/* "0::/path", "9:cpu,memory:/path". */
static void look_up_line(const char *root, char *line, uint64_t *least, char where[AVAILABLE_WHERE_SIZE]) {
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return;
    *group++ = '\0';
    controllers++;
    if (strcmp(group, "/") == 0)
        group = "";
    if (!*controllers)
        look_up(root, group, &version_2, least, where);
    for (char *rest = controllers, *name; (name = strtok_r(rest, ",", &rest));)
        if (strcmp(name, "memory") == 0)
            look_up(root, group, &version_1, least, where);
}

uint64_t available_memory(const char *root, char where[AVAILABLE_WHERE_SIZE]) {
    char path[PATH_MAX], line[PATH_MAX];
    uint64_t least = UINT64_MAX, kilobytes;
    where[0] = '\0';
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (read_number(path, "MemAvailable", &kilobytes)) {
        least = kilobytes * 1024;
        snprintf(where, AVAILABLE_WHERE_SIZE, "this machine");
    }
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        look_up_line(root, line, &least, where);
    if (file)
        fclose(file);
    return least;
}
