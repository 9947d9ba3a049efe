/* copy.cpp - copies and fills on streams.
 *
 * As on a device: what lies in pageable memory is read before the call returns, and what is to come there is
 * waited for; pinned memory is read and written only when the stream gets there.
 */
#include "tests/emulator/queue.h"

using namespace emulator;

namespace emulator {

struct rows {
    unsigned char *to;
    const unsigned char *from;
    size_t to_pitch, from_pitch, width, height;
};

static size_t extent(size_t pitch, const rows &r) {
    return r.height ? (r.height - 1) * pitch + r.width : 0;
}

static void copy_now(const rows &r) {
    for (size_t i = 0; i < r.height; i++)
        memmove(r.to + i * r.to_pitch, r.from + i * r.from_pitch, r.width);
}

/* Whether each end is where the direction says. */
static bool direction_fits(const rows &r, cudaMemcpyKind kind) {
    const bool to_device = kind_of(r.to, extent(r.to_pitch, r)) == memory::device;
    const bool from_device = kind_of(r.from, extent(r.from_pitch, r)) == memory::device;
    /* A range that only begins in device memory is in none. */
    const bool to_broken = !to_device && kind_of(r.to, 0) == memory::device;
    const bool from_broken = !from_device && kind_of(r.from, 0) == memory::device;
    if (to_broken || from_broken)
        return false;
    switch (kind) {
    case cudaMemcpyHostToHost:
        return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
        return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
        return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
        return to_device && from_device;
    case cudaMemcpyDefault:
        return true;
    }
    return false;
}

static cudaError_t copy(rows r, cudaMemcpyKind kind, cudaStream_t stream, bool wait) {
    if ((unsigned)kind > cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    if (r.width > r.to_pitch || r.width > r.from_pitch)
        return cudaErrorInvalidPitchValue;
    if (context_is_broken() || !r.width || !r.height)
        return cudaSuccess;
    if (!direction_fits(r, kind))
        return cudaErrorInvalidValue;
    task t = [r] {
        if (!context_is_broken())
            copy_now(r);
        return true;
    };
    const bool captured = is_capturing(stream);
    if (!captured && kind_of(r.from, extent(r.from_pitch, r)) == memory::unknown) {
        auto staged = std::make_shared<std::vector<unsigned char>>(r.width * r.height);
        copy_now({staged->data(), r.from, r.width, r.from_pitch, r.width, r.height});
        t = [r, staged] {
            if (!context_is_broken())
                copy_now({r.to, staged->data(), r.to_pitch, r.width, r.width, r.height});
            return true;
        };
    }
    if (!captured && kind_of(r.to, extent(r.to_pitch, r)) == memory::unknown)
        wait = true;
    const cudaError_t e = queue_task(stream, std::move(t));
    return e == cudaSuccess && wait ? cudaStreamSynchronize(stream) : e;
}

} // namespace emulator

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    return result(
        copy({(unsigned char *)to, (const unsigned char *)from, to_pitch, from_pitch, width, height}, kind,
             stream, false));
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                         size_t height, cudaMemcpyKind kind) {
    if (capture_forbids())
        return result(cudaErrorStreamCaptureUnsupported);
    return result(
        copy({(unsigned char *)to, (const unsigned char *)from, to_pitch, from_pitch, width, height}, kind,
             nullptr, true));
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpy2D(to, bytes, from, bytes, bytes, 1, kind);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream) {
    if (context_is_broken() || !bytes)
        return result(cudaSuccess);
    if (kind_of(p, bytes) == memory::unknown)
        return result(cudaErrorInvalidValue);
    return result(queue_task(stream, [p, value, bytes] {
        if (!context_is_broken())
            memset(p, value, bytes);
        return true;
    }));
}

cudaError_t cudaMemset(void *p, int value, size_t bytes) {
    if (capture_forbids())
        return result(cudaErrorStreamCaptureUnsupported);
    const cudaError_t e = cudaMemsetAsync(p, value, bytes, nullptr);
    return e == cudaSuccess ? cudaStreamSynchronize(nullptr) : e;
}
