/* fetcher.h - `limoe fetcher`: a process that fetches pictures by their URLs, for the front. */
#ifndef LIMOE_SERVER_FETCHER_FETCHER_H
#define LIMOE_SERVER_FETCHER_FETCHER_H

/* Fetches until the front lets go of the socket. Returns the exit status. */
int fetcher_main(int argc, char **argv);

#endif
