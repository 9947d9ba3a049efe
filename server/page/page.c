/* page.c - files by name, and what a client's conditions ask for. Read-only, any thread. */
#include "server/page/page.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/page/page_files.h"

#define BLANKS " \t"

static int compare(const void *name, const void *file) {
    return strcmp(name, ((const struct page_file *)file)->name);
}

const struct page_file *page_find(const char *name) {
    return bsearch(name, page_files, page_files_n, sizeof *page_files, compare);
}

/* ---- Accept-Encoding, Accept */

/* Whether the weight behind an element ("; q=0.0") refuses it. What is no weight is not looked at. */
static bool refused(const char *parameters, size_t size) {
    const char *end = parameters + size, *at = memchr(parameters, '=', size);
    if (!at)
        return false;
    at++;
    at += strspn(at, BLANKS);
    size_t digits = strspn(at, "0.");
    return digits > 0 && at + digits <= end && strspn(at + digits, BLANKS) == (size_t)(end - at) - digits;
}

static bool is(const char *element, size_t size, const char *name) {
    return size == strlen(name) && strncasecmp(element, name, size) == 0;
}

/* Whether a list names either of two, and does not refuse the first that it names. "*" names none. */
static bool takes(const char *list, const char *name, const char *other) {
    while (*list) {
        list += strspn(list, BLANKS ",");
        const size_t element = strcspn(list, ","), size = strcspn(list, BLANKS ",;");
        if (is(list, size, name) || is(list, size, other))
            return !refused(list + size, element - size);
        list += element;
    }
    return false;
}

/* "*" is not taken for gzip: clients that say it alone are programs that do not decode. */
const struct page_form *page_form_for(const struct page_file *file, const char *accept_encoding) {
    return file->gzip.bytes && accept_encoding && takes(accept_encoding, "gzip", "x-gzip") ? &file->gzip
                                                                                           : &file->plain;
}

bool page_asked(const char *accept) {
    return !accept || takes(accept, "text/html", "application/xhtml+xml");
}

/* ---- If-None-Match */

bool page_has(const char *if_none_match, const char *etag) {
    const char *at = if_none_match ? if_none_match : "";
    const size_t size = strlen(etag);
    for (;;) {
        at += strspn(at, BLANKS ",");
        if (*at == '*')
            return true;
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        if (*at != '"')
            return false;
        if (strncmp(at, etag, size) == 0)
            return true;
        const char *quote = strchr(at + 1, '"');
        if (!quote)
            return false;
        at = quote + 1;
    }
}
