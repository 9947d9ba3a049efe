/* key_line.c - words between blanks: the first is the key, the others say something of it. */
#include "server/front/http/key_line.h"

#include <string.h>

#include "base/error.h"

#define ACCEPTED "name=NAME, requests-per-minute=N, tokens-per-minute=N"

struct reader {
    const char *path;
    unsigned number;
    struct key_line *out;
    struct limoe_error *err;
};

/* The word that `rest` begins with, which is moved behind it; of no bytes at the line's end. */
static struct text next_word(struct text *rest) {
    while (rest->size && *rest->data == ' ') {
        rest->data++;
        rest->size--;
    }
    struct text word = {.data = rest->data};
    while (word.size < rest->size && word.data[word.size] != ' ')
        word.size++;
    rest->data += word.size;
    rest->size -= word.size;
    return word;
}

static enum limoe_status check_key(const struct reader *reader, struct text key) {
    if (key.size < KEY_LEAST_BYTES || key.size > KEY_MOST_BYTES)
        return limoe_fail(reader->err, LIMOE_INVALID, "%s:%u: the key has %zu bytes; accepted are %d to %d",
                          reader->path, reader->number, key.size, KEY_LEAST_BYTES, KEY_MOST_BYTES);
    return LIMOE_OK;
}

/* Of the whole line, so that no byte is passed over. */
static enum limoe_status check_bytes(const struct reader *reader, struct text line) {
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] < 0x20 || line.data[i] > 0x7e)
            return limoe_fail(
                reader->err, LIMOE_INVALID,
                "%s:%u: byte %zu of the line is not accepted; keys, and what is said of them, are "
                "of printable ASCII",
                reader->path, reader->number, i + 1);
    return LIMOE_OK;
}

/* ---- what is said of a key */

static enum limoe_status read_name(const struct reader *reader, struct text value) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    bool good = value.size > 0 && value.size <= KEY_NAME_MOST;
    for (size_t i = 0; good && i < value.size; i++)
        good = strchr(allowed, value.data[i]) != NULL;
    if (!good)
        return limoe_fail(
            reader->err, LIMOE_INVALID,
            "%s:%u: the name has %zu bytes, or others than letters, digits and . _ -; accepted are "
            "1 to %d of these",
            reader->path, reader->number, value.size, KEY_NAME_MOST);
    reader->out->name = value;
    return LIMOE_OK;
}

static enum limoe_status read_quota(const struct reader *reader, enum account_kind kind, struct text value) {
    uint64_t quota = 0;
    bool good = value.size > 0;
    for (size_t i = 0; good && i < value.size; i++) {
        good = value.data[i] >= '0' && value.data[i] <= '9' && quota <= KEY_QUOTA_MOST;
        quota = quota * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (!good || quota < 1 || quota > KEY_QUOTA_MOST) {
        char quoted[32];
        return limoe_fail(reader->err, LIMOE_INVALID,
                          "%s:%u: %s-per-minute is \"%s\"; accepted: a whole number from 1 to %d",
                          reader->path, reader->number, account_kind_names[kind],
                          text_quote(value, quoted, sizeof quoted), KEY_QUOTA_MOST);
    }
    reader->out->quota[kind] = quota;
    return LIMOE_OK;
}

/* The value of "with=value"; data NULL: the word is another. */
static struct text value_of(struct text word, const char *with) {
    const size_t size = strlen(with);
    if (word.size <= size || memcmp(word.data, with, size) != 0 || word.data[size] != '=')
        return (struct text){.data = NULL};
    return (struct text){.data = word.data + size + 1, .size = word.size - size - 1};
}

static enum limoe_status fail_twice(const struct reader *reader, const char *name) {
    return limoe_fail(reader->err, LIMOE_INVALID, "%s:%u: %s is there twice", reader->path, reader->number,
                      name);
}

/* `n`: which word it is, behind the key. It is not shown where it is none of those known: it may be another key. */
static enum limoe_status read_attribute(const struct reader *reader, size_t n, struct text word) {
    static const char *const quotas[ACCOUNT_KINDS] = {
        [ACCOUNT_REQUESTS] = "requests-per-minute", [ACCOUNT_TOKENS] = "tokens-per-minute"};
    struct text value = value_of(word, "name");
    if (value.data)
        return reader->out->name.data ? fail_twice(reader, "name") : read_name(reader, value);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        value = value_of(word, quotas[kind]);
        if (value.data)
            return reader->out->quota[kind] ? fail_twice(reader, quotas[kind])
                                            : read_quota(reader, (enum account_kind)kind, value);
    }
    return limoe_fail(reader->err, LIMOE_INVALID,
                      "%s:%u: word %zu behind the key is not accepted; accepted: " ACCEPTED, reader->path,
                      reader->number, n);
}

enum limoe_status key_line_read(const char *path, unsigned number, struct text line, struct key_line *out,
                                struct limoe_error *err) {
    const struct reader reader = {.path = path, .number = number, .out = out, .err = err};
    struct text rest = line, word;
    *out = (struct key_line){.key = next_word(&rest)};
    enum limoe_status status = check_bytes(&reader, line);
    if (status == LIMOE_OK)
        status = check_key(&reader, out->key);
    for (size_t n = 1; status == LIMOE_OK && (word = next_word(&rest)).size > 0; n++)
        status = read_attribute(&reader, n, word);
    if (status == LIMOE_OK && !out->name.data && (out->quota[ACCOUNT_REQUESTS] || out->quota[ACCOUNT_TOKENS]))
        return limoe_fail(
            err, LIMOE_INVALID,
            "%s:%u: the key has a quota and no name; accepted: a name, under which it is counted", path,
            number);
    return status;
}
