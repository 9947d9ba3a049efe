/* picture_name.h - which files among others are pictures, by the ends of their names. */
#ifndef LIMOE_BASE_PICTURE_NAME_H
#define LIMOE_BASE_PICTURE_NAME_H

#include <stdbool.h>

/* For messages: what ends a picture's name. */
#define PICTURE_NAME_ENDINGS                                                                                 \
    ".png, .jpg, .webp, .gif, .bmp, .tiff, .heic, .avif or another ending of pictures"

/* Whether a file's name or path ends as those of pictures do, in any case. What is in it is another question. */
bool picture_name(const char *name);

#endif
