/* network.cpp - how the ranks of an emulated communicator find each other on several hosts: by TCP, as NCCL does.
 *
 * The unique id says where rank 0 listens: at the address of the network interface that NCCL_SOCKET_IFNAME names (of
 * several, divided by commas, the first that is there). The others connect to it and say where they listen
 * themselves; once it has all, it tells each where the others are, and those connect to the ones below them.
 *
 * A host that is cut off is no error here: what is to come from it never does, until the communicator is aborted.
 */
#include <arpa/inet.h>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <ifaddrs.h>
#include <map>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sstream>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/emulator/communicator.h"

namespace emulator {

/* Listening sockets of ids whose rank 0 has not taken its own yet. */
static std::mutex roots_lock;
static std::map<std::string, int> roots;

bool is_over_network(const std::string &id) {
    return id.compare(0, 4, "tcp:") == 0;
}

static bool find_address(sockaddr_in *out) {
    std::istringstream names(getenv("NCCL_SOCKET_IFNAME"));
    ifaddrs *all = nullptr;
    bool found = false;
    if (getifaddrs(&all))
        return false;
    for (std::string name; !found && std::getline(names, name, ',');)
        for (const ifaddrs *at = all; at && !found; at = at->ifa_next)
            if (at->ifa_addr && at->ifa_addr->sa_family == AF_INET && name == at->ifa_name) {
                memcpy(out, at->ifa_addr, sizeof *out);
                found = true;
            }
    freeifaddrs(all);
    return found;
}

/* A listening socket at the interface, and where that is; -1: none. */
static int listen_at_interface(sockaddr_in *where) {
    socklen_t size = sizeof *where;
    const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return -1;
    if (find_address(where)) {
        where->sin_port = 0;
        if (!bind(s, (const sockaddr *)where, size) && !listen(s, 64) &&
            !getsockname(s, (sockaddr *)where, &size))
            return s;
    }
    close(s);
    return -1;
}

bool make_network_id(char *id, size_t size) {
    sockaddr_in where = {};
    char address[INET_ADDRSTRLEN];
    const int s = listen_at_interface(&where);
    if (s < 0)
        return false;
    snprintf(id, size, "tcp:%s:%d", inet_ntop(AF_INET, &where.sin_addr, address, sizeof address),
             ntohs(where.sin_port));
    std::lock_guard<std::mutex> guard(roots_lock);
    roots[id] = s;
    return true;
}

static int take_root(const std::string &id) {
    std::lock_guard<std::mutex> guard(roots_lock);
    const auto found = roots.find(id);
    const int s = found == roots.end() ? -1 : found->second;
    if (s >= 0)
        roots.erase(found);
    return s;
}

static sockaddr_in address_in(const std::string &id) {
    sockaddr_in a = {};
    const size_t colon = id.rfind(':');
    a.sin_family = AF_INET;
    inet_pton(AF_INET, id.substr(4, colon - 4).c_str(), &a.sin_addr);
    a.sin_port = htons((uint16_t)atoi(id.c_str() + colon + 1));
    return a;
}

/* Waits for the socket, a moment at a time. False: stopped, or the communicator has failed. */
static bool await(communicator &c, int s, short events) {
    pollfd fd = {s, events, 0};
    while (!c.stop && !has_failed(c))
        if (poll(&fd, 1, 10) == 1)
            return true;
    return false;
}

/* Until there is who listens. -1: stopped. */
static int connect_to(communicator &c, const sockaddr_in &there) {
    const int on = 1;
    while (!c.stop && !has_failed(c)) {
        int error = 0;
        socklen_t size = sizeof error;
        const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s < 0)
            return -1;
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (!connect(s, (const sockaddr *)&there, sizeof there) ||
            (errno == EINPROGRESS && await(c, s, POLLOUT) &&
             !getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &size) && !error))
            return s;
        close(s);
        usleep(5000);
    }
    return -1;
}

/* All of it, whatever pieces it comes in. False: stopped, or the other has ended. */
static bool receive(communicator &c, int s, void *to, size_t size) {
    for (size_t got = 0; got < size;) {
        if (!await(c, s, POLLIN))
            return false;
        const ssize_t n = recv(s, (char *)to + got, size - got, 0);
        if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        got += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* A little that a new socket has room for. */
static bool say(int s, const void *from, size_t size) {
    return send(s, from, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* Says who connects, and where it listens. */
static bool introduce(communicator &c, int rank, const sockaddr_in &there, const sockaddr_in &own) {
    const header hello = {header_magic, kind::hello,        0, (uint32_t)c.rank, (uint32_t)c.ranks,
                          own.sin_port, own.sin_addr.s_addr};
    const int s = connect_to(c, there);
    c.peers[(size_t)rank].socket = s;
    return s >= 0 && say(s, &hello, sizeof hello);
}

/* Of those that connect, until all ranks above this one have; where[rank] is where it listens. */
static bool accept_all(communicator &c, std::vector<sockaddr_in> &where) {
    const int on = 1;
    int missing = c.ranks - 1 - c.rank;
    while (missing > 0 && await(c, c.listening, POLLIN)) {
        header hello;
        const int s = accept4(c.listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (s < 0)
            continue;
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (!receive(c, s, &hello, sizeof hello)) {
            close(s);
            continue;
        }
        take_peer(c, s, hello);
        if (hello.rank < (uint32_t)c.ranks && c.peers[hello.rank].socket == s) {
            where[hello.rank].sin_family = AF_INET;
            where[hello.rank].sin_port = (in_port_t)hello.type;
            where[hello.rank].sin_addr.s_addr = hello.reduce;
            missing--;
        }
    }
    return missing == 0;
}

static bool meet_as_root(communicator &c, std::vector<sockaddr_in> &where) {
    if ((c.listening = take_root(c.id)) < 0) {
        set_error(c, ncclInvalidUsage, "rank 0 is not where the unique id was made");
        return false;
    }
    bool told = accept_all(c, where);
    for (int r = 1; told && r < c.ranks; r++)
        told = say(c.peers[(size_t)r].socket, where.data(), where.size() * sizeof where[0]);
    return told;
}

bool meet_over_network(const communicator_ptr &c) {
    std::vector<sockaddr_in> where((size_t)c->ranks);
    sockaddr_in own = {};
    if (!c->rank)
        return meet_as_root(*c, where);
    if ((c->listening = listen_at_interface(&own)) < 0) {
        set_error(*c, ncclSystemError, "no interface that NCCL_SOCKET_IFNAME names");
        return false;
    }
    bool well = introduce(*c, 0, address_in(c->id), own) &&
                receive(*c, c->peers[0].socket, where.data(), where.size() * sizeof where[0]);
    for (int r = 1; well && r < c->rank; r++)
        well = introduce(*c, r, where[(size_t)r], own);
    return well && accept_all(*c, where);
}

} // namespace emulator
