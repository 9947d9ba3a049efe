/* nccl.c - NCCL with one rank, on one GPU: does what the exchange over NCCL (experts/nccl) rests on hold here?
 *
 *     nccl [--device cuda|cuda:N] [--seed N] [--quick] [--tiny] [--report FILE]
 *
 * NCCL refuses two ranks on one GPU, so this is what a machine with one can show: a communicator that does not
 * block is joined, the rank sends to itself and finds every byte, then the communicator is aborted while more
 * of that is under way, the stream comes to rest, and it is all done again. Each is timed. Calls are made as
 * the exchange makes them: each is followed by asking, until the communicator is no longer in progress.
 *
 * What does not come to its end within LIMIT is a failure; what hangs inside of NCCL is for the caller to end.
 */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gpu/arrays.h"
#include "bench/gpu/report.h"
#include "bench/gpu/setting.h"
#include "bench/timing.h"

enum { MAX_ROUNDS = 20 };
#define LIMIT 20.0 /* s */

/* Of all rounds. The stream and the buffers, of `bytes` each, are used again: an abort must leave them whole. */
struct test {
    struct report *report;
    cudaStream_t stream;
    unsigned char *from, *to; /* on the GPU */
    unsigned char *sent, *got;
    size_t bytes;
    int rounds, sends; /* sends: those that an abort meets */
    double join_ms[MAX_ROUNDS + 1], send_ms[MAX_ROUNDS + 1], abort_ms[MAX_ROUNDS];
    int under_way; /* aborts that met work which was not done */
};

static double now_ms(void) {
    return now() * 1e3;
}

static bool fail(struct test *t, const char *step, const char *why) {
    report_check(t->report, false, step, "%s", why);
    return false;
}

static bool on_gpu(struct test *t, const char *step, cudaError_t code) {
    return code == cudaSuccess || fail(t, step, cudaGetErrorString(code));
}

/* Asks until the communicator is no longer in progress after a call that has returned `result`. */
static bool settle(struct test *t, const char *step, ncclComm_t comm, ncclResult_t result) {
    const double end = now_ms() + LIMIT * 1e3;
    while (result == ncclInProgress) {
        if (now_ms() > end)
            return fail(t, step, "the communicator is in progress for ever");
        sched_yield();
        if (ncclCommGetAsyncError(comm, &result) != ncclSuccess)
            return fail(t, step, "the communicator does not answer");
    }
    return result == ncclSuccess || fail(t, step, ncclGetErrorString(result));
}

static bool rest(struct test *t, const char *step) {
    const double end = now_ms() + LIMIT * 1e3;
    cudaError_t code;
    while ((code = cudaStreamQuery(t->stream)) == cudaErrorNotReady) {
        if (now_ms() > end)
            return fail(t, step, "the stream does not come to its end");
        sched_yield();
    }
    return on_gpu(t, step, code);
}

static bool join(struct test *t, ncclComm_t *comm) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    config.blocking = 0;
    ncclResult_t result = ncclGetUniqueId(&id);
    if (result != ncclSuccess)
        return fail(t, "join", ncclGetErrorString(result));
    result = ncclCommInitRankConfig(comm, 1, id, 0, &config);
    return settle(t, "join", *comm, result);
}

/* So many sends to itself, as one operation. */
static bool queue_sends(struct test *t, const char *step, ncclComm_t comm, int sends) {
    ncclResult_t result = ncclGroupStart();
    for (int i = 0; i < sends && result == ncclSuccess; i++) {
        result = ncclSend(t->from, t->bytes, ncclUint8, 0, comm, t->stream);
        if (result == ncclSuccess)
            result = ncclRecv(t->to, t->bytes, ncclUint8, 0, comm, t->stream);
    }
    const ncclResult_t ended = ncclGroupEnd();
    return settle(t, step, comm, result != ncclSuccess ? result : ended);
}

/* Other bytes than those of the round before, to where there are none of them. */
static bool fill(struct test *t, struct random *random) {
    for (size_t i = 0; i < t->bytes; i += sizeof(uint64_t)) {
        const uint64_t word = random_next(random);
        memcpy(t->sent + i, &word, sizeof word);
    }
    return on_gpu(t, "send",
                  cudaMemcpyAsync(t->from, t->sent, t->bytes, cudaMemcpyHostToDevice, t->stream)) &&
           on_gpu(t, "send", cudaMemsetAsync(t->to, 0, t->bytes, t->stream)) && rest(t, "send");
}

