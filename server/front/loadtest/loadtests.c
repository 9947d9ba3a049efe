/* loadtests.c - the records: started, listed, told to stop. */
#include "server/front/loadtest/loadtests.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/event.h"
#include "server/front/loadtest/parts.h"

/* ---- life */

enum limoe_status loadtest_read_key(const char *path, char key[LOADTEST_KEY_SIZE], struct limoe_error *err) {
    key[0] = '\0';
    if (!path)
        return LIMOE_OK;
    FILE *file = fopen(path, "re");
    if (!file)
        return limoe_fail(err, LIMOE_IO, "cannot open the key of %s: %s", path, strerror(errno));
    const bool read = fgets(key, LOADTEST_KEY_SIZE, file) != NULL;
    fclose(file);
    if (read)
        key[strcspn(key, " \r\n")] = '\0'; /* behind a blank: what a server's key file says of it */
    if (*key)
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_INVALID,
                      "%s: its first line is empty, or begins with a blank; accepted: a key", path);
}

/* This server as a process on the same machine reaches it: where it listens on every address, by loopback. */
static bool find_own(const struct loadtests_options *options, char url[LOADTEST_URL_SIZE]) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {.v6 = {.sin6_family = AF_UNSPEC}};
    char host[128], port[16];
    socklen_t size = sizeof at;
    if (getsockname(options->listening, &at.any, &size) != 0)
        return false;
    if (at.any.sa_family == AF_INET && at.v4.sin_addr.s_addr == htonl(INADDR_ANY))
        at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (at.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&at.v6.sin6_addr))
        at.v6.sin6_addr = in6addr_loopback;
    if (getnameinfo(&at.any, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) !=
        0)
        return false;
    const bool brackets = strchr(host, ':') != NULL;
    snprintf(url, LOADTEST_URL_SIZE, "%s://%s%s%s:%s", options->encrypted ? "https" : "http",
             brackets ? "[" : "", host, brackets ? "]" : "", port);
    return true;
}

enum limoe_status loadtests_new(const struct loadtests_options *options, struct loadtests **out,
                                struct limoe_error *err) {
    char key[LOADTEST_KEY_SIZE];
    enum limoe_status status = loadtest_read_key(options->key_file, key, err);
    explicit_bzero(key, sizeof key); /* it is read again for each test: it may have been replaced */
    if (status != LIMOE_OK)
        return status;
    struct loadtests *loadtests = calloc(1, sizeof *loadtests);
    if (!loadtests || pthread_mutex_init(&loadtests->lock, NULL) != 0) {
        free(loadtests);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for load tests");
    }
    loadtests->options = *options;
    loadtests->child = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    loadtests->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loadtests->wake < 0 || !find_own(options, loadtests->own)) {
        status = limoe_fail(err, LIMOE_INTERNAL, "cannot prepare load tests: %s", strerror(errno));
        loadtests_free(loadtests);
        return status;
    }
    *out = loadtests;
    return LIMOE_OK;
}

static void free_test(struct loadtest *test) {
    explicit_bzero(test->key, sizeof test->key);
    buffer_free(&test->progress);
    buffer_free(&test->result);
    free(test);
}

void loadtests_free(struct loadtests *loadtests) {
    if (!loadtests)
        return;
    process_kill(&loadtests->child, NULL);
    for (size_t i = 0; i < loadtests->n; i++)
        free_test(loadtests->kept[i]);
    buffer_free(&loadtests->line);
    if (loadtests->wake >= 0)
        close(loadtests->wake);
    pthread_mutex_destroy(&loadtests->lock);
    free(loadtests);
}

/* ---- records */

bool loadtest_ended(const struct loadtest *test) {
    return test->state >= LOADTEST_DONE;
}

struct loadtest *loadtests_current(struct loadtests *loadtests) {
    struct loadtest *newest = loadtests->n ? loadtests->kept[loadtests->n - 1] : NULL;
    return newest && !loadtest_ended(newest) ? newest : NULL;
}

/* The newest last; the oldest goes when there are too many, all of which have ended. */
static void add(struct loadtests *loadtests, struct loadtest *test) {
    if (loadtests->n == LOADTESTS_KEPT + 1) {
        free_test(loadtests->kept[0]);
        loadtests->n--;
        for (size_t i = 0; i < loadtests->n; i++)
            loadtests->kept[i] = loadtests->kept[i + 1];
    }
    loadtests->kept[loadtests->n++] = test;
}

static void copy(char *out, size_t size, struct text *text) {
    if (!text->data)
        return;
    snprintf(out, size, "%.*s", (int)text->size, text->data);
    *text = text_of(out);
}

