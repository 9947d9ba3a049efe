/* table.c - columns for people. No state but the locale's. */
#include "server/commands/table.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

/* Columns of a terminal that `text` (UTF-8) takes. */
static size_t width_of(const char *text) {
    mbstate_t state = {0};
    size_t width = 0, left = strlen(text);
    while (left) {
        wchar_t c;
        const size_t size = mbrtowc(&c, text, left, &state);
        if (size == (size_t)-1 || size == (size_t)-2 || size == 0)
            return width + left; /* not UTF-8: a guess is better than nothing */
        const int columns = wcwidth(c);
        width += columns > 0 ? (size_t)columns : 0;
        text += size;
        left -= size;
    }
    return width;
}

static void spaces(struct buffer *out, size_t n) {
    while (n--)
        buffer_bytes(out, " ", 1);
}

void table_append(struct buffer *out, size_t indent, size_t columns, const bool *right,
                  const char *const *cells, size_t rows) {
    size_t widest[TABLE_MAX_COLUMNS] = {0};
    for (size_t i = 0; i < rows * columns; i++) {
        const size_t width = width_of(cells[i]);
        if (width > widest[i % columns])
            widest[i % columns] = width;
    }
    for (size_t row = 0; row < rows; row++) {
        size_t owed = indent; /* spaces, written once something follows them */
        for (size_t column = 0; column < columns; column++) {
            const char *cell = cells[row * columns + column];
            const size_t padding = widest[column] - width_of(cell);
            if (right[column] || !*cell)
                owed += padding;
            if (*cell) {
                spaces(out, owed);
                buffer_string(out, cell);
                owed = right[column] ? 0 : padding;
            }
            owed += 2;
        }
        buffer_string(out, "\n");
    }
}

void table_number(char out[32], unsigned long long value) {
    char digits[24];
    const size_t n = (size_t)snprintf(digits, sizeof digits, "%llu", value);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = '\0';
}
