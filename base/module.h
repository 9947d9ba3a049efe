/* module.h - modules: the parts of limoe that need what a machine may not have. Each is a file,
 * limoe-KIND.so, and is loaded when it is asked for, so that one build serves every machine.
 *
 * A module lies in the directory that LIMOE_MODULES names; if that is not set, beside the program, as a build leaves it,
 * else in the library folder of an installation, LIBDIR/limoe, found from the program or from liblimoe.so. It exports one struct,
 * whose first field is a uint32_t: the version of the header that declares it. Once loaded, a module stays
 * until the process ends, for what it leaves behind (handlers, threads) must not lose its code.
 */
#ifndef LIMOE_BASE_MODULE_H
#define LIMOE_BASE_MODULE_H

#include <stdint.h>

#include "limoe.h"

/* *out = the struct `symbol` of limoe-KIND.so. LIMOE_NOT_FOUND: there is no such file. LIMOE_UNSUPPORTED: it
 * does not load, or is of another version. A KIND is 1 to 16 lower-case letters; any other is LIMOE_INVALID.
 */
enum limoe_status module_load(const char *kind, const char *symbol, uint32_t version, const void **out,
                              struct limoe_error *err);

#endif
