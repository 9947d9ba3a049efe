/* join.h - how a rank that the front has not started itself comes to it: an address, and a token that it must
 * show.
 *
 * An address is "unix:PATH" or "tcp:HOST:PORT", a HOST with colons in brackets.
 */
#ifndef LIMOE_SERVER_PROTOCOL_JOIN_H
#define LIMOE_SERVER_PROTOCOL_JOIN_H

#include <stdbool.h>

#include "limoe.h"
#include "server/protocol/frame.h"

struct addrinfo;

#define JOIN_TOKEN "LIMOE_RANK_TOKEN" /* the environment variable that a rank finds the token in */

/* Connects to the front, shows the token and says who comes. The token is taken out of the environment, or, if
 * it is not there, from standard input, which a session with another host carries. join->token is set. Returns
 * a blocking socket, or -1. */
int join_front(const char *address, struct frame_join *join, struct limoe_error *err);

/* Splits "HOST", "HOST:PORT" or "[HOST]:PORT"; a port that is not there is "0". False if it is none of
 * these. */
bool join_split_host(const char *text, char host[256], char port[8]);
/* The same, for getaddrinfo's `flags`; *out is for freeaddrinfo. */
enum limoe_status join_resolve(const char *text, int flags, struct addrinfo **out, struct limoe_error *err);
/* Lets the system ask now and then whether the other host is there: its end may not be told otherwise. It is
 * taken for gone after `silent` seconds without a sign of life, a fifth more at most. */
enum { JOIN_SILENT = 25 };
void join_keep_alive(int fd, unsigned silent);

#endif
