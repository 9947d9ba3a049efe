/* settings.c - what is accepted of the options, and the key's file read. */
#include "server/front/relaying/settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "server/fetcher/target.h"

/* The URL is the operator's, but is held to the same plain form as those of pictures: no user name, whose password would stand
 * in the process list, and no query, behind which no path could be put. */
static enum limoe_status check_url(const char *url, struct limoe_error *err) {
    struct target target;
    struct limoe_error odd;
    if (strlen(url) >= RELAY_URL_SIZE)
        return limoe_fail(err, LIMOE_INVALID, "llm-url has %zu bytes; up to %d are accepted", strlen(url),
                          RELAY_URL_SIZE - 1);
    if (target_read(text_of(url), &target, &odd) != LIMOE_OK)
        return limoe_fail(err, LIMOE_INVALID, "llm-url: %s", odd.message);
    if (strpbrk(url, "?#"))
        return limoe_fail(
            err, LIMOE_INVALID,
            "llm-url has a query or a fragment; accepted: the base of the server's paths, such as "
            "http://127.0.0.1:8000/v1");
    return LIMOE_OK;
}

enum limoe_status relaying_check(const struct relaying_options *options, struct limoe_error *err) {
    const char *alone = options->model         ? "llm-model"
                        : options->key_file    ? "llm-key-file"
                        : options->certificate ? "llm-certificate"
                                               : NULL;
    if (!options->url && alone)
        return limoe_fail(err, LIMOE_INVALID,
                          "%s is set and llm-url is not; accepted: with the server that it is of", alone);
    if (!options->url)
        return LIMOE_OK;
    if (!options->model)
        return limoe_fail(err, LIMOE_INVALID,
                          "llm-url is set and llm-model is not; accepted: with the name by which that server "
                          "knows its model");
    if (options->certificate && strlen(options->certificate) >= RELAY_PATH_SIZE)
        return limoe_fail(err, LIMOE_INVALID, "llm-certificate has %zu bytes; up to %d are accepted",
                          strlen(options->certificate), RELAY_PATH_SIZE - 1);
    return check_url(options->url, err);
}

/* ---- the relay's */

/* A key stands in a header: visible ASCII. What is wrong is told without it. */
static bool is_key(const char *key) {
    for (; *key; key++)
        if (*key <= ' ' || *key > '~')
            return false;
    return true;
}

/* The file's first line. */
static enum limoe_status read_key(const char *path, char out[RELAY_KEY_SIZE], struct limoe_error *err) {
    FILE *file = fopen(path, "re");
    if (!file)
        return limoe_fail(err, errno == ENOENT ? LIMOE_NOT_FOUND : LIMOE_IO,
                          "llm-key-file: cannot open %s: %s", path, strerror(errno));
    const bool read = fgets(out, RELAY_KEY_SIZE, file) != NULL;
    const bool whole = !read || strchr(out, '\n') || feof(file);
    fclose(file);
    if (!read)
        *out = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    if (*out && whole && is_key(out))
        return LIMOE_OK;
    explicit_bzero(out, RELAY_KEY_SIZE);
    return limoe_fail(
        err, LIMOE_INVALID,
        "llm-key-file: the first line of %s is no key; accepted: 1 to %d bytes of visible ASCII", path,
        RELAY_KEY_SIZE - 2);
}

enum limoe_status relaying_settings(const struct relaying_options *options, struct relay_settings *settings,
                                    struct limoe_error *err) {
    *settings = (struct relay_settings){.most_bytes = options->bytes};
    snprintf(settings->url, sizeof settings->url, "%s", options->url);
    if (settings->url[strlen(settings->url) - 1] == '/')
        settings->url[strlen(settings->url) - 1] = '\0';
    snprintf(settings->certificate, sizeof settings->certificate, "%s",
             options->certificate ? options->certificate : "");
    return options->key_file ? read_key(options->key_file, settings->key, err) : LIMOE_OK;
}
