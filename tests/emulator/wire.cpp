/* wire.cpp - bytes between the ranks of an emulated communicator: a stream socket for each pair of them.
 *
 * A message has a header, so that ranks which disagree on what they do end with a word on it, where NCCL
 * would hang or corrupt. A connection that ends while something is to go over it is a rank lost: an
 * asynchronous error, or, with LIMOE_TEST_EMULATED_NCCL_LOSS=hang, nothing at all. Either way the operation lasts
 * until the communicator is aborted.
 */
#include <cerrno>
#include <cstdlib>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/emulator/communicator.h"

namespace emulator {

/* ---- an operation */

/* What is left of an operation in progress. */
struct remaining {
    const operation &o;
    std::vector<std::deque<transfer>> send, receive;
};

static void lose(communicator &c, int rank) {
    peer &p = c.peers[(size_t)rank];
    p.gone = true;
    if (c.losses_show)
        set_error(c, ncclRemoteError, "the connection to rank " + std::to_string(rank) + " ended");
}

static header header_of(const operation &o, const transfer &t) {
    return {header_magic, o.what, t.bytes, 0, 0, o.type, o.reduce};
}

/* The part of a message, header first, that begins at `from`. */
static transfer part(header &h, const transfer &t, uint64_t from) {
    if (from < sizeof h)
        return {(unsigned char *)&h + from, sizeof h - from};
    return {t.memory + (from - sizeof h), t.bytes - (from - sizeof h)};
}

static void pump_out(communicator &c, int rank, remaining &left) {
    peer &p = c.peers[(size_t)rank];
    auto &queue = left.send[(size_t)rank];
    while (!p.gone && !queue.empty()) {
        header h = header_of(left.o, queue.front());
        const transfer t = part(h, queue.front(), p.sent);
        const ssize_t n = t.bytes ? send(p.socket, t.memory, t.bytes, MSG_NOSIGNAL) : 0;
        if (n < 0 && errno == EFAULT)
            die("nccl: what is to be sent to rank %d was freed", rank);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            return lose(c, rank);
        p.sent += (uint64_t)n;
        if (p.sent == sizeof h + queue.front().bytes) {
            p.sent = 0;
            queue.pop_front();
        }
    }
}

static void check_agreement(const communicator &c, int rank, const header &got, const header &wanted) {
    static const char *const name[] = {"connects", "is ready", "sends", "gathers", "reduces", "leaves"};
    if (got.magic != header_magic || got.what > kind::bye)
        die("nccl: nonsense from rank %d", rank);
    if (got.what != wanted.what || got.bytes != wanted.bytes || got.type != wanted.type ||
        got.reduce != wanted.reduce)
        die("nccl: rank %d %s (%llu bytes, type %u, op %u) where rank %d expects that it %s (%llu bytes, "
            "type %u, op %u)",
            rank, name[(int)got.what], (unsigned long long)got.bytes, got.type, got.reduce, c.rank,
            name[(int)wanted.what], (unsigned long long)wanted.bytes, wanted.type, wanted.reduce);
}

static void pump_in(communicator &c, int rank, remaining &left) {
    peer &p = c.peers[(size_t)rank];
    auto &queue = left.receive[(size_t)rank];
    while (!p.gone && !queue.empty()) {
        const transfer t = part(p.arriving, queue.front(), p.received);
        const ssize_t n = t.bytes ? recv(p.socket, t.memory, t.bytes, 0) : 0;
        if (n < 0 && errno == EFAULT)
            die("nccl: what is to be received from rank %d goes to memory that was freed", rank);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0 || (!n && t.bytes))
            return lose(c, rank);
        p.received += (uint64_t)n;
        if (p.received == sizeof p.arriving)
            check_agreement(c, rank, p.arriving, header_of(left.o, queue.front()));
        if (p.received >= sizeof p.arriving && p.received == sizeof p.arriving + queue.front().bytes) {
            p.received = 0;
            queue.pop_front();
        }
    }
}

/* Sleeps until something can go on, or the thread is woken. */
static void wait_for_peers(const communicator_ptr &c, const remaining &left) {
    std::vector<pollfd> fds = {{c->wake, POLLIN, 0}};
    for (size_t r = 0; r < c->peers.size(); r++)
        if (!c->peers[r].gone && (!left.send[r].empty() || !left.receive[r].empty()))
            fds.push_back(
                {c->peers[r].socket,
                 (short)((left.send[r].empty() ? 0 : POLLOUT) | (left.receive[r].empty() ? 0 : POLLIN)), 0});
    if (poll(fds.data(), fds.size(), -1) > 0 && (fds[0].revents & POLLIN)) {
        uint64_t times;
        if (read(c->wake, &times, sizeof times) < 0)
            return;
    }
    serve(c);
}

