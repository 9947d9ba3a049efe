/* A module of kernels, compiled and linked as limoe-cuda is, loaded at run time: it shares the process's
 * device, and its `__shared__` arrays are garbage in every block though they are its own thread-locals. */
#include <dlfcn.h>

#include "tests/emulator/tests/probe.h"
#include "tests/emulator/tests/support.h"

static void a_loaded_module_uses_the_same_device(void **state) {
    void *module = dlopen((const char *)*state, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        fail_msg("%s", dlerror());
    const auto rotate = (decltype(&probe_rotate))dlsym(module, "probe_rotate");
    assert_non_null(rotate);
    std::vector<float> numbers(640);
    for (size_t i = 0; i < numbers.size(); i++)
        numbers[i] = (float)i;
    float *in = device(numbers), *out = device<float>(640);
    std::vector<float> got(640);
    const size_t bytes = got.size() * sizeof(float);
    assert_int_equal(rotate(in, out, 10, 3), cudaSuccess);
    assert_int_equal(cudaMemcpy(got.data(), out, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    for (int i = 0; i < 640; i++)
        assert_true(got[(size_t)i] == (float)(i / 64 * 64 + (i + 3) % 64));
    const auto leave = (decltype(&probe_leave))dlsym(module, "probe_leave");
    assert_non_null(leave);
    assert_int_equal(leave(out), cudaSuccess);
    assert_int_equal(cudaMemcpy(got.data(), out, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    for (size_t i = 0; i < 64; i++)
        assert_true(std::isnan(got[i]));
    assert_int_equal(rotate(in, out, 0, 3), cudaErrorInvalidConfiguration);
    cudaFree(in);
    cudaFree(out);
}

int main(int, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(a_loaded_module_uses_the_same_device, argv[1]),
    };
    return cmocka_run_group_tests_name("emulator module", tests, nullptr, nullptr);
}
