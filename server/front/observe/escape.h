/* escape.h - text from outside in a log line, so that it can neither end the line, nor pass for another
 * field, nor steer the terminal that shows it.
 *
 * Escaped are control characters (C0, DEL, C1), what changes the order or place of others on the screen or is
 * not seen at all (marks of direction, joiners, fillers, tags, blanks that are not U+0020), what ends lines
 * (U+2028, U+2029), and bytes that are no UTF-8. No state, any thread.
 */
#ifndef LIMOE_SERVER_FRONT_OBSERVE_ESCAPE_H
#define LIMOE_SERVER_FRONT_OBSERVE_ESCAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

/* A value of a text line: as it is, or in quotes where it is empty or holds a blank, =, " or anything
 * escaped: \xNN a control character or a byte that is no UTF-8, \uNNNN and \UNNNNNNNN a character, \" and \\.
 */
void escape_value(struct buffer *out, const char *value);
/* The text of a line, which may hold blanks: in quotes only where it holds =, begins with " or is empty. */
void escape_message(struct buffer *out, const char *message);
/* "value" for JSON; bytes that are no UTF-8 are U+FFFD. */
void escape_json(struct buffer *out, const char *value);

#endif
