/* contents.h - items as Cohere and Voyage nest them: [{"content":[part]},…], a part being a text or a picture. */
#ifndef LIMOE_SERVER_API_DIALECTS_CONTENTS_H
#define LIMOE_SERVER_API_DIALECTS_CONTENTS_H

#include "server/api/request_parts.h"

/* The list, of 1 to REQUEST_MAX_ITEMS, to out->items. An input of several parts would have one embedding of them
 * all, which no model here makes: exactly one is accepted. `name` is static; params are "name[i].content[0]". */
bool contents_read(const struct request_items_reader *reader, const struct json_value *list, const char *name,
                   struct embed_request *out);

#endif
