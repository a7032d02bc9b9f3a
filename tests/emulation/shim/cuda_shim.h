// What a CUDA kernel of independent threads needs to be compiled by g++: a thread is one turn of a loop.
//
// Included before the .cu file, which EMULATED_KERNEL(name) follows for each of its kernels; build.py does both.
// Kernels with barriers, shared memory or warp-level operations are out of its reach.
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>

#define __global__
#define __device__ __attribute__((unused)) static
#define __align__(bytes) __attribute__((aligned(bytes)))

struct dim3 {
    unsigned x, y, z;
};

// Each worker thread of the emulated driver runs a kernel of its own.
static thread_local dim3 gridDim, blockDim, blockIdx, threadIdx;

// As the intrinsics of these names: rounded on their own (build.py forbids contraction).
__device__ float __fmul_rn(float a, float b) { return a * b; }
__device__ float __fadd_rn(float a, float b) { return a + b; }

// IEEE 754 binary32 to binary16, to the nearest, half to even: what PTX's cvt.rn.f16.f32 does.
__device__ unsigned short half_bits(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    const unsigned short sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return 0x7fff;            // not a number
    if (bits >= 0x477ff000) return sign | 0x7c00;    // 65520 and more: infinite
    if (bits < 0x38800000) {                         // below 2^-14: whole multiples of 2^-24
        float magnitude;
        std::memcpy(&magnitude, &bits, sizeof magnitude);
        // Adding 0.5 leaves a last place of 2^-24, so the addition rounds there.
        magnitude += 0.5f;
        std::memcpy(&bits, &magnitude, sizeof bits);
        return sign | (bits - 0x3f000000);
    }
    bits += 0xfff + (bits >> 13 & 1);
    return sign | (bits - 0x38000000) >> 13;
}

// Calls the kernel once for each thread of the grid; params as for cuLaunchKernel: where each argument's value is.
template <typename... Arguments, std::size_t... I>
void emulated_launch(void (*kernel)(Arguments...), dim3 grid, dim3 block, void** params, std::index_sequence<I...>) {
    gridDim = grid;
    blockDim = block;
    for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
                for (threadIdx.z = 0; threadIdx.z < block.z; ++threadIdx.z)
                    for (threadIdx.y = 0; threadIdx.y < block.y; ++threadIdx.y)
                        for (threadIdx.x = 0; threadIdx.x < block.x; ++threadIdx.x)
                            kernel(*static_cast<Arguments*>(params[I])...);
}

template <typename... Arguments>
void emulated_launch(void (*kernel)(Arguments...), dim3 grid, dim3 block, void** params) {
    emulated_launch(kernel, grid, block, params, std::index_sequence_for<Arguments...>{});
}

#define EMULATED_KERNEL(name)                                                                                     \
    extern "C" void name##__launch(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, \
                                   void** params) {                                                              \
        emulated_launch(name, dim3{gx, gy, gz}, dim3{bx, by, bz}, params);                                        \
    }
