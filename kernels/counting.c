/* counting.c - counts by what the CUDA backend allocates by (cuda_sizes.h). Addresses are those of mappings without
 * access, which take no memory. One caller, no threads.
 */
#include "kernels/counting.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/error.h"
#include "kernels/cuda_sizes.h"

struct piece {
    void *at;
    size_t bytes;
    struct piece *next;
};

struct counting {
    struct kernels base;
    struct piece *pieces;
    uint64_t bytes;
    size_t start_room, tile_room, plan_room, picture_room; /* as struct cuda's */
};

static void *reserve(struct kernels *k, size_t bytes) {
    struct counting *self = (struct counting *)k;
    struct piece *piece = malloc(sizeof *piece);
    bytes = bytes ? bytes : 1;
    if (!piece)
        return NULL;
    *piece = (struct piece){.bytes = bytes, .next = self->pieces};
    piece->at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (piece->at == MAP_FAILED) {
        free(piece);
        return NULL;
    }
    self->pieces = piece;
    self->bytes += bytes;
    return piece->at;
}

static void give_back(struct kernels *k, void *p) {
    struct counting *self = (struct counting *)k;
    struct piece **at = &self->pieces;
    while (*at && (*at)->at != p)
        at = &(*at)->next;
    if (!*at) /* NULL */
        return;
    struct piece *gone = *at;
    *at = gone->next;
    self->bytes -= gone->bytes;
    munmap(gone->at, gone->bytes);
    free(gone);
}

/* As cuda_grow. */
static void grow(struct counting *self, size_t *room, size_t n, size_t size) {
    if (n <= *room)
        return;
    self->bytes += (cuda_grown(n) - *room) * size;
    *room = cuda_grown(n);
}

static void sequences(struct kernels *k, const uint32_t *start, size_t n) {
    struct counting *self = (struct counting *)k;
    grow(self, &self->start_room, n + 1, sizeof *start);
    grow(self, &self->tile_room, attention_tiles(start, n), sizeof(struct attention_tile));
}

static void patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size, uint32_t patch,
                    uint32_t lead, const float mean[3], const float std[3], void *out) {
    struct counting *self = (struct counting *)k;
    const size_t bytes = (size_t)size * size * 3;
    (void)pixels, (void)patch, (void)lead, (void)mean, (void)std, (void)out;
    if (n && bytes > STAGING_BYTES)
        grow(self, &self->picture_room, bytes, 1);
}

static void plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
                 struct kernels_plan made) {
    struct counting *self = (struct counting *)k;
    (void)expert, (void)made;
    grow(self, &self->plan_room, plan_scratch_elements(rows * top_k, experts), sizeof(uint32_t));
}

static void destroy(struct kernels *k) {
    struct counting *self = (struct counting *)k;
    if (!self)
        return;
    while (self->pieces)
        give_back(k, self->pieces->at);
    free(self);
}

enum limoe_status kernels_counting_create(enum limoe_dtype dtype, struct kernels **out,
                                          struct limoe_error *err) {
    static const struct kernels_ops ops = {.destroy = destroy,
                                           .alloc = reserve,
                                           .release = give_back,
                                           .sequences = sequences,
                                           .patches = patches,
                                           .plan = plan};
    struct counting *self = calloc(1, sizeof *self);
    *out = NULL;
    if (!self)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to count a GPU's");
    self->base = (struct kernels){.ops = &ops,
                                  .name = "counting",
                                  .kind = KERNELS_CUDA,
                                  .dtype = dtype,
                                  .act_size = dtype == LIMOE_BFLOAT16 ? sizeof(uint16_t) : sizeof(float),
                                  .threads = 1,
                                  .step_rows = CUDA_STEP_ROWS};
    self->bytes = STAGING_SLOTS * STAGING_BYTES;
    *out = &self->base;
    return LIMOE_OK;
}

uint64_t kernels_counting_bytes(const struct kernels *k) {
    return ((const struct counting *)k)->bytes;
}
