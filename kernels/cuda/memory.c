/* memory.c - device memory, and the way of host data to it and back.
 *
 * Host memory that is not pinned cannot be copied beside the host's work, so everything goes through slots of
 * pinned memory, in pieces. There are two ways in. upload() copies to where the caller says, in the order of
 * the compute stream. staging_take, _send, _done copy to the slot's own device memory on a second stream, so
 * that pictures travel while the stream works on those before them.
 */
#include <string.h>

#include "kernels/cuda/device.h"

bool staging_create(struct cuda *self) {
    struct staging *s = &self->staging;
    for (unsigned i = 0; i < STAGING_SLOTS; i++)
        if (!cuda_check(self, "pinned memory", cudaMallocHost((void **)&s->host[i], STAGING_BYTES)) ||
            !cuda_check(self, "device memory", cudaMalloc((void **)&s->device[i], STAGING_BYTES)) ||
            !cuda_check(self, "an event", cudaEventCreateWithFlags(&s->copied[i], cudaEventDisableTiming)) ||
            !cuda_check(self, "an event", cudaEventCreateWithFlags(&s->used[i], cudaEventDisableTiming)))
            return false;
    return true;
}

void staging_destroy(struct cuda *self) {
    struct staging *s = &self->staging;
    for (unsigned i = 0; i < STAGING_SLOTS; i++) {
        if (s->used[i])
            cudaEventDestroy(s->used[i]);
        if (s->copied[i])
            cudaEventDestroy(s->copied[i]);
        cudaFree(s->device[i]);
        cudaFreeHost(s->host[i]);
    }
}

unsigned char *staging_take(struct cuda *self) {
    struct staging *s = &self->staging;
    return cuda_check(self, "waiting for a copy", cudaEventSynchronize(s->used[s->slot])) ? s->host[s->slot]
                                                                                          : NULL;
}

const void *staging_send(struct cuda *self, size_t bytes) {
    const struct staging *s = &self->staging;
    const unsigned i = s->slot;
    const bool sent =
        cuda_check(self, "a copy to the device",
                   cudaMemcpyAsync(s->device[i], s->host[i], bytes, cudaMemcpyHostToDevice, self->copies)) &&
        cuda_check(self, "an event", cudaEventRecord(s->copied[i], self->copies)) &&
        cuda_check(self, "an event", cudaStreamWaitEvent(self->stream, s->copied[i], 0));
    return sent ? s->device[i] : NULL;
}

const void *staging_put(struct cuda *self, const void *host, size_t bytes) {
    unsigned char *pinned = staging_take(self);
    if (!pinned)
        return NULL;
    memcpy(pinned, host, bytes);
    return staging_send(self, bytes);
}

void staging_done(struct cuda *self) {
    struct staging *s = &self->staging;
    cuda_check(self, "an event", cudaEventRecord(s->used[s->slot], self->stream));
    s->slot = (s->slot + 1) % STAGING_SLOTS;
}

/* cudaMalloc aligns to 256, and 0 bytes would be NULL, which means that there are none left. */
void *cuda_alloc(struct kernels *k, size_t bytes) {
    void *p = NULL;
    cuda_enter((struct cuda *)k);
    if (cudaMalloc(&p, bytes ? bytes : 1) == cudaSuccess)
        return p;
    cudaGetLastError(); /* that there is no memory is the caller's to tell, and no failure of the device */
    return NULL;
}

void cuda_release(struct kernels *k, void *p) {
    struct cuda *self = (struct cuda *)k;
    if (!p)
        return;
    cuda_enter(self);
    graphs_forget(self);
    cuda_check(self, "freeing memory", cudaFree(p));
}

void *cuda_grow(struct cuda *self, void *p, size_t *room, size_t n, size_t size) {
    if (n <= *room)
        return p;
    cuda_release(&self->base, p);
    *room = cuda_grown(n);
    p = cuda_alloc(&self->base, *room * size);
    if (!p) {
        *room = 0;
        cuda_check(self, "memory for a step", cudaErrorMemoryAllocation);
    }
    return p;
}

void cuda_upload(struct kernels *k, void *to, const void *host, size_t bytes) {
    struct cuda *self = (struct cuda *)k;
    const struct staging *s = &self->staging;
    cuda_enter(self);
    for (size_t at = 0; at < bytes; at += STAGING_BYTES) {
        const size_t piece = bytes - at < STAGING_BYTES ? bytes - at : STAGING_BYTES;
        unsigned char *pinned = staging_take(self);
        if (!pinned)
            return;
        memcpy(pinned, (const char *)host + at, piece);
        cuda_check(
            self, "a copy to the device",
            cudaMemcpyAsync((char *)to + at, s->host[s->slot], piece, cudaMemcpyHostToDevice, self->stream));
        staging_done(self);
    }
}

void cuda_download(struct kernels *k, void *host, const void *from, size_t bytes) {
    struct cuda *self = (struct cuda *)k;
    cuda_enter(self);
    for (size_t at = 0; at < bytes; at += STAGING_BYTES) {
        const size_t piece = bytes - at < STAGING_BYTES ? bytes - at : STAGING_BYTES;
        unsigned char *pinned = staging_take(self);
        if (!pinned ||
            !cuda_check(self, "a copy from the device",
                        cudaMemcpyAsync(pinned, (const char *)from + at, piece, cudaMemcpyDeviceToHost,
                                        self->stream)) ||
            !cuda_check(self, "the queued operations", cudaStreamSynchronize(self->stream))) {
            /* sync() tells; nobody shall read what was there before. */
            memset((char *)host + at, 0, bytes - at);
            return;
        }
        memcpy((char *)host + at, pinned, piece);
    }
}

void cuda_copy(struct kernels *k, void *to, const void *from, size_t bytes) {
    struct cuda *self = (struct cuda *)k;
    cuda_enter(self);
    if (bytes)
        cuda_check(self, "a copy on the device",
                   cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, self->stream));
}

bool cuda_device_memory(struct kernels *k, uint64_t *used, uint64_t *total) {
    size_t free_bytes, all;
    cuda_enter((struct cuda *)k);
    if (cudaMemGetInfo(&free_bytes, &all) != cudaSuccess) {
        cudaGetLastError(); /* what fails for good shows at sync() */
        return false;
    }
    *used = all - free_bytes;
    *total = all;
    return true;
}
