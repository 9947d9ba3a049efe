/* join.h - how a rank that mpirun has started comes to the front: an address, and a token that it must show.
 *
 * An address is "unix:PATH" or "tcp:HOST:PORT", a HOST with colons in brackets.
 */
#ifndef LIMOE_SERVER_PROTOCOL_JOIN_H
#define LIMOE_SERVER_PROTOCOL_JOIN_H

#include <stdbool.h>

#include "limoe.h"

struct addrinfo;

#define JOIN_TOKEN "LIMOE_RANK_TOKEN" /* the environment variable that a rank finds the token in */

/* Connects to the front and shows the token, which leaves the environment. The blocking socket, or -1. */
int join_front(const char *address, struct limoe_error *err);

/* "HOST", "HOST:PORT" or "[HOST]:PORT": the port is "0" where there is none. False: it is none of these. */
bool join_split_host(const char *text, char host[256], char port[8]);
/* The same, for getaddrinfo's `flags`; *out is for freeaddrinfo. */
enum limoe_status join_resolve(const char *text, int flags, struct addrinfo **out, struct limoe_error *err);
/* A connection to another host may end without a word: the system is to ask now and then. */
void join_keep_alive(int fd);

#endif
