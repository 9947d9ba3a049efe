/* value.c - the kinds of value. */
#include "server/options/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/device_name.h"
#include "base/error.h"
#include "base/text.h"

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "size_t fields are written as uint64_t");
_Static_assert(sizeof(enum option_kind) == sizeof(int), "enum fields are written as int");

static const struct {
    const char *name;
    uint64_t bytes;
} units[] = {{"GiB", UINT64_C(1) << 30}, {"MiB", UINT64_C(1) << 20}, {"KiB", UINT64_C(1) << 10}};
enum { UNITS = sizeof units / sizeof *units };

const char *option_variable(const struct option_row *option, char room[OPTION_LABEL_SIZE]) {
    size_t n = (size_t)snprintf(room, OPTION_LABEL_SIZE, "LIMOE_");
    for (const char *c = option->name; *c && n + 1 < OPTION_LABEL_SIZE; c++)
        room[n++] = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
    room[n] = '\0';
    return room;
}

/* What messages and a file call a source's option: "--port", "LIMOE_PORT", "limoe.conf:3: port". */
static const char *label_of(const struct options *options, const struct option_row *option,
                            struct option_origin origin, char room[OPTION_LABEL_SIZE]) {
    if (origin.from == ORIGIN_ENVIRONMENT)
        return option_variable(option, room);
    if (origin.from == ORIGIN_PLATFORM)
        return option->platform;
    if (origin.from == ORIGIN_FILE)
        snprintf(room, OPTION_LABEL_SIZE, "%s:%u: %s", options->file, origin.line, option->name);
    else
        snprintf(room, OPTION_LABEL_SIZE, "--%s", option->name);
    return room;
}

bool option_configurable(const struct option_row *option) {
    return !option->only_flag && option->kind < OPTION_LIST;
}

bool option_takes_value(const struct option_row *option) {
    return option->kind != OPTION_SWITCH && option->kind != OPTION_HELP &&
           option->kind != OPTION_PRINT_CONFIG;
}

/* ---- text → field */

/* Digits, in OPTION_BYTES a unit, within the range. */
static bool read_number(const struct option_row *option, const char *value, uint64_t *out) {
    const size_t digits = strspn(value, "0123456789");
    if (!digits || digits > 19) /* 19 nines are less than 2^64 */
        return false;
    const uint64_t number = strtoull(value, NULL, 10);
    uint64_t unit = 1;
    if (value[digits]) {
        size_t i = 0;
        while (i < UNITS && strcmp(value + digits, units[i].name) != 0)
            i++;
        if (option->kind != OPTION_BYTES || i == UNITS)
            return false;
        unit = units[i].bytes;
    }
    if (number > option->most / unit || number * unit < option->least)
        return false;
    *out = number * unit;
    return true;
}

static bool read_double(const struct option_row *option, const char *value, double *out) {
    char *end;
    if (strspn(value, "0123456789.") == 0)
        return false; /* no sign, no "inf", no white space */
    *out = strtod(value, &end);
    return !*end && isfinite(*out) && *out > 0 && *out <= (double)option->most;
}

static bool read_share(const char *value, double *out) {
    char *end;
    if (strspn(value, "0123456789.") == 0)
        return false;
    *out = strtod(value, &end);
    return !*end && isfinite(*out) && *out <= 1;
}

static bool read_choice(const struct option_row *option, const char *value, int *out) {
    for (const struct option_choice *choice = option->choices; choice->name; choice++) {
        if (strcmp(choice->name, value) == 0) {
            *out = choice->value;
            return true;
        }
    }
    return false;
}

static bool is_string(const char *value) {
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return *value != '\0';
}

/* "a,b": no name is empty, none has blanks at its ends. */
static bool is_names(const char *value) {
    if (!is_string(value))
        return false;
    for (const char *name = value;; name++) {
        const size_t size = strcspn(name, ",");
        if (!size || name[0] == ' ' || name[size - 1] == ' ')
            return false;
        name += size;
        if (!*name)
            return true;
    }
}

/* Writes the field, or leaves it as it is and returns false. */
static bool set(const struct option_row *option, const char *value, void *field) {
    uint64_t number = 0;
    double real = 0;
    int choice = 0;
    enum device_kind device;
    uint32_t index;
    switch (option->kind) {
    case OPTION_NUMERAL:
        if (!read_number(option, value, &number))
            return false;
        *(const char **)field = value;
        return true;
    case OPTION_STRING:
        if (!is_string(value))
            return false;
        *(const char **)field = value;
        return true;
    case OPTION_NAMES:
        if (!is_names(value))
            return false;
        *(const char **)field = value;
        return true;
    case OPTION_DEVICE:
        if (!device_name_parse(value, &device, &index))
            return false;
        *(const char **)field = value;
        return true;
    case OPTION_UNSIGNED:
    case OPTION_SECONDS:
        if (!read_number(option, value, &number))
            return false;
        *(unsigned *)field = (unsigned)number;
        return true;
    case OPTION_U64:
    case OPTION_BYTES:
        if (!read_number(option, value, &number))
            return false;
        *(uint64_t *)field = number;
        return true;
    case OPTION_DOUBLE:
        if (!read_double(option, value, &real))
            return false;
        *(double *)field = real;
        return true;
    case OPTION_SHARE:
        if (!read_share(value, &real))
            return false;
        *(double *)field = real;
        return true;
    case OPTION_CHOICE:
        if (!read_choice(option, value, &choice))
            return false;
        memcpy(field, &choice, sizeof choice);
        return true;
    case OPTION_SWITCH:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return false;
        *(bool *)field = *value == 't';
        return true;
    case OPTION_CONFIG:
        return is_string(value); /* options_read has it already */
    case OPTION_LIST:
    case OPTION_HELP:
    case OPTION_PRINT_CONFIG:
        break;
    }
    return false;
}

