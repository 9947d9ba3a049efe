/* peft_zip.h - a zip file that holds a LoRA as PEFT saves one: adapter_config.json, and adapter_model.safetensors beside it. */
#ifndef LIMOE_SERVER_FRONT_STORE_PEFT_ZIP_H
#define LIMOE_SERVER_FRONT_STORE_PEFT_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* Unpacks the two to the folder at `path`, which is made. They may stand at the top of the archive or in a folder of it; other
 * files are left out. All files of the archive may have most_bytes together. LIMOE_CORRUPT, LIMOE_TOO_LARGE, LIMOE_UNSUPPORTED:
 * what is wrong with the archive. LIMOE_IO: the disk's failure; *full: for want of room. What has failed leaves nothing. */
enum limoe_status peft_zip_unpack(const void *bytes, size_t size, uint64_t most_bytes, const char *path,
                                  bool *full, struct limoe_error *err);
/* Removes such a folder, whole or not. */
void peft_zip_remove(const char *path);

#endif
