/* tensor_map.cpp - cuTensorMapEncodeTiled: refuses what the driver documents that it refuses.
 *
 * Of what the driver accepts, no interleave, element strides of 1, zero fill, and no swizzle or that of 128
 * bytes are emulated; the rest is CUDA_ERROR_NOT_SUPPORTED.
 */
#include "tests/emulator/tensor_map.h"

#include <cstring>

using namespace emulator;

static unsigned element_bytes(CUtensorMapDataType type) {
    switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT8:
        return 1;
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16:
        return 2;
    case CU_TENSOR_MAP_DATA_TYPE_UINT64:
    case CU_TENSOR_MAP_DATA_TYPE_INT64:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT64:
        return 8;
    default:
        return 4;
    }
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *out, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                const cuuint64_t *dim, const cuuint64_t *stride, const cuuint32_t *box,
                                const cuuint32_t *element_stride, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                CUtensorMapFloatOOBfill fill) {
    if (!out || !address || !dim || !box || !element_stride || (uintptr_t)out % 64 || (uintptr_t)address % 16)
        return CUDA_ERROR_INVALID_VALUE;
    if (rank < 1 || rank > 5 || (rank > 1 && !stride) ||
        (unsigned)promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B)
        return CUDA_ERROR_INVALID_VALUE;
    if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE ||
        (swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && swizzle != CU_TENSOR_MAP_SWIZZLE_128B))
        return CUDA_ERROR_NOT_SUPPORTED;
    const unsigned element = element_bytes(type);
    tensor_map map = {};
    for (unsigned i = 0; i < rank; i++) {
        if (!dim[i] || dim[i] > UINT64_C(1) << 32 || !box[i] || box[i] > 256 || !element_stride[i] ||
            element_stride[i] > 8)
            return CUDA_ERROR_INVALID_VALUE;
        if (i && element_stride[i] != 1)
            return CUDA_ERROR_NOT_SUPPORTED;
        map.size_of_dim[i] = dim[i];
        map.box[i] = (uint16_t)box[i];
    }
    for (unsigned i = 0; i + 1 < rank; i++) {
        if (stride[i] % 16 || stride[i] >= UINT64_C(1) << 40 || stride[i] < dim[0] * element)
            return CUDA_ERROR_INVALID_VALUE;
        map.stride[i] = stride[i];
    }
    if (box[0] * element % 16 || (swizzle == CU_TENSOR_MAP_SWIZZLE_128B && box[0] * element > 128))
        return CUDA_ERROR_INVALID_VALUE;
    map.mark = tensor_map_mark;
    map.address = (unsigned char *)address;
    map.rank = (uint8_t)rank;
    map.element = (uint8_t)element;
    map.swizzled = swizzle == CU_TENSOR_MAP_SWIZZLE_128B;
    memset(out, 0, sizeof *out);
    memcpy(out, &map, sizeof map);
    return CUDA_SUCCESS;
}
