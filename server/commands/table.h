/* table.h - columns for people, aligned by what a terminal shows: 猫 is two columns wide, not three bytes.
 *
 * Widths are wcwidth's, which wants a UTF-8 locale (main sets C.UTF-8).
 */
#ifndef LIMOE_SERVER_COMMANDS_TABLE_H
#define LIMOE_SERVER_COMMANDS_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

#define TABLE_MAX_COLUMNS 32

/* cells [rows, columns] (at most TABLE_MAX_COLUMNS), the first row usually heads. Columns are as wide as
 * their widest cell, two spaces apart, after `indent` spaces; right[column] aligns to the right. No space
 * ends a line. */
void table_append(struct buffer *out, size_t indent, size_t columns, const bool *right,
                  const char *const *cells, size_t rows);

/* 13620000 → "13,620,000". */
void table_number(char out[32], unsigned long long value);

#endif
