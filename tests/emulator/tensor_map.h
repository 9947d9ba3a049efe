/* tensor_map.h - what cuTensorMapEncodeTiled of the emulator keeps in a CUtensorMap. */
#ifndef LIMOE_TESTS_EMULATOR_TENSOR_MAP_H
#define LIMOE_TESTS_EMULATOR_TENSOR_MAP_H

#include <cstdint>

#include "tests/emulator/cuda.h"

namespace emulator {

struct tensor_map {
    uint64_t mark;
    unsigned char *address;
    uint64_t size_of_dim[5]; /* elements; 32 bits are enough for all but the check */
    uint64_t stride[4];      /* bytes, of dimensions 1 to 4 */
    uint16_t box[5];         /* elements */
    uint8_t rank, element, swizzled;
};
static_assert(sizeof(tensor_map) <= sizeof(CUtensorMap), "a tensor map has 128 bytes");

constexpr uint64_t tensor_map_mark = 0x70616d726f736e74u;

} // namespace emulator
#endif
