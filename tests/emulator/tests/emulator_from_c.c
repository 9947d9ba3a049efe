#include "tests/emulator/tests/emulator_from_c.h"

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <stdalign.h>
#include <stdlib.h>

_Static_assert(sizeof(CUtensorMap) == 128 && alignof(CUtensorMap) == 128,
               "a tensor map is as CUDA 13 has it");

int numbers_there_and_back(int n) {
    int same = 0;
    void *device = NULL;
    int *numbers = malloc((size_t)n * sizeof *numbers), *back = calloc((size_t)n, sizeof *back);
    if (numbers && back && cudaMalloc(&device, (size_t)n * sizeof *numbers) == cudaSuccess) {
        for (int i = 0; i < n; i++)
            numbers[i] = 3 * i + 1;
        cudaMemcpyAsync(device, numbers, (size_t)n * sizeof *numbers, cudaMemcpyHostToDevice, NULL);
        cudaMemcpyAsync(back, device, (size_t)n * sizeof *numbers, cudaMemcpyDeviceToHost, NULL);
        for (int i = 0; i < n; i++)
            same += back[i] == 3 * i + 1;
    }
    cudaFree(device);
    free(back);
    free(numbers);
    return same;
}

typedef CUresult (*encoder)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                            const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                            CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

int tensor_map_from_c(void) {
    void *found = NULL, *device = NULL;
    enum cudaDriverEntryPointQueryResult status;
    CUtensorMap map;
    const cuuint64_t dim = 64;
    const cuuint32_t box = 8, one = 1;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault,
                                         &status) ||
        status != cudaDriverEntryPointSuccess || cudaMalloc(&device, 128) != cudaSuccess)
        return 0;
    encoder encode;
    *(void **)&encode = found;
    const CUresult r = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 1, device, &dim, NULL, &box, &one,
                              CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
                              CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    cudaFree(device);
    return r == CUDA_SUCCESS;
}
