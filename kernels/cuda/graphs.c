/* graphs.c - steps of a shape that comes again, recorded as CUDA graphs and queued by one call.
 *
 * A small step is some two hundred launches of a few microseconds each; a graph spares the host most of that.
 * What a recording depends on is the shape and addresses alone: contents are read when it runs. It is made
 * when a shape is seen for the second time, so that by then all scratch memory has its size, and shapes that
 * come once cost nothing. When memory is given back every recording goes, for it may hold its address.
 */
#include <string.h>

#include "kernels/cuda/device.h"

static bool matches(const struct cuda *self, const struct graph *g, const struct kernels_shape *shape) {
    return g->last && g->sequences == self->sequences && g->tiles == self->tiles &&
           memcmp(&g->shape, shape, sizeof *shape) == 0;
}

static void drop(struct graph *g) {
    if (g->exec)
        cudaGraphExecDestroy(g->exec);
    *g = (struct graph){.last = 0};
}

void graphs_forget(struct cuda *self) {
    for (int i = 0; i < GRAPHS; i++)
        drop(&self->graph[i]);
}

/* The shape's, or in the place of the one that was wanted longest ago a new one. */
static struct graph *find(struct cuda *self, const struct kernels_shape *shape) {
    struct graph *oldest = &self->graph[0];
    for (int i = 0; i < GRAPHS; i++) {
        struct graph *g = &self->graph[i];
        if (matches(self, g, shape))
            return g;
        if (g->last < oldest->last)
            oldest = g;
    }
    drop(oldest);
    oldest->shape = *shape;
    oldest->sequences = self->sequences;
    oldest->tiles = self->tiles;
    return oldest;
}

bool cuda_begin(struct kernels *k, const struct kernels_shape *shape) {
    struct cuda *self = (struct cuda *)k;
    struct graph *g = find(self, shape);
    const bool again = g->last;
    g->last = ++self->clock;
    if (g->exec)
        return cuda_check(self, "a recorded step", cudaGraphLaunch(g->exec, self->stream));
    if (again && cuda_check(self, "recording a step",
                            cudaStreamBeginCapture(self->stream, cudaStreamCaptureModeThreadLocal)))
        self->recording = g;
    return false;
}

void cuda_end(struct kernels *k) {
    struct cuda *self = (struct cuda *)k;
    struct graph *g = self->recording;
    cudaGraph_t graph = NULL;
    self->recording = NULL;
    if (!g)
        return;
    if (cuda_check(self, "recording a step", cudaStreamEndCapture(self->stream, &graph)) &&
        cuda_check(self, "recording a step", cudaGraphInstantiate(&g->exec, graph, 0)))
        cuda_check(self, "a recorded step", cudaGraphLaunch(g->exec, self->stream));
    if (graph)
        cudaGraphDestroy(graph);
}
