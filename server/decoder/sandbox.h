/* sandbox.h - takes from a process all that turning bytes into pixels does not need.
 *
 * What is left: to read and write the descriptor it was given, to write to standard error, to have memory up
 * to a limit, and to end. No files, no network, no other processes, no executable memory; no privileges to be
 * had. A system call outside this list ends the process with SIGSYS.
 *
 * Builds with a sanitizer leave more: see sandbox.c.
 */
#ifndef LIMOE_SERVER_DECODER_SANDBOX_H
#define LIMOE_SERVER_DECODER_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* fd: the descriptor that stays usable. memory: bytes that may be allocated besides what is mapped now.
 * False: the system does not let the filter be installed, or something be limited; why[size] says what it
 * lacks, and all else is in force nevertheless. For a process of one thread; there is no way back. */
bool sandbox_enter(int fd, uint64_t memory, char *why, size_t size);

#endif
