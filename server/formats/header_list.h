/* header_list.h - lists of names and values as OpenTelemetry's variables have them (W3C Baggage):
 * "name=value,name=value", blanks around either dropped, a value's bytes perhaps as %XX. No state, any thread. */
#ifndef LIMOE_SERVER_FORMATS_HEADER_LIST_H
#define LIMOE_SERVER_FORMATS_HEADER_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define HEADER_LIST_NAME_SIZE  256
#define HEADER_LIST_VALUE_SIZE 4096

struct header_pair {
    char name[HEADER_LIST_NAME_SIZE], value[HEADER_LIST_VALUE_SIZE];
};

enum header_list_step { HEADER_LIST_END, HEADER_LIST_PAIR, HEADER_LIST_WRONG };

/* The next pair of *list, which is moved behind it. HEADER_LIST_WRONG: what stands there is none: a name is made of
 * letters, digits and "!#$%&'*+-.^_`|~", a value has no control characters. */
enum header_list_step header_list_next(const char **list, struct header_pair *pair);

/* Whether all of it is pairs; "" is. */
bool header_list_check(const char *list);

#endif
