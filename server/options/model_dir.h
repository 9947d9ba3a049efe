/* model_dir.h - the model to use when none is named. */
#ifndef LIMOE_SERVER_OPTIONS_MODEL_DIR_H
#define LIMOE_SERVER_OPTIONS_MODEL_DIR_H

#include <limits.h>

/* What --help says of it. */
#define MODEL_DIR_DEFAULT "the bundled one, pictograms"

/* `named` when it is not NULL; else pictograms, as seen from the program's own folder: ../models/pictograms, where a clone
 * has it, or where `meson install` puts it. NULL when there is none. A path that had to be made is written to room[]. */
const char *model_dir(const char *named, char room[PATH_MAX]);

#endif
