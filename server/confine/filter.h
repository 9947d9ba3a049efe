/* filter.h - how a process shuts itself in: no way to privileges, then a seccomp filter, for good. */
#ifndef LIMOE_SERVER_CONFINE_FILTER_H
#define LIMOE_SERVER_CONFINE_FILTER_H

#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No privileges by programs that it starts, and none of the same user looks in, or traces it. Builds with a sanitizer can be
 * traced. */
void filter_privileges(void);

/* Adds rules to a filter: 0 or a negative errno, as libseccomp has it. */
typedef int filter_fill(scmp_filter_ctx filter, const void *what);

/* The filter that `fill` makes of `what`; a call that no rule is about gets `otherwise`, an SCMP_ACT_…. False if the system does not
 * let it: why[size] says what is missing. */
bool filter_install(uint32_t otherwise, filter_fill *fill, const void *what, char *why, size_t size);

#endif
