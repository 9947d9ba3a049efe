/* confine.h - takes from a process what fetching does not need.
 *
 * It can still resolve names, which reads files and loads libraries, and connect to the network over IPv4 and IPv6. It can
 * write and make no file, listen to nothing, start no program, look into no other process, and cannot get privileges.
 *
 * Builds with a sanitizer leave more: see confine.c.
 */
#ifndef LIMOE_SERVER_FETCHER_CONFINE_H
#define LIMOE_SERVER_FETCHER_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

/* False if the system does not let it: why[size] says what is missing. Before any other thread is started; there is no
 * way back. */
bool confine(char *why, size_t size);

#endif
