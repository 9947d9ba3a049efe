/* config_file.c - "name = value" lines. */
#include "server/options/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "server/options/suggest.h"
#include "server/options/value.h"

/* A line being read. */
struct cursor {
    struct options *options;
    const char *at, *end; /* what is left of the line, without its "\n" */
    unsigned line;        /* counted from 1 */
};

#define FAIL(cursor, err, format, ...)                                                                       \
    limoe_fail(err, LIMOE_INVALID, "%s:%u: " format, (cursor)->options->file, (cursor)->line, __VA_ARGS__)

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct cursor *cursor) {
    while (cursor->at < cursor->end && is_blank(*cursor->at))
        cursor->at++;
}

/* Nothing is left but perhaps a comment. */
static bool at_end(const struct cursor *cursor) {
    return cursor->at == cursor->end || *cursor->at == '#';
}

/* NULL: refused with LIMOE_INVALID. */
static const struct option_row *read_name(struct cursor *cursor, struct limoe_error *err) {
    const struct option_command *command = cursor->options->command;
    const char *begin = cursor->at;
    char name[64];
    while (cursor->at < cursor->end && !is_blank(*cursor->at) && *cursor->at != '=' && *cursor->at != '#')
        cursor->at++;
    text_quote((struct text){.data = begin, .size = (size_t)(cursor->at - begin)}, name, sizeof name);
    skip_blanks(cursor);
    if (cursor->at == cursor->end || *cursor->at != '=') {
        FAIL(cursor, err, "\"%s\" is not followed by \"=\"; a line is name = value", name);
        return NULL;
    }
    cursor->at++;
    for (size_t i = 0; i < command->n; i++) {
        const struct option_row *option = &command->table[i];
        const struct option_origin before = cursor->options->origins[i];
        if (strcmp(option->name, name) != 0)
            continue;
        if (option_configurable(option) && before.from != ORIGIN_FILE)
            return option;
        if (before.from == ORIGIN_FILE)
            FAIL(cursor, err, "%s was set in line %u already", name, before.line);
        else
            FAIL(cursor, err, "%s is accepted on the command line alone", name);
        return NULL;
    }
    const char *meant = suggest(name, &command->table->name, command->n, sizeof *command->table);
    FAIL(cursor, err, "%s has no option \"%s\"%s%s%s", command->name, name, meant ? "; did you mean " : "",
         meant ? meant : "", meant ? "?" : "");
    return NULL;
}

/* At the opening quote. Copies what is between the quotes to out[], which is as long as the line. */
static enum limoe_status read_quoted(struct cursor *cursor, const char *name, char *out,
                                     struct limoe_error *err) {
    for (cursor->at++; cursor->at < cursor->end && *cursor->at != '"'; cursor->at++) {
        if (*cursor->at == '\\') {
            cursor->at++;
            if (cursor->at == cursor->end || (*cursor->at != '"' && *cursor->at != '\\'))
                return FAIL(cursor, err, "%s has a \"\\\" before what is neither \" nor \\", name);
        }
        *out++ = *cursor->at;
    }
    *out = '\0';
    if (cursor->at == cursor->end)
        return FAIL(cursor, err, "the value of %s has no closing quote", name);
    cursor->at++;
    skip_blanks(cursor);
    if (!at_end(cursor))
        return FAIL(cursor, err, "something follows the value of %s", name);
    return LIMOE_OK;
}

static void read_bare(struct cursor *cursor, char *out) {
    const char *begin = cursor->at;
    while (cursor->at < cursor->end && !(*cursor->at == '#' && is_blank(cursor->at[-1])))
        cursor->at++;
    while (cursor->at > begin && is_blank(cursor->at[-1]))
        cursor->at--;
    memcpy(out, begin, (size_t)(cursor->at - begin));
    out[cursor->at - begin] = '\0';
}

static enum limoe_status read_setting(struct cursor *cursor, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    skip_blanks(cursor);
    if (at_end(cursor))
        return LIMOE_OK;
    const struct option_row *option = read_name(cursor, err);
    if (!option)
        return LIMOE_INVALID;
    skip_blanks(cursor);
    if (at_end(cursor))
        return FAIL(cursor, err, "%s has no value", option->name);
    char *value = arena_alloc(cursor->options->arena, (size_t)(cursor->end - cursor->at) + 1);
    if (!value)
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory", cursor->options->file);
    if (*cursor->at == '"')
        status = read_quoted(cursor, option->name, value, err);
    else
        read_bare(cursor, value);
    const struct option_origin origin = {.from = ORIGIN_FILE, .line = cursor->line};
    return status == LIMOE_OK ? option_set(cursor->options, option, origin, value, err) : status;
}

enum limoe_status config_file_parse(struct options *options, const char *text, size_t size,
                                    struct limoe_error *err) {
    struct cursor cursor = {.options = options};
    const char *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        cursor.line++;
        cursor.at = text;
        cursor.end = newline ? newline : end;
        for (const char *c = text; c < cursor.end; c++)
            if (((unsigned char)*c < ' ' && !is_blank(*c)) || *c == 0x7f)
                return FAIL(&cursor, err, "byte %zu of the line is the control character 0x%02x",
                            (size_t)(c - text) + 1, (unsigned)(unsigned char)*c);
        const enum limoe_status status = read_setting(&cursor, err);
        if (status != LIMOE_OK)
            return status;
        text = newline ? newline + 1 : end;
    }
    return LIMOE_OK;
}

enum limoe_status config_file_read(struct options *options, struct limoe_error *err) {
    enum limoe_status status;
    size_t size = 0;
    ssize_t got = 1;
    char *text = malloc(CONFIG_FILE_MOST + 1);
    const int fd = open(options->file, O_RDONLY | O_CLOEXEC);
    if (!text) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory", options->file);
        goto out;
    }
    while (fd >= 0 && got != 0 && size <= CONFIG_FILE_MOST) {
        got = read(fd, text + size, CONFIG_FILE_MOST + 1 - size);
        if (got < 0 && errno != EINTR)
            break;
        size += got > 0 ? (size_t)got : 0;
    }
    if (fd < 0 || got < 0)
        status = limoe_fail(err, fd < 0 && errno == ENOENT ? LIMOE_NOT_FOUND : LIMOE_IO, "%s: %s",
                            options->file, strerror(errno));
    else if (size > CONFIG_FILE_MOST)
        status = limoe_fail(err, LIMOE_TOO_LARGE, "%s: more than %zu bytes", options->file, CONFIG_FILE_MOST);
    else
        status = config_file_parse(options, text, size, err);
out:
    if (fd >= 0)
        close(fd);
    free(text);
    return status;
}
