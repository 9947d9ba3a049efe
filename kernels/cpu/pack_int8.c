/* pack_int8.c - weights from the checkpoint into the int8 panels of isa/isa.h.
 *
 * Fractions are rounded here; what a checkpoint holds as int8 keeps its numbers and its scales, so that a quantised
 * checkpoint and the one that it was made of are packed to the same bytes. */
#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

size_t int8_panel_size(uint32_t in) {
    return sizeof(struct int8_panel) + round_up(in, INT8_BLOCK) * PANEL;
}

/* Channel `channel` of the stack to q[in]; returns its scale. `row` [in] is the caller's. */
static float channel_weights(struct kernels_tensor weight, size_t channel, uint32_t in, float *row,
                             int8_t *q) {
    if (weight.storage == KERNELS_I8) {
        const struct kernels_int8 *from = weight.host;
        memcpy(q, from->value + channel * in, in);
        return from->scale[channel];
    }
    tensor_read(weight, channel * in, in, row);
    return int8_weights(row, in, q);
}

/* Column c of a panel. */
static void put_channel(struct int8_panel *panel, uint32_t c, uint32_t in, float scale, const int8_t *q) {
    panel->scale[c] = scale;
    for (uint32_t k = 0; k < in; k++) {
        panel->weight[(k / INT8_GROUP * PANEL + c) * INT8_GROUP + k % INT8_GROUP] = q[k];
        panel->sum[c] += q[k];
    }
}

void int8_pack_panel(struct kernels_tensor weight, size_t first, uint32_t channels, uint32_t in, float *rows,
                     void *to) {
    struct int8_panel *panel = to;
    int8_t *q = (int8_t *)(rows + in);
    memset(panel, 0, int8_panel_size(in));
    for (uint32_t c = 0; c < channels; c++) {
        const float scale = channel_weights(weight, first + c, in, rows, q);
        put_channel(panel, c, in, scale, q);
    }
}
