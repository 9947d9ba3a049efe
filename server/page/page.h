/* page.h - the files of the page at GET /, as they lie in the program.
 *
 * They are compiled in (embed makes C of server/page/site), each as it is and compressed, with an entity tag
 * for either. Constant data: any thread, no owner.
 */
#ifndef LIMOE_SERVER_PAGE_PAGE_H
#define LIMOE_SERVER_PAGE_PAGE_H

#include <stdbool.h>
#include <stddef.h>

/* One form of a file's bytes. */
struct page_form {
    const unsigned char *bytes; /* [size]; NULL: there is none, compressing gains nothing */
    size_t size;
    const char *etag; /* strong, with its quotes (RFC 9110 8.8.3): of these bytes alone */
};

struct page_file {
    const char *name; /* "app.js"; "" is the page itself */
    const char *type; /* for Content-Type */
    struct page_form plain, gzip;
};

/* What lies below /page/ under this name; NULL: nothing does. */
const struct page_file *page_find(const char *name);
/* The form for a client that sends this Accept-Encoding (NULL: none), by RFC 9110 12.5.3. */
const struct page_form *page_form_for(const struct page_file *file, const char *accept_encoding);
/* Whether an Accept (NULL: none) asks for a page: it names text/html, as every browser's does, and a program's that takes
 * whatever comes does not. */
bool page_asked(const char *accept);
/* Whether an If-None-Match (NULL: none) names this tag, by weak comparison (RFC 9110 13.1.2). */
bool page_has(const char *if_none_match, const char *etag);

#endif
