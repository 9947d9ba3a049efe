/* download.c - what libcurl is told, and what its end means.
 *
 * The wall is open_socket: libcurl asks it for each socket that it wants to connect, with the very address, after the name
 * was resolved. So it does not matter what a name resolves to at another time, or who else resolves it.
 */
#include "server/fetcher/download.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "limoe.h"

#define CONNECT_MS 5000u
#define HEAD_MOST  (64u << 10) /* bytes of an answer's head, interim answers' included */

/* ---- libcurl's questions */

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
    struct download *download = arg;
    const char *refusal =
        purpose == CURLSOCKTYPE_IPCXN
            ? address_refusal(&address->addr, (socklen_t)address->addrlen, &download->policy->networks)
            : "one that wants to connect to us";
    if (refusal) {
        download->refusal = refusal;
        return CURL_SOCKET_BAD;
    }
    const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    download->answer.opened++;
    return fd;
}

static size_t keep_body(char *bytes, size_t one, size_t n, void *arg) {
    struct download *download = arg;
    (void)one; /* always 1 */
    download->too_large = n > download->policy->most_bytes - download->body.size;
    if (download->too_large)
        return 0;
    buffer_bytes(&download->body, bytes, n);
    return download->body.failed ? 0 : n;
}

static size_t count_head(char *bytes, size_t one, size_t n, void *arg) {
    struct download *download = arg;
    (void)bytes, (void)one;
    download->head_bytes += n;
    download->too_long_a_head = download->head_bytes > HEAD_MOST;
    return download->too_long_a_head ? 0 : n;
}

/* ---- what it is told */

/* What is fetched is what target.c has read, not the client's string. False: no memory. */
static bool set_url(CURL *curl, const struct target *target) {
    char url[TARGET_HOST_SIZE + FETCH_URL_MOST + 32];
    const bool v6 = strchr(target->host, ':') != NULL;
    const bool slash = target->path.size && *target->path.data == '/';
    snprintf(url, sizeof url, "%s://%s%s%s:%u%s%.*s", target->http ? "http" : "https", v6 ? "[" : "",
             target->host, v6 ? "]" : "", target->port, slash ? "" : "/", (int)target->path.size,
             target->path.data);
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, target->http ? "http" : "https") == CURLE_OK;
}

/* Nothing but this one request, to this one host, from nobody in particular. */
static bool set_walls(CURL *curl) {
    return curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK && /* a kept one was judged before */
           curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_DNS_CACHE_TIMEOUT, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK && /* do not wait for a resolver */
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
}

static bool set_calls(struct download *download) {
    CURL *curl = download->curl;
    return curl_easy_setopt(curl, CURLOPT_PRIVATE, download) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, download) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, download) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, count_head) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HEADERDATA, download) == CURLE_OK;
}

static bool set_limits(CURL *curl, const struct download_policy *policy, uint32_t timeout_ms) {
    const uint32_t connect_ms = timeout_ms < CONNECT_MS ? timeout_ms : CONNECT_MS;
    return curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)policy->most_bytes) == CURLE_OK;
}

static bool set_headers(struct download *download) {
    download->headers = curl_slist_append(NULL, "Accept: image/*");
    return download->headers &&
           curl_easy_setopt(download->curl, CURLOPT_HTTPHEADER, download->headers) == CURLE_OK &&
           curl_easy_setopt(download->curl, CURLOPT_USERAGENT, "limoe/" LIMOE_VERSION) == CURLE_OK;
}

/* ---- life */

static void fail(struct download *download, enum fetch_outcome outcome, const char *message) {
    download->answer.outcome = outcome;
    snprintf(download->answer.message, sizeof download->answer.message, "%.*s", FETCH_MESSAGE_SIZE - 1,
             message);
}

/* Whether the URL may be asked for at all; otherwise the answer says why not. */
static bool judge(struct download *download, struct text url, struct target *target) {
    struct limoe_error err;
    if (target_read(url, target, &err) != LIMOE_OK) {
        fail(download, FETCH_REFUSED, err.message);
        return false;
    }
    if (target_is_allowed(target, &download->policy->rules))
        return true;
    fail(download, FETCH_REFUSED,
         "scheme, host and port of the URL are none that pictures may be fetched from (--image-hosts)");
    return false;
}

struct download *download_begin(const struct download_policy *policy, const struct fetch_ask *ask,
                                struct text url) {
    struct target target;
    struct download *download = calloc(1, sizeof *download);
    if (!download)
        return NULL;
    download->policy = policy;
    download->answer.id = ask->id;
    if (!judge(download, url, &target))
        return download;
    download->curl = curl_easy_init();
    if (download->curl && set_url(download->curl, &target) && set_walls(download->curl) &&
        set_calls(download) && set_limits(download->curl, policy, ask->timeout_ms) && set_headers(download))
        return download;
    download_free(download);
    return NULL;
}

static void let_go(struct download *download) {
    if (download->curl)
        curl_easy_cleanup(download->curl);
    download->curl = NULL;
    curl_slist_free_all(download->headers);
    download->headers = NULL;
}

/* An answer of HTTP came, whole. */
static void read_status(struct download *download) {
    char message[FETCH_MESSAGE_SIZE];
    long status = 0;
    curl_easy_getinfo(download->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200 && download->body.size) {
        download->answer.outcome = FETCH_DONE;
        return;
    }
    if (status == 200)
        snprintf(message, sizeof message, "the host answers with nothing");
    else
        snprintf(message, sizeof message, "the host answers %ld%s", status,
                 status >= 300 && status < 400 ? "; no redirect is followed" : "");
    fail(download, FETCH_FAILED, message);
}

static void explain(struct download *download, CURLcode code) {
    char message[FETCH_MESSAGE_SIZE];
    if (download->too_large || code == CURLE_FILESIZE_EXCEEDED) {
        snprintf(message, sizeof message, "what its URL names has more than %llu bytes (--image-bytes)",
                 (unsigned long long)download->policy->most_bytes);
        fail(download, FETCH_TOO_LARGE, message);
    } else if (download->refusal && !download->answer.opened) {
        snprintf(
            message, sizeof message,
            "the host of the URL has %s; accepted: addresses of the public Internet, and of the networks "
            "that --image-networks names",
            download->refusal);
        fail(download, FETCH_REFUSED, message);
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        fail(download, FETCH_LATE, "what its URL names has not come in time");
    } else if (code == CURLE_HTTP_RETURNED_ERROR) {
        read_status(download);
    } else {
        snprintf(message, sizeof message, "the URL cannot be fetched: %s",
                 download->too_long_a_head ? "the answer's head is too long" : curl_easy_strerror(code));
        fail(download, FETCH_FAILED, message);
    }
}

void download_end(struct download *download, CURLcode code) {
    if (code == CURLE_OK)
        read_status(download);
    else
        explain(download, code);
    let_go(download);
    if (download->answer.outcome != FETCH_DONE)
        buffer_free(&download->body);
    download->answer.size = download->body.size;
}

void download_free(struct download *download) {
    if (!download)
        return;
    let_go(download);
    buffer_free(&download->body);
    free(download);
}
