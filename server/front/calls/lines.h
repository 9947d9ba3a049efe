/* lines.h - a body that comes in parts → its lines.
 *
 * A line ends with a newline or with the body. Lines of spaces, tabs and carriage returns alone are skipped. A
 * line that is too long, or that there is no room for, is told of once, where it ends; the rest of it is dropped
 * as it comes. One thread.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_LINES_H
#define LIMOE_SERVER_FRONT_CALLS_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

enum lines_found {
    LINES_NONE,     /* no line is complete */
    LINES_LINE,     /* one is: `line`, without its newline, is the caller's to take */
    LINES_TOO_LONG, /* it had more than `most` bytes */
    LINES_NO_ROOM,  /* `hold` refused what it took */
};

struct lines {
    size_t most; /* bytes of a line, at least 1 */
    /* Asked before the line's buffer grows by so many bytes, and told when it is dropped. */
    bool (*hold)(void *arg, size_t bytes);
    void (*let_go)(void *arg, size_t bytes);
    void *arg;

    struct buffer line;     /* as far as it has come */
    enum lines_found fault; /* what is to be told of it where it ends; LINES_NONE: it is good so far */
};

/* Reads on from *at, which it moves: to behind the newline of a line that it tells of, else to `end`. */
enum lines_found lines_read(struct lines *lines, const char **at, const char *end);
/* Whether there is something of a line that has not ended. */
bool lines_pending(const struct lines *lines);
/* Tells of a last line without a newline. */
enum lines_found lines_end(struct lines *lines);
/* Hands over the line's bytes; what was held for them is the caller's to let go. */
struct buffer lines_take(struct lines *lines);
void lines_free(struct lines *lines); /* also lets go */

#endif
