/* communicator.h - an emulated NCCL communicator: its state, its operations, and the thread that moves the
 * bytes.
 *
 * nccl.cpp makes operations of calls; communicator.cpp decides when an operation begins; folder.cpp and network.cpp
 * bring ranks together, on one host and on several; wire.cpp moves bytes. One thread of the communicator's own does all that, and alone touches the
 * connections.
 */
#ifndef LIMOE_TESTS_EMULATOR_COMMUNICATOR_H
#define LIMOE_TESTS_EMULATOR_COMMUNICATOR_H

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "nccl.h"
#include "tests/emulator/runtime.h"

namespace emulator {

/* What a message belongs to; both ends must agree. */
enum class kind : uint32_t { hello, ready, point_to_point, all_gather, all_reduce, bye };

struct header {
    uint32_t magic;
    kind what;
    uint64_t bytes;       /* of the message that follows */
    uint32_t rank, ranks; /* hello: of who connects */
    uint32_t type,
        reduce; /* all_reduce; hello over a network: the port and address where who connects listens */
};
constexpr uint32_t header_magic = 0x6c63636e;

struct transfer {
    unsigned char *memory;
    uint64_t bytes;
};

/* What is to be done once: by a call, or by each launch of the graph that captured it. */
struct operation {
    kind what;
    std::vector<std::deque<transfer>> send, receive; /* by peer; the own rank's are copied */
    /* all_reduce: of `count` elements of `type` at `from` */
    uint32_t type = 0, reduce = 0;
    const unsigned char *from = nullptr;
    unsigned char *to = nullptr;
    uint64_t count = 0;
    enum { idle, begun, done } state = idle; /* guarded by the communicator's lock */
};
using operation_ptr = std::shared_ptr<operation>;

struct peer {
    int socket = -1;
    bool gone = false;
    uint64_t sent = 0, received = 0; /* of the message in progress, its header included */
    header arriving;
};

struct communicator {
    int rank, ranks, device;
    bool blocking, losses_show;
    std::string id; /* where ranks meet: a folder, or "tcp:ADDRESS:PORT" of rank 0 */
    std::vector<peer> peers;
    int wake = -1, listening = -1; /* eventfd; socket */
    std::thread worker;

    std::mutex lock; /* of what follows */
    std::condition_variable changed;
    ncclResult_t state = ncclInProgress;
    std::string error;
    struct launch {
        operation_ptr o;
        cudaStream_t stream;
    };
    std::deque<launch> launches;     /* to be queued on their streams */
    std::deque<operation_ptr> begun; /* their streams have come to them */
    unsigned outstanding = 0;        /* operations on streams and not done; those of graphs are not counted */
    bool finalize = false, finalized = false;
    bool ended = false;            /* so has the thread */
    std::atomic<bool> stop{false}; /* aborted or destroyed: nothing is waited for */
};
using communicator_ptr = std::shared_ptr<communicator>;

/* ---- communicator.cpp */
communicator_ptr communicator_open(const std::string &id, int rank, int ranks, bool blocking);
/* Queues the operations, or hands them to the thread if the communicator does not block. */
ncclResult_t communicator_launch(const communicator_ptr &c, std::deque<communicator::launch> launches);
/* Ends the thread and the connections; what is on streams is as if done. */
void communicator_stop(const communicator_ptr &c);
void set_error(communicator &c, ncclResult_t result, const std::string &why);
void wake_worker(const communicator &c);
/* Sleeps until a connection is ready for the operation, or someone wakes the thread. */
void serve(const communicator_ptr &c);

/* ---- folder.cpp, network.cpp: each listens, connects to lower ranks, and is connected to by higher ones. False:
 * stopped, or an error was set. */
bool meet_in_folder(const communicator_ptr &c);
bool meet_over_network(const communicator_ptr &c);
/* Nothing is left of how they met. */
void remove_traces(const communicator &c);
bool is_over_network(const std::string &id);
/* Writes an id whose rank 0 will be in this process, or in a child of it. False: no such network. */
bool make_network_id(char *id, size_t size);
/* Takes the peer whose hello has come on the socket, which is closed if it is none. */
void take_peer(communicator &c, int s, const header &hello);
bool has_failed(communicator &c);

/* ---- wire.cpp */
/* Does it all with all peers. False: stopped. A peer that is lost is waited for until then. */
bool perform(const communicator_ptr &c, const operation &o);

} // namespace emulator
#endif
