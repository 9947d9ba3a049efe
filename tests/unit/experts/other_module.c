/* other_module.c - a module whose version is none that there has been. */
#include "experts/exchange.h"

extern const struct exchange_module limoe_exchange_module;
const struct exchange_module limoe_exchange_module = {.version = UINT32_MAX};
