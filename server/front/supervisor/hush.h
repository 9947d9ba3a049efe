/* hush.h - what mpirun says of its ranks, less what the front says itself. */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_HUSH_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_HUSH_H

/* Copies lines until `in` ends or `out` does. It leaves out mpirun's announcements that a rank has ended and
 * that the others end with it, and those of its libraries that a rank cannot be reached any more. Everything
 * else is let through line by line: why a job cannot start, what ranks complain of. `job` is a stream socket,
 * or -1: once its other end has been shut down or closed nothing is let through, since nobody wants the job
 * any more and what its parts miss is only each other. */
void hush_copy(int in, int out, int job);

#endif
