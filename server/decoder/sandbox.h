/* sandbox.h - takes from a process all that turning bytes into pixels does not need.
 *
 * The process can still read and write the descriptor that it was given, write to standard error, have memory
 * up to a limit, and end. It has no files, no network, no other processes and no executable memory, and
 * cannot get privileges. A system call outside the list ends it with SIGSYS.
 *
 * Builds with a sanitizer leave more: see sandbox.c.
 */
#ifndef LIMOE_SERVER_DECODER_SANDBOX_H
#define LIMOE_SERVER_DECODER_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* fd is the descriptor that stays usable; memory, the bytes that may be allocated besides what is mapped now.
 * False if the system does not let the filter be installed or something be limited: why[size] says what is
 * missing, and all else is in force nevertheless. For a process of one thread; there is no way back. */
bool sandbox_enter(int fd, uint64_t memory, char *why, size_t size);

#endif
