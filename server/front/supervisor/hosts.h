/* hosts.h - which host and GPU each rank of a group has, by mpirun's kind of file of hosts.
 *
 * A line a host: HOST, or HOST slots=N for N ranks, each on a GPU of its own, from the host's cuda:0 on. What follows a # is
 * a remark. Ranks fill the hosts in the order of the file.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_HOSTS_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"

enum { HOSTS_NAME_SIZE = 256 };

/* Where a rank runs. */
struct place {
    char host[HOSTS_NAME_SIZE];      /* "": the front's own */
    char device[16];                 /* there: "cuda:N" */
    char name[HOSTS_NAME_SIZE + 24]; /* for messages: "HOST, cuda:N" */
};

/* Fills places[ranks]. path NULL: all on the front's own host. A host is the front's own if one of its addresses is.
 * LIMOE_NOT_FOUND, LIMOE_IO: the file; LIMOE_INVALID: a line of it, or too few slots. */
enum limoe_status hosts_place(const char *path, uint32_t ranks, struct place *places,
                              struct limoe_error *err);

#endif
