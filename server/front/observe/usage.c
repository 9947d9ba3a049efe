/* usage.c - reading /proc/PID/stat and statm: a line each, without a lock on the other process. */
#include "server/front/observe/usage.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Reads one short file of a process as a string. */
static bool read_line(pid_t pid, const char *name, char *line, int size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool good = fgets(line, size, file) != NULL;
    fclose(file);
    return good;
}

bool usage_read(pid_t pid, struct process_usage *usage) {
    char line[1024];
    unsigned long long resident, user, system;
    if (!read_line(pid, "statm", line, sizeof line) || sscanf(line, "%*u %llu", &resident) != 1)
        return false;
    if (!read_line(pid, "stat", line, sizeof line))
        return false;
    /* The second field is the program's name in brackets, and may hold brackets and blanks itself. */
    const char *rest = strrchr(line, ')');
    if (!rest ||
        sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return false;
    usage->resident_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    usage->cpu_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

uint64_t usage_open_files(void) {
    uint64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n - 1; /* the directory itself */
}
