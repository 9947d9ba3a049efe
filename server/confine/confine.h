/* confine.h - takes from a process what its work does not need.
 *
 * It can still read files and load libraries; what else it needs, it says. It can listen to nothing, start no program, look into
 * no other process, and cannot get privileges. What is open stays of use.
 *
 * Builds with a sanitizer leave more: see confine.c.
 */
#ifndef LIMOE_SERVER_CONFINE_CONFINE_H
#define LIMOE_SERVER_CONFINE_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

enum confine_need {
    CONFINE_NETWORK = 1, /* to resolve names, and connect over IPv4 and IPv6 */
    CONFINE_FILES = 2,   /* to make, write, rename and remove files */
};

/* `needs`: a set of these. False if the system does not let it: why[size] says what is missing. Before any other thread is
 * started; there is no way back. */
bool confine(unsigned needs, char *why, size_t size);

#endif
