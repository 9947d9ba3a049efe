/* heif_library.c - libheif, loaded when it is needed. It comes with the encoders of its formats, tens of
 * megabytes that every process of the program would otherwise map and relocate at its start, for what
 * decoders alone use. The one state is which functions were found; it is set once. */
#include "model/image/heif.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define LIBRARY "libheif.so.1"

static struct heif_library library;
static char absence[256]; /* why there is none; "": it is there */

static void load(void) {
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
#define FIND(name)                                                                                           \
    if (handle && !absence[0]) {                                                                             \
        *(void **)&library.name = dlsym(handle, "heif_" #name);                                              \
        if (!library.name)                                                                                   \
            snprintf(absence, sizeof absence, "%s has no heif_%s", LIBRARY, #name);                          \
    }
    HEIF_FUNCTIONS(FIND)
#undef FIND
    if (!handle) {
        const char *reason = dlerror();
        snprintf(absence, sizeof absence, "%s", reason ? reason : LIBRARY " does not load");
    }
    if (!absence[0]) {
        library.init(NULL);
        library.register_decoder_plugin(&heif_codec_hevc);
        library.register_decoder_plugin(&heif_codec_av1);
        library.context_free(library.context_alloc());
    }
}

const struct heif_library *heif_library(const char **why) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    *why = absence;
    return absence[0] ? NULL : &library;
}
