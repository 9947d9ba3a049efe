/* device_name.h - the names of the devices that a model can be computed on. */
#ifndef LIMOE_BASE_DEVICE_NAME_H
#define LIMOE_BASE_DEVICE_NAME_H

#include <stdbool.h>
#include <stdint.h>

#define DEVICE_ACCEPTED "auto, cpu, cuda, cuda:N"
#define DEVICE_MOST     1023u /* the largest N */

enum device_kind { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA };

/* NULL is "auto", "cuda" is "cuda:0". False if it is none of those that are accepted. */
bool device_name_parse(const char *device, enum device_kind *kind, uint32_t *index);

#endif
