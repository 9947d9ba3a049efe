/* folder.h - a folder of examples: a folder in it for each class, with the files of pictures in them. Names beginning with a
 * dot, and files whose names do not end as pictures' do, are left out. Or examples that are no files, listed alike. */
#ifndef LIMOE_MODEL_TUNING_FOLDER_H
#define LIMOE_MODEL_TUNING_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "limoe_tune.h"

#define FOLDER_MAX_FILES (1u << 20)

struct folder_file {
    char *path;
    uint32_t class;
};

/* Classes by their names' bytes, files by class and name: the order depends on neither file system nor locale. */
struct folder {
    char **class; /* [classes]: the folders' names */
    uint32_t classes;
    struct folder_file *file; /* [files] */
    size_t files;
    size_t class_room, file_room;
};

/* LIMOE_INVALID: fewer than two classes, or more than LIMOE_TUNE_MAX_CLASSES, or one without pictures, which is named.
 * On failure *out is empty. */
enum limoe_status folder_read(const char *dir, struct folder *out, struct limoe_error *err);
/* The same of examples, whose names stand for paths. LIMOE_INVALID: fewer than two classes with examples, or more than
 * LIMOE_TUNE_MAX_CLASSES. */
enum limoe_status folder_list(const struct limoe_tune_examples *examples, struct folder *out,
                              struct limoe_error *err);
void folder_free(struct folder *f); /* an empty one is fine */

#endif
