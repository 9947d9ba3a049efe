/* config_file.h - configuration files.
 *
 *   # a comment
 *   queue-items = 4096          # another
 *   model = "/srv/models/a # b" # in quotes, \" and \\ stand for " and \
 *
 * One option a line. A value without quotes ends before white space and "#", or with the line. At most
 * CONFIG_FILE_MOST bytes; no NUL or other control characters but tabs and line ends.
 */
#ifndef LIMOE_SERVER_OPTIONS_CONFIG_FILE_H
#define LIMOE_SERVER_OPTIONS_CONFIG_FILE_H

#include "server/options/options.h"

#define CONFIG_FILE_MOST ((size_t)64 << 10)

/* Sets the options to what the file options->file says. */
enum limoe_status config_file_read(struct options *options, struct limoe_error *err);

/* The same for its text, which may come from anyone. Strings are copied to the arena. */
enum limoe_status config_file_parse(struct options *options, const char *text, size_t size,
                                    struct limoe_error *err);

#endif
