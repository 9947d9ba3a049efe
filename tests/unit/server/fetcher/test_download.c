/* test_download.c - protects the wall: whatever a name is resolved to, and to something else the next time, no socket is
 * opened to an address that is not allowed; and what is kept of an answer is bounded. Names are resolved by what the tests
 * say, not by the network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/fetcher/download.h"

static int listening;
static unsigned port;
static struct download_policy policy;
static pthread_t host;
static _Atomic(const char *) said; /* by the host, to each who asks */
static atomic_uint connected;      /* how many have */

/* ---- a host on the loopback address */

static void say(int fd) {
    char request[4096];
    size_t size = 0;
    while (size < sizeof request - 1) {
        const ssize_t more = recv(fd, request + size, sizeof request - 1 - size, 0);
        if (more <= 0)
            return;
        size += (size_t)more;
        request[size] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    const char *bytes = said;
    for (ssize_t sent; *bytes && (sent = send(fd, bytes, strlen(bytes), MSG_NOSIGNAL)) > 0;)
        bytes += sent;
    shutdown(fd, SHUT_WR);
    while (recv(fd, request, sizeof request, 0) > 0)
        continue;
}

static void *run_host(void *arg) {
    for (int fd; (fd = accept(listening, NULL, NULL)) >= 0;) {
        connected++;
        say(fd);
        close(fd);
    }
    return arg;
}

static int open_host(void **state) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char rules[80];
    struct limoe_error err;
    (void)state;
    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listening, 8), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(pthread_create(&host, NULL, run_host, NULL), 0);
    port = ntohs(address.sin_port);
    snprintf(rules, sizeof rules, "http://pictures.example:%u", port);
    policy = (struct download_policy){.most_bytes = 100};
    assert_int_equal(target_read_rules(rules, "image-hosts", &policy.rules, &err), LIMOE_OK);
    return 0;
}

static int close_host(void **state) {
    (void)state;
    shutdown(listening, SHUT_RDWR);
    pthread_join(host, NULL);
    return close(listening);
}

/* ---- a download */

static CURLcode perform(CURL *curl) {
    CURLM *multi = curl_multi_init();
    curl_multi_add_handle(multi, curl);
    for (int running = 1; running;) {
        curl_multi_perform(multi, &running);
        curl_multi_poll(multi, NULL, 0, 100, NULL);
    }
    int left;
    const CURLMsg *message = curl_multi_info_read(multi, &left);
    assert_non_null(message);
    const CURLcode code = message->data.result;
    curl_multi_remove_handle(multi, curl);
    curl_multi_cleanup(multi);
    return code;
}

/* Downloads from pictures.example, which resolves to these addresses. Returns how often the host was connected to. */
static unsigned fetch(const char *addresses, const char *bytes, struct fetch_answer *out) {
    char url[80], resolved[200];
    const struct fetch_ask ask = {.id = 7, .timeout_ms = 5000};
    snprintf(url, sizeof url, "http://pictures.example:%u/a.png", port);
    snprintf(resolved, sizeof resolved, "pictures.example:%u:%s", port, addresses);
    struct download *download = download_begin(&policy, &ask, text_of(url));
    struct curl_slist *names = curl_slist_append(NULL, resolved);
    assert_non_null(download);
    assert_non_null(download->curl);
    curl_easy_setopt(download->curl, CURLOPT_RESOLVE, names);
    said = bytes;
    connected = 0;
    download_end(download, perform(download->curl));
    *out = download->answer;
    download_free(download);
    curl_slist_free_all(names);
    return connected;
}

#define PICTURE "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nPNG"

static void allow(const char *networks) {
    struct limoe_error err;
    policy.networks = (struct address_networks){0};
    if (networks)
        assert_int_equal(address_read_networks(networks, "image-networks", &policy.networks, &err), LIMOE_OK);
}

