/* nearest.h - how many typing errors one name is away from another. No state. */
#ifndef LIMOE_SERVER_FRONT_STORE_NEAREST_H
#define LIMOE_SERVER_FRONT_STORE_NEAREST_H

#include <stddef.h>

#include "base/text.h"

#define NEAREST_LONGEST 128u /* bytes of a name */
#define NEAREST_FAR     4u   /* what is this far or farther is not near */

/* Bytes to insert, delete or replace to make `b` of `a`, or NEAREST_FAR. Takes time with the length only, not
 * with its square. Names longer than NEAREST_LONGEST are far. */
unsigned nearest_distance(struct text a, struct text b);

#endif
