/* preprocess_config.c - the numbers that bytes become. No state, no threads. */
#include "model/checkpoint/preprocess_config.h"

void preprocess_values(const struct preprocess_scale *scale, float values[3][256]) {
    for (int c = 0; c < 3; c++) {
        for (int byte = 0; byte < 256; byte++) {
            const float scaled = scale->kind == PREPROCESS_OVER ? (float)byte / (float)scale->factor
                                                                : (float)(byte * scale->factor);
            values[c][byte] = (scaled - scale->mean[c]) / scale->std[c];
        }
    }
}
