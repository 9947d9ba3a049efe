/* test_hooks.c - what a picture that has taken over its decoder would try. */
#include "server/decoder/test_hooks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MARK "LIMOE-TEST"

void decoder_test_hook(const uint8_t *bytes, size_t size) {
    const size_t length = sizeof MARK - 1;
    const char *what = getenv("LIMOE_TEST_DECODER");
    if (!what || size < length || memcmp(bytes + size - length, MARK, length) != 0)
        return;
    int fd = -1;
    if (strcmp(what, "open") == 0)
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    else if (strcmp(what, "socket") == 0)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    else if (strcmp(what, "crash") == 0)
        abort();
    else if (strcmp(what, "hang") == 0)
        for (volatile unsigned turns = 0;; turns++)
            ;
    if (fd >= 0)
        close(fd);
}
