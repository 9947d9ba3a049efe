/* cors.h - answers that a browser lets pages of another origin read (Fetch standard, "CORS protocol").
 *
 * Called on HTTP threads. Off unless an origin is allowed; it concerns no other clients than browsers.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_CORS_H
#define LIMOE_SERVER_FRONT_HTTP_CORS_H

#include <microhttpd.h>
#include <stdbool.h>

/* allowed: an origin ("https://app.example.com"), "*" for any, or NULL for none;
 * with NULL both do nothing. */

/* Adds the headers that let the page which asked read this answer; the answer stays as it is otherwise. */
void cors_add(const char *allowed, struct MHD_Connection *connection, struct MHD_Response *response);

/* Whether the request is a preflight: a browser's question before it sends a page's request. Needs no key,
 * as browsers send none with it. */
bool cors_preflight(const char *allowed, struct MHD_Connection *connection, const char *method);
/* Answers a preflight; `last`: no further request of the connection is read. */
enum MHD_Result cors_answer(const char *allowed, struct MHD_Connection *connection, bool last);

#endif
