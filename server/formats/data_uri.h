/* data_uri.h - pictures inside JSON strings: RFC 2397 data URIs, or plain base64. */
#ifndef LIMOE_SERVER_FORMATS_DATA_URI_H
#define LIMOE_SERVER_FORMATS_DATA_URI_H

#include "base/arena.h"
#include "base/text.h"
#include "limoe.h"

/* How a string among texts is known to be meant for a picture: white space aside, it begins with
 * "data:image/", or with "data:", a media type or none, parameters or none, ";base64" and a comma; all in any
 * case of letters. It need not be one: "data:text/plain;base64,eA==" is meant for a file, and data_uri_decode
 * refuses it. "data: a love story" is a text, and so is "data:text/plain,x". */
bool data_uri_is_meant(struct text text);

/* Whether the string is meant for an http: or https: URL, which is for others to read and to fetch; *text is then without
 * the white space around it. */
bool data_uri_is_url(struct text *text);

/* A data URI (with ;base64 or percent-encoded) or bare base64 → the picture's bytes in the arena; white space
 * around either is skipped. A media type, where one is given, must be image/… or application/octet-stream:
 * what the bytes really are is the picture decoder's to say. */
enum limoe_status data_uri_decode(struct text text, struct arena *arena, const uint8_t **bytes, size_t *size,
                                  struct limoe_error *err);

#endif
