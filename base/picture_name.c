/* picture_name.c - a list of endings. No state. */
#include "base/picture_name.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

bool picture_name(const char *name) {
    static const char *const endings[] = {".png", ".jpg",  ".jpeg", ".webp", ".gif",  ".bmp",
                                          ".tif", ".tiff", ".heic", ".heif", ".avif", ".ppm",
                                          ".pgm", ".pbm",  ".pnm",  ".tga",  ".psd"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}
