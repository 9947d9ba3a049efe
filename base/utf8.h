/* utf8.h - whether bytes are well-formed UTF-8. */
#ifndef LIMOE_BASE_UTF8_H
#define LIMOE_BASE_UTF8_H

#include <stddef.h>

/* The offset of the first byte that does not continue well-formed UTF-8 (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF); `size` when all of it is well formed. NUL bytes are well formed. */
size_t utf8_check(const void *text, size_t size);

#endif
