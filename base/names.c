/* names.c - the names that limoe.h gives out: the program's version, number formats. No state, no threads. */
#include "limoe.h"

const char *limoe_version(void) {
    return "limoe " LIMOE_VERSION;
}

const char *limoe_dtype_name(enum limoe_dtype dtype) {
    switch (dtype) {
    case LIMOE_DTYPE_AUTO:
        return "auto";
    case LIMOE_FLOAT32:
        return "float32";
    case LIMOE_BFLOAT16:
        return "bfloat16";
    case LIMOE_INT8:
        return "int8";
    }
    return "unknown";
}

const char *limoe_shares_name(enum limoe_shares shares) {
    switch (shares) {
    case LIMOE_SHARES_NONE:
        return "none";
    case LIMOE_SHARES_MEAN:
        return "mean";
    case LIMOE_SHARES_CLASS_TOKEN:
        return "class_token";
    case LIMOE_SHARES_ATTENTION:
        return "attention";
    }
    return "unknown";
}