/* A number of bytes in the largest unit that divides it. */
static void show_bytes(uint64_t value, struct buffer *out) {
    for (size_t i = 0; i < UNITS; i++)
        if (value && value % units[i].bytes == 0) {
            buffer_print(out, "%llu%s", (unsigned long long)(value / units[i].bytes), units[i].name);
            return;
        }
    buffer_print(out, "%llu", (unsigned long long)value);
}

void option_accepted(const struct option_row *option, struct buffer *out) {
    switch (option->kind) {
    case OPTION_NUMERAL:
    case OPTION_UNSIGNED:
    case OPTION_SECONDS:
    case OPTION_U64:
        buffer_print(out, "a whole number%s from %llu to %llu",
                     option->kind == OPTION_SECONDS ? " of seconds" : "", (unsigned long long)option->least,
                     (unsigned long long)option->most);
        break;
    case OPTION_BYTES:
        buffer_string(out, "a whole number of bytes, perhaps with KiB, MiB or GiB, from ");
        show_bytes(option->least, out);
        buffer_string(out, " to ");
        show_bytes(option->most, out);
        break;
    case OPTION_DOUBLE:
        buffer_print(out, "a number above 0, up to %llu", (unsigned long long)option->most);
        break;
    case OPTION_SHARE:
        buffer_string(out, "a number from 0 to 1");
        break;
    case OPTION_CHOICE:
        for (const struct option_choice *choice = option->choices; choice->name; choice++)
            buffer_print(out, "%s%s", choice == option->choices ? "" : ", ", choice->name);
        break;
    case OPTION_DEVICE:
        buffer_string(out, DEVICE_ACCEPTED);
        break;
    case OPTION_SWITCH:
        buffer_string(out, "true, false");
        break;
    case OPTION_NAMES:
        buffer_string(out, "names divided by commas, none empty, without blanks around them");
        break;
    default:
        buffer_string(out, "a text that is not empty and has no control characters");
        break;
    }
}

/* What the field holds once `value` is added to names that the same command line gave before; else `value`.
 * NULL: no memory. */
static const char *add_names(struct options *options, const struct option_row *option, const char *value) {
    const char *before = *(const char *const *)((const char *)options->target + option->offset);
    const bool again = options->origins[option - options->command->table].from == ORIGIN_FLAG;
    return again ? arena_print(options->arena, "%s,%s", before, value) : value;
}

enum limoe_status option_set(struct options *options, const struct option_row *option,
                             struct option_origin origin, const char *value, struct limoe_error *err) {
    const char *whole = value;
    if (option->kind == OPTION_NAMES && origin.from == ORIGIN_FLAG && is_names(value))
        whole = add_names(options, option, value);
    if (!whole)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the options");
    if (set(option, whole, (char *)options->target + option->offset)) {
        options->origins[option - options->command->table] = origin;
        return LIMOE_OK;
    }
    struct buffer accepted = {0};
    char label[OPTION_LABEL_SIZE], found[96];
    option_accepted(option, &accepted);
    buffer_bytes(&accepted, "", 1);
    const enum limoe_status status =
        limoe_fail(err, LIMOE_INVALID, "%s is \"%s\"; accepted: %s", label_of(options, option, origin, label),
                   text_quote(text_of(value), found, sizeof found), accepted.failed ? "?" : accepted.data);
    buffer_free(&accepted);
    return status;
}

/* ---- field → text */

static void show_string(const char *value, bool quoted, struct buffer *out) {
    if (!quoted) {
        buffer_string(out, value);
        return;
    }
    buffer_string(out, "\"");
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\')
            buffer_string(out, "\\");
        buffer_bytes(out, c, 1);
    }
    buffer_string(out, "\"");
}

static bool show_number(const struct option_row *option, uint64_t value, struct buffer *out) {
    if (value < option->least || value > option->most)
        return false;
    if (option->kind == OPTION_BYTES)
        show_bytes(value, out);
    else
        buffer_print(out, "%llu", (unsigned long long)value);
    return true;
}

static bool show_choice(const struct option_row *option, const void *field, struct buffer *out) {
    int value;
    memcpy(&value, field, sizeof value);
    for (const struct option_choice *choice = option->choices; choice->name; choice++) {
        if (choice->value == value) {
            buffer_string(out, choice->name);
            return true;
        }
    }
    return false;
}

bool option_show(const struct option_row *option, const void *target, bool quoted, struct buffer *out) {
    const void *field = (const char *)target + option->offset;
    switch (option->kind) {
    case OPTION_STRING:
    case OPTION_NAMES:
    case OPTION_NUMERAL:
    case OPTION_DEVICE:
        if (!*(const char *const *)field)
            return false;
        show_string(*(const char *const *)field,
                    quoted && (option->kind == OPTION_STRING || option->kind == OPTION_NAMES), out);
        return true;
    case OPTION_UNSIGNED:
    case OPTION_SECONDS:
        return show_number(option, *(const unsigned *)field, out);
    case OPTION_U64:
    case OPTION_BYTES:
        return show_number(option, *(const uint64_t *)field, out);
    case OPTION_DOUBLE:
        if (!(*(const double *)field > 0))
            return false;
        buffer_print(out, "%.17g", *(const double *)field);
        return true;
    case OPTION_SHARE:
        buffer_print(out, "%.15g", *(const double *)field);
        return true;
    case OPTION_CHOICE:
        return show_choice(option, field, out);
    case OPTION_SWITCH:
        buffer_string(out, *(const bool *)field ? "true" : "false");
        return true;
    default:
        return false;
    }
}
