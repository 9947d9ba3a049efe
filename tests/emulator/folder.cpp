/* folder.cpp - how the ranks of an emulated communicator find each other on one host: in the folder that the unique
 * id names. Rank r listens at FOLDER/r, and connects to those below it. Once all are connected nothing is left of
 * the folder.
 */
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/emulator/communicator.h"

namespace emulator {

static sockaddr_un address_of(const communicator &c, int rank) {
    sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    snprintf(a.sun_path, sizeof a.sun_path, "%s/%d", c.id.c_str(), rank);
    return a;
}

void remove_traces(const communicator &c) {
    const sockaddr_un own = address_of(c, c.rank);
    if (c.listening >= 0)
        close(c.listening);
    const_cast<communicator &>(c).listening = -1;
    if (is_over_network(c.id))
        return;
    unlink(own.sun_path);
    rmdir(c.id.c_str()); /* the last rank's goes through */
}

static bool listen_here(communicator &c) {
    const sockaddr_un own = address_of(c, c.rank);
    c.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c.listening < 0 || bind(c.listening, (const sockaddr *)&own, sizeof own) ||
        listen(c.listening, c.ranks)) {
        set_error(c, ncclSystemError,
                  std::string("cannot listen at ") + own.sun_path + ": " + strerror(errno));
        return false;
    }
    return true;
}

static bool connect_to(communicator &c, int rank) {
    const sockaddr_un there = address_of(c, rank);
    const int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const header hello = {header_magic, kind::hello, 0, (uint32_t)c.rank, (uint32_t)c.ranks, 0, 0};
    if (s < 0)
        return false;
    if (connect(s, (const sockaddr *)&there, sizeof there) ||
        send(s, &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello || fcntl(s, F_SETFL, O_NONBLOCK)) {
        close(s);
        return false;
    }
    c.peers[(size_t)rank].socket = s;
    return true;
}

/* One of those that connect. Its hello is on the way, or it is dead. */
static void accept_one(communicator &c) {
    const int s = accept4(c.listening, nullptr, nullptr, SOCK_CLOEXEC);
    header hello;
    if (s >= 0 && recv(s, &hello, sizeof hello, MSG_WAITALL) == sizeof hello)
        take_peer(c, s, hello);
    else if (s >= 0)
        close(s);
}

void take_peer(communicator &c, int s, const header &hello) {
    if (hello.magic != header_magic || fcntl(s, F_SETFL, O_NONBLOCK)) {
        close(s);
        return;
    }
    if (hello.ranks != (uint32_t)c.ranks || hello.rank <= (uint32_t)c.rank || hello.rank >= hello.ranks ||
        c.peers[hello.rank].socket >= 0) {
        set_error(c, ncclInvalidArgument,
                  "rank " + std::to_string(hello.rank) + " of " + std::to_string(hello.ranks) +
                      " comes to rank " + std::to_string(c.rank) + " of " + std::to_string(c.ranks));
        close(s);
        return;
    }
    c.peers[hello.rank].socket = s;
}

bool has_failed(communicator &c) {
    std::lock_guard<std::mutex> guard(c.lock);
    return c.state != ncclInProgress;
}

bool meet_in_folder(const communicator_ptr &c) {
    if (!listen_here(*c))
        return false;
    while (!c->stop && !has_failed(*c)) {
        int missing = 0;
        for (int r = 0; r < c->ranks; r++)
            if (r != c->rank && c->peers[(size_t)r].socket < 0)
                missing += r > c->rank || !connect_to(*c, r);
        if (!missing)
            return true;
        pollfd coming = {c->listening, POLLIN, 0};
        if (poll(&coming, 1, 2) == 1)
            accept_one(*c);
    }
    return false;
}

} // namespace emulator