static bool arrived(struct test *t) {
    if (!on_gpu(t, "send", cudaMemcpyAsync(t->got, t->to, t->bytes, cudaMemcpyDeviceToHost, t->stream)) ||
        !rest(t, "send"))
        return false;
    return memcmp(t->got, t->sent, t->bytes) == 0 || fail(t, "send", "other bytes have arrived");
}

static bool abort_amid(struct test *t, ncclComm_t comm, int round) {
    if (!queue_sends(t, "sends to be aborted", comm, t->sends))
        return false;
    t->under_way += cudaStreamQuery(t->stream) == cudaErrorNotReady;
    const double begin = now_ms();
    const ncclResult_t result = ncclCommAbort(comm);
    if (result != ncclSuccess)
        return fail(t, "abort", ncclGetErrorString(result));
    const bool rested = rest(t, "abort");
    t->abort_ms[round] = now_ms() - begin;
    return rested;
}

static bool leave(struct test *t, ncclComm_t comm) {
    if (!settle(t, "leave", comm, ncclCommFinalize(comm)))
        return false;
    const ncclResult_t result = ncclCommDestroy(comm);
    return result == ncclSuccess || fail(t, "leave", ncclGetErrorString(result));
}

/* The last round is left as a rank leaves that is told to end. */
static bool run_round(struct test *t, struct random *random, int round) {
    ncclComm_t comm = NULL;
    double begin = now_ms();
    if (!join(t, &comm))
        return false;
    t->join_ms[round] = now_ms() - begin;
    if (!fill(t, random))
        return false;
    begin = now_ms();
    if (!queue_sends(t, "send", comm, 1) || !rest(t, "send"))
        return false;
    t->send_ms[round] = now_ms() - begin;
    if (!arrived(t))
        return false;
    return round < t->rounds ? abort_amid(t, comm, round) : leave(t, comm);
}

static double median_ms(double *ms, int n) {
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    return ms[n / 2];
}

static void tell(struct test *t) {
    const int n = t->rounds;
    const double first = t->join_ms[0], join_ms = median_ms(t->join_ms, n + 1);
    const double send_ms = median_ms(t->send_ms, n + 1), abort_ms = median_ms(t->abort_ms, n);
    report_check(t->report, true, "join, send, abort, again", "%d times; %d aborts met work under way", n,
                 t->under_way);
    if (!t->under_way)
        report_absent(t->report, "abort amid sends", "all sends were done before: they were too short");
    report_figure(t->report, "one rank, join", join_ms, "ms", 0, ", the first %.1f, at most %.1f", first,
                  t->join_ms[n]);
    report_figure(t->report, "one rank, send to itself", send_ms, "ms", 0, ", %zu bytes, at most %.2f ms",
                  t->bytes, t->send_ms[n]);
    report_figure(t->report, "one rank, abort", abort_ms, "ms", 0,
                  " until the stream is at rest, at most %.1f", t->abort_ms[n - 1]);
}

static bool open_gpu(struct test *t, const char *device) {
    const char *const colon = strchr(device, ':');
    return on_gpu(t, "the GPU", cudaSetDevice(colon ? atoi(colon + 1) : 0)) &&
           on_gpu(t, "the GPU", cudaStreamCreateWithFlags(&t->stream, cudaStreamNonBlocking)) &&
           on_gpu(t, "the GPU", cudaMalloc((void **)&t->from, t->bytes)) &&
           on_gpu(t, "the GPU", cudaMalloc((void **)&t->to, t->bytes));
}

int main(int argc, char **argv) {
    struct setting setting;
    struct report report;
    int gpus = 0;
    const int status = setting_read(argc, argv, &setting);
    if (status)
        return status;
    const cudaError_t code = cudaGetDeviceCount(&gpus);
    if (code != cudaSuccess || !gpus) {
        fprintf(stderr, "no GPU was found: %s\n", cudaGetErrorString(code));
        return 2;
    }
    if (!report_open(&report, "nccl", setting.report))
        return 1;
    struct test t = {.report = &report,
                     .bytes = setting.tiny ? (size_t)1 << 16 : (size_t)1 << 26,
                     .rounds = setting.quick ? 5 : MAX_ROUNDS,
                     .sends = setting.tiny ? 4 : 64};
    struct random random = random_seeded(setting.seed);
    t.sent = array_alloc(t.bytes);
    t.got = array_alloc(t.bytes);
    bool passed = open_gpu(&t, setting.device);
    for (int round = 0; passed && round <= t.rounds; round++)
        passed = run_round(&t, &random, round);
    if (passed)
        tell(&t);
    cudaFree(t.to);
    cudaFree(t.from);
    if (t.stream)
        cudaStreamDestroy(t.stream);
    free(t.got);
    free(t.sent);
    return report_close(&report);
}