static void a_name_is_judged_by_what_it_is_resolved_to(void **state) {
    (void)state;
    static const char *const addresses[] = {"127.0.0.1",
                                            "10.0.0.1",
                                            "169.254.169.254",
                                            "0.0.0.0",
                                            "[::1]",
                                            "[::ffff:127.0.0.1]",
                                            "[64:ff9b::7f00:1]",
                                            "127.0.0.1,10.0.0.1",
                                            "[fe80::1],127.0.0.1"};
    struct fetch_answer answer;
    allow(NULL);
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        assert_int_equal(fetch(addresses[i], PICTURE, &answer), 0);
        assert_int_equal(answer.outcome, FETCH_REFUSED);
        assert_int_equal(answer.opened, 0);
        assert_int_equal(answer.size, 0);
        assert_non_null(strstr(answer.message, "accepted: addresses of the public Internet"));
    }
}

static void a_name_that_changes_is_judged_each_time(void **state) {
    (void)state;
    struct fetch_answer answer;
    allow("127.0.0.0/8");
    assert_int_equal(fetch("127.0.0.1", PICTURE, &answer), 1);
    assert_int_equal(answer.outcome, FETCH_DONE);
    assert_int_equal(answer.opened, 1);
    assert_int_equal(answer.size, 3);
    assert_int_equal(fetch("10.0.0.1", PICTURE, &answer), 0);
    assert_int_equal(answer.outcome, FETCH_REFUSED);
    assert_int_equal(answer.opened, 0);
}

/* Of several addresses only those that are allowed are tried. */
static void each_address_is_judged(void **state) {
    (void)state;
    struct fetch_answer answer;
    allow("127.0.0.0/8");
    assert_int_equal(fetch("10.0.0.1,127.0.0.1", PICTURE, &answer), 1);
    assert_int_equal(answer.outcome, FETCH_DONE);
    assert_int_equal(answer.opened, 1);
}

static void what_is_kept_is_bounded(void **state) {
    (void)state;
    static char bytes[100000];
    struct fetch_answer answer;
    allow("127.0.0.0/8");
    fetch("127.0.0.1", "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\nPNG", &answer);
    assert_int_equal(answer.outcome, FETCH_TOO_LARGE);
    snprintf(bytes, sizeof bytes, "HTTP/1.1 200 OK\r\n\r\n%0101d", 0); /* to the connection's end */
    fetch("127.0.0.1", bytes, &answer);
    assert_int_equal(answer.outcome, FETCH_TOO_LARGE);
    snprintf(bytes, sizeof bytes, "HTTP/1.1 200 OK\r\n\r\n%0100d", 0);
    fetch("127.0.0.1", bytes, &answer);
    assert_int_equal(answer.outcome, FETCH_DONE);
    assert_int_equal(answer.size, 100);
    snprintf(bytes, sizeof bytes, "HTTP/1.1 200 OK\r\nA: %070000d\r\n\r\nPNG", 0);
    fetch("127.0.0.1", bytes, &answer);
    assert_int_equal(answer.outcome, FETCH_FAILED);
    assert_non_null(strstr(answer.message, "head is too long"));
}

static void what_is_no_picture_says_why(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *message;
    } cases[] = {
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nPNG", "answers 404"},
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "no redirect"},
        {"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nPNG", "answers 206"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "with nothing"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nPNG", "cannot be fetched"},
        {"SSH-2.0-a\r\n", "cannot be fetched"},
    };
    struct fetch_answer answer;
    allow("127.0.0.0/8");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(fetch("127.0.0.1", cases[i].bytes, &answer), 1);
        assert_int_equal(answer.outcome, FETCH_FAILED);
        assert_int_equal(answer.size, 0);
        if (!strstr(answer.message, cases[i].message))
            fail_msg("%s: %s", cases[i].bytes, answer.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_judged_by_what_it_is_resolved_to),
        cmocka_unit_test(a_name_that_changes_is_judged_each_time),
        cmocka_unit_test(each_address_is_judged),
        cmocka_unit_test(what_is_kept_is_bounded),
        cmocka_unit_test(what_is_no_picture_says_why),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
