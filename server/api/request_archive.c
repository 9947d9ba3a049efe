/* request_archive.c - POST /v1/adapters/{name}: examples that come as one zip file, a folder of pictures for each label.
 *
 * What counts is what limoe tune takes of the same folders: names that begin with a dot, and files whose names do not end as
 * pictures' do, are left out. The directory alone is read here; the archive is closed again, since a request owns nothing. */
#include <string.h>

#include "base/picture_name.h"
#include "server/api/training.h"

enum { QUOTED = 200, PARAM = 120 };

struct listing {
    const struct archive *archive;
    const char *first; /* the first picture's name; "": there is none */
    size_t root; /* of it, bytes of a folder that all pictures lie in, with its slash; 0: there is none */
    struct training_request *out;
    struct arena *arena;
    struct api_error *error;
};

/* Which beside pictures nobody sees: .DS_Store, macOS's shadows of files, thumbnails. */
static bool is_hidden(const char *name) {
    return name[0] == '.' || strstr(name, "/.") || strncmp(name, "__MACOSX/", 9) == 0;
}

static bool is_example(const char *name) {
    return picture_name(name) && !is_hidden(name);
}

static const char *name_at(const struct listing *l, size_t i) {
    return archive_at(l->archive, i)->name;
}

/* Bytes to behind the first slash; 0: there is none. */
static size_t folder_of(const char *name) {
    const char *slash = strchr(name, '/');
    return slash ? (size_t)(slash - name) + 1 : 0;
}

/* A folder in which all pictures lie in others is the archive's own. */
static void find_root(struct listing *l) {
    for (size_t i = 0; i < archive_count(l->archive); i++) {
        const char *name = name_at(l, i);
        if (!is_example(name))
            continue;
        if (!l->first[0]) {
            l->first = name;
            l->root = folder_of(name);
        }
        if (strncmp(name, l->first, l->root) != 0 || !folder_of(name + l->root))
            l->root = 0;
    }
}

static bool refuse(const struct listing *l, const char *name, const char *what) {
    char quoted[QUOTED];
    return api_fail(l->error, 400, "invalid_archive", "archive",
                    "the archive's entry \"%s\" %s; pictures in a folder for each label, LABEL/picture, are "
                    "accepted, all of them perhaps in one more folder",
                    text_quote(text_of(name), quoted, sizeof quoted), what);
}

/* Its name outlives the archive in the arena. */
static bool take(const struct listing *l, size_t i) {
    char quoted[PARAM];
    const struct archive_entry *entry = archive_at(l->archive, i);
    const char *name = entry->name + l->root;
    const size_t folder = folder_of(name);
    if (!folder)
        return refuse(l, entry->name, "is in no folder");
    if (folder_of(name + folder))
        return refuse(l, entry->name, "is in a folder of a label's folder");
    const char *label = arena_copy(l->arena, name, folder - 1),
               *param = arena_print(l->arena, "archive[%s]",
                                    text_quote(text_of(entry->name), quoted, sizeof quoted));
    if (!label || !param)
        return api_fail_memory(l->error);
    const struct training_example example = {.label = {.data = label, .size = folder - 1},
                                             .size = (size_t)entry->bytes,
                                             .entry = i,
                                             .param = param};
    return training_take(l->out, &example, l->arena, l->error);
}

/* A label's folder, whose entries stand together. */
struct walked {
    const char *name;
    size_t bytes; /* of it, with the slash; 0: none yet */
    size_t pictures;
};

/* One that has files, and none of them a picture, would be a label that is lost. */
static bool leave(const struct listing *l, const struct walked *folder) {
    char quoted[QUOTED];
    const struct text name = {.data = folder->name, .size = folder->bytes};
    return !folder->bytes || folder->pictures ||
           api_fail(l->error, 400, "invalid_archive", "archive",
                    "the archive's folder \"%s\" has no pictures; files ending in " PICTURE_NAME_ENDINGS
                    " are accepted",
                    text_quote(name, quoted, sizeof quoted));
}

static bool walk(const struct listing *l, size_t i, struct walked *folder) {
    const char *name = name_at(l, i);
    if (is_hidden(name) || strncmp(name, l->first, l->root) != 0)
        return true;
    const size_t inside = folder_of(name + l->root), bytes = l->root + inside;
    if (inside && !(folder->bytes == bytes && strncmp(name, folder->name, bytes) == 0)) {
        if (!leave(l, folder))
            return false;
        *folder = (struct walked){.name = name, .bytes = bytes};
    }
    if (!picture_name(name))
        return true;
    folder->pictures++;
    return take(l, i);
}

static bool take_all(struct listing *l) {
    struct walked folder = {.name = ""};
    find_root(l);
    if (!l->first[0])
        return api_fail(l->error, 400, "invalid_archive", "archive",
                        "the archive has no pictures; files ending in " PICTURE_NAME_ENDINGS
                        ", in a folder for each label, are accepted");
    for (size_t i = 0; i < archive_count(l->archive); i++)
        if (!walk(l, i, &folder))
            return false;
    return leave(l, &folder);
}

bool training_take_archive(struct training_request *request, struct arena *arena, struct api_error *error) {
    const struct training_archive *given = &request->archive;
    struct archive *archive;
    struct limoe_error cause;
    const enum limoe_status status =
        archive_open(given->bytes, given->size, &given->limits, &archive, &cause);
    if (status)
        return status == LIMOE_NO_MEMORY
                   ? api_fail_memory(error)
                   : api_fail(error, 400, "invalid_archive", "archive", "%s", cause.message);
    struct listing listing = {
        .archive = archive, .first = "", .out = request, .arena = arena, .error = error};
    const bool good = take_all(&listing);
    archive_close(archive);
    return good;
}
