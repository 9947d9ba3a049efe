/* device_name.c - names of devices. No state, no threads. */
#include "base/device_name.h"

#include <stdlib.h>
#include <string.h>

/* Digits as they are usually written: no sign, no zero in front. */
static bool read_index(const char *text, uint32_t *index) {
    const size_t digits = strspn(text, "0123456789");
    if (!digits || digits > 4 || text[digits] || (*text == '0' && digits > 1))
        return false;
    *index = (uint32_t)strtoul(text, NULL, 10);
    return *index <= DEVICE_MOST;
}

bool device_name_parse(const char *device, enum device_kind *kind, uint32_t *index) {
    static const char numbered[] = "cuda:";
    *index = 0;
    if (!device || strcmp(device, "auto") == 0)
        *kind = DEVICE_AUTO;
    else if (strcmp(device, "cpu") == 0)
        *kind = DEVICE_CPU;
    else if (strcmp(device, "cuda") == 0)
        *kind = DEVICE_CUDA;
    else if (strncmp(device, numbered, strlen(numbered)) == 0 && read_index(device + strlen(numbered), index))
        *kind = DEVICE_CUDA;
    else
        return false;
    return true;
}