static bool is_done(const remaining &left) {
    for (size_t r = 0; r < left.send.size(); r++)
        if (!left.send[r].empty() || !left.receive[r].empty())
            return false;
    return true;
}

/* What a rank sends to itself. */
static void copy_own(const communicator &c, remaining &left) {
    auto &send = left.send[(size_t)c.rank], &receive = left.receive[(size_t)c.rank];
    if (send.size() != receive.size())
        die("nccl: rank %d sends itself %zu messages and receives %zu", c.rank, send.size(), receive.size());
    for (; !send.empty(); send.pop_front(), receive.pop_front()) {
        if (send.front().bytes != receive.front().bytes)
            die("nccl: rank %d sends itself %llu bytes and receives %llu", c.rank,
                (unsigned long long)send.front().bytes, (unsigned long long)receive.front().bytes);
        if (send.front().bytes)
            memmove(receive.front().memory, send.front().memory, send.front().bytes);
    }
}

/* So that what is read before it has come shows. */
static void spoil(const communicator &c, const remaining &left) {
    for (size_t r = 0; r < left.receive.size(); r++)
        for (const transfer &t : left.receive[r])
            if ((int)r != c.rank && t.bytes)
                fill_garbage(t.memory, t.bytes);
}

static bool pump(const communicator_ptr &c, remaining &left) {
    copy_own(*c, left);
    spoil(*c, left);
    while (!c->stop) {
        for (int r = 0; r < c->ranks; r++)
            if (r != c->rank) {
                pump_out(*c, r, left);
                pump_in(*c, r, left);
            }
        if (is_done(left))
            return true;
        wait_for_peers(c, left);
    }
    return false;
}

/* ---- reductions */

template <typename T> static void reduce(T *to, const T *with, uint64_t n, uint32_t how) {
    for (uint64_t i = 0; i < n; i++)
        switch (how) {
        case ncclSum:
            to[i] = (T)(to[i] + with[i]);
            break;
        case ncclProd:
            to[i] = (T)(to[i] * with[i]);
            break;
        case ncclMax:
            to[i] = to[i] > with[i] ? to[i] : with[i];
            break;
        default:
            to[i] = to[i] < with[i] ? to[i] : with[i];
        }
}

static void reduce_bytes(unsigned char *to, const unsigned char *with, const operation &o) {
    switch (o.type) {
    case ncclInt32:
        return reduce((int32_t *)to, (const int32_t *)with, o.count, o.reduce);
    case ncclUint32:
        return reduce((uint32_t *)to, (const uint32_t *)with, o.count, o.reduce);
    case ncclInt64:
        return reduce((int64_t *)to, (const int64_t *)with, o.count, o.reduce);
    case ncclUint64:
        return reduce((uint64_t *)to, (const uint64_t *)with, o.count, o.reduce);
    case ncclFloat32:
        return reduce((float *)to, (const float *)with, o.count, o.reduce);
    case ncclFloat64:
        return reduce((double *)to, (const double *)with, o.count, o.reduce);
    case ncclUint8:
        return reduce(to, with, o.count, o.reduce);
    default:
        return reduce((int8_t *)to, (const int8_t *)with, o.count, o.reduce);
    }
}

/* Every rank sends its elements to all; each reduces in the order of ranks, so all have the same. */
static bool perform_reduction(const communicator_ptr &c, const operation &o, uint64_t bytes) {
    const auto ranks = (size_t)c->ranks;
    std::vector<std::vector<unsigned char>> parts(ranks, std::vector<unsigned char>(bytes));
    remaining left = {o, {}, {}};
    left.send.resize(ranks);
    left.receive.resize(ranks);
    for (size_t r = 0; r < ranks; r++) {
        left.send[r].push_back({(unsigned char *)o.from, bytes});
        left.receive[r].push_back({parts[r].data(), bytes});
    }
    if (!pump(c, left))
        return false;
    for (size_t r = 1; r < ranks; r++)
        reduce_bytes(parts[0].data(), parts[r].data(), o);
    if (bytes)
        memcpy(o.to, parts[0].data(), bytes);
    return true;
}

bool perform(const communicator_ptr &c, const operation &o) {
    static const uint64_t size[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
    if (o.what == kind::all_reduce)
        return perform_reduction(c, o, o.count * size[o.type]);
    remaining left = {o, o.send, o.receive};
    return pump(c, left);
}

} // namespace emulator