/* The key of "Bearer KEY". */
static void keep_key(struct loadtest *test, const char *authorization) {
    static const char scheme[] = "Bearer ";
    const size_t length = sizeof scheme - 1;
    if (!authorization || strncasecmp(authorization, scheme, length) != 0)
        return;
    authorization += length;
    snprintf(test->key, sizeof test->key, "%s", authorization + strspn(authorization, " "));
}

static struct loadtest *new_test(const struct loadtest_request *request, const char *authorization) {
    struct loadtest *test = calloc(1, sizeof *test);
    if (!test)
        return NULL;
    test->created = (int64_t)time(NULL);
    test->request = *request;
    copy(test->target, sizeof test->target, &test->request.target);
    copy(test->model, sizeof test->model, &test->request.model);
    if (!request->target.data) /* a key of this server is no other's business */
        keep_key(test, authorization);
    return test;
}

bool loadtests_start(struct loadtests *loadtests, const struct loadtest_request *request,
                     const char *authorization, struct buffer *out, struct api_error *error) {
    struct loadtest *test = new_test(request, authorization);
    if (!test)
        return api_fail_memory(error);
    pthread_mutex_lock(&loadtests->lock);
    const struct loadtest *other = loadtests_current(loadtests);
    if (other)
        api_fail(error, 409, "loadtest_running", NULL,
                 "the load test %s has not ended; one runs at a time: wait for it, or DELETE "
                 "/v1/loadtests/%s",
                 other->id, other->id);
    else {
        snprintf(test->id, sizeof test->id, "lt-%llu", (unsigned long long)++loadtests->count);
        add(loadtests, test);
        loadtest_write(test, out);
    }
    pthread_mutex_unlock(&loadtests->lock);
    if (other)
        free_test(test);
    else
        event_signal(loadtests->wake);
    return !other;
}

void loadtests_list(struct loadtests *loadtests, struct buffer *out) {
    buffer_string(out, "{\"object\":\"list\",\"data\":[");
    pthread_mutex_lock(&loadtests->lock);
    for (size_t i = loadtests->n; i-- > 0;) {
        loadtest_write(loadtests->kept[i], out);
        buffer_string(out, i ? "," : "");
    }
    pthread_mutex_unlock(&loadtests->lock);
    buffer_string(out, "]}");
}

/* NULL, with *error: there is none of that id. */
static struct loadtest *find(struct loadtests *loadtests, struct text id, struct api_error *error) {
    char quoted[64];
    for (size_t i = 0; i < loadtests->n; i++)
        if (text_is(id, loadtests->kept[i]->id))
            return loadtests->kept[i];
    api_fail(error, 404, "loadtest_not_found", NULL,
             "there is no load test \"%s\"; GET /v1/loadtests lists the %zu that are kept",
             text_quote(id, quoted, sizeof quoted), loadtests->n);
    return NULL;
}

bool loadtests_get(struct loadtests *loadtests, struct text id, struct buffer *out, struct api_error *error) {
    pthread_mutex_lock(&loadtests->lock);
    const struct loadtest *test = find(loadtests, id, error);
    if (test)
        loadtest_write(test, out);
    pthread_mutex_unlock(&loadtests->lock);
    return test;
}

/* The main thread tells the child. */
static void tell(struct loadtests *loadtests, struct loadtest *test, const char *why) {
    if (test->state == LOADTEST_STOPPING)
        return;
    test->state = LOADTEST_STOPPING;
    snprintf(test->why, sizeof test->why, "%s", why);
    event_signal(loadtests->wake);
}

bool loadtests_stop(struct loadtests *loadtests, struct text id, bool *ending, struct buffer *out,
                    struct api_error *error) {
    pthread_mutex_lock(&loadtests->lock);
    struct loadtest *test = find(loadtests, id, error);
    *ending = test && !loadtest_ended(test);
    if (*ending)
        tell(loadtests, test, "stopped by DELETE");
    if (test)
        loadtest_write(test, out);
    pthread_mutex_unlock(&loadtests->lock);
    return test;
}

void loadtests_stop_any(struct loadtests *loadtests, bool own, const char *why) {
    if (!loadtests)
        return;
    pthread_mutex_lock(&loadtests->lock);
    struct loadtest *test = loadtests_current(loadtests);
    if (test && !(own && test->request.target.data))
        tell(loadtests, test, why);
    pthread_mutex_unlock(&loadtests->lock);
}

pid_t loadtests_pid(struct loadtests *loadtests) {
    pthread_mutex_lock(&loadtests->lock);
    const pid_t pid = loadtests->child.pid > 0 ? loadtests->child.pid : 0;
    pthread_mutex_unlock(&loadtests->lock);
    return pid;
}
