/* value.h - one option's value: text → field, field → text. */
#ifndef LIMOE_SERVER_OPTIONS_VALUE_H
#define LIMOE_SERVER_OPTIONS_VALUE_H

#include "server/options/options.h"

/* Room for the name of an option in a message, with where it stands. */
#define OPTION_LABEL_SIZE 256

/* "queue-items" → "LIMOE_QUEUE_ITEMS". */
const char *option_variable(const struct option_row *option, char room[OPTION_LABEL_SIZE]);

/* True when the environment and a file may set it. */
bool option_configurable(const struct option_row *option);
/* True when it takes a value on the command line. */
bool option_takes_value(const struct option_row *option);

/* Appends what option_set accepts, as messages say it. */
void option_accepted(const struct option_row *option, struct buffer *out);

/* Checks `value` and writes it to the option's field; not for OPTION_LIST. */
enum limoe_status option_set(struct options *options, const struct option_row *option,
                             struct option_origin origin, const char *value, struct limoe_error *err);

/* Appends the field's value as a file writes it, strings in quotes where `quoted`. False, and nothing, where
 * the field is NULL, or 0 below the option's range: not set. */
bool option_show(const struct option_row *option, const void *target, bool quoted, struct buffer *out);

#endif
