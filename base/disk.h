/* disk.h - bytes that are to stay: written whole, and named for good. No state. */
#ifndef LIMOE_BASE_DISK_H
#define LIMOE_BASE_DISK_H

#include <stdbool.h>
#include <stddef.h>

/* Writes bytes[size]. False: errno says why. */
bool disk_write(int fd, const void *bytes, size_t size);
/* After a rename or an unlink: has the folder itself written. False: errno says why. */
bool disk_flush_folder(const char *path);

#endif
