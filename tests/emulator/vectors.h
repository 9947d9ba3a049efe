/* vectors.h - CUDA's vector types and dim3, with the alignment they have on a device. */
#ifndef LIMOE_TESTS_EMULATOR_VECTORS_H
#define LIMOE_TESTS_EMULATOR_VECTORS_H

#define EMULATED_VECTOR(T, N, S)                                                                             \
    struct alignas(2 * S) N##2 {                                                                             \
        T x, y;                                                                                              \
    };                                                                                                       \
    struct N##3 {                                                                                            \
        T x, y, z;                                                                                           \
    };                                                                                                       \
    struct alignas(4 * S > 16 ? 16 : 4 * S) N##4 {                                                           \
        T x, y, z, w;                                                                                        \
    };                                                                                                       \
    inline N##2 make_##N##2(T x, T y) {                                                                      \
        return {x, y};                                                                                       \
    }                                                                                                        \
    inline N##3 make_##N##3(T x, T y, T z) {                                                                 \
        return {x, y, z};                                                                                    \
    }                                                                                                        \
    inline N##4 make_##N##4(T x, T y, T z, T w) {                                                            \
        return {x, y, z, w};                                                                                 \
    }
EMULATED_VECTOR(signed char, char, 1)
EMULATED_VECTOR(unsigned char, uchar, 1)
EMULATED_VECTOR(short, short, 2)
EMULATED_VECTOR(unsigned short, ushort, 2)
EMULATED_VECTOR(int, int, 4)
EMULATED_VECTOR(unsigned, uint, 4)
EMULATED_VECTOR(float, float, 4)
EMULATED_VECTOR(double, double, 8)
#undef EMULATED_VECTOR

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {
    }
};

#endif
