// The thin layer between the kernels and the machine that runs them: CUDA where nvcc compiles, else an emulator on the
// CPU (tests/backends/native/emulator), so that the same kernel source runs where there is no GPU.
//
// Kernels are written in CUDA's own words (threadIdx, __syncthreads, __shfl_xor_sync, ...) and take from here what CUDA
// has only as PTX, or would need one line for CUDA and another for the emulator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define MEMGAN_UNROLL _Pragma("unroll")
#define MEMGAN_NO_UNROLL _Pragma("unroll 1")
#define MEMGAN_PRAGMA(words) _Pragma(#words)
#define MEMGAN_UNROLL_BY(count) MEMGAN_PRAGMA(unroll count)
#else
#include "emulator.h"
#define MEMGAN_UNROLL
#define MEMGAN_NO_UNROLL
#define MEMGAN_UNROLL_BY(count)
#endif

#define MEMGAN_DEVICE __device__ __forceinline__
#define MEMGAN_BOTH __host__ __device__ __forceinline__

namespace memgan::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

enum class Dtype { float32, float64, bfloat16, float16 };

// ---- how numbers are stored, and what they are computed in

struct Bf16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

template <typename S>
struct Compute {
  using type = float;
};
template <>
struct Compute<double> {
  using type = double;
};

#if defined(__CUDACC__)
MEMGAN_DEVICE float read(Bf16 x) { return __bfloat162float(__ushort_as_bfloat16(x.bits)); }
MEMGAN_DEVICE float read(Half x) { return __half2float(__ushort_as_half(x.bits)); }
MEMGAN_DEVICE void write_to(Bf16& to, float x) { to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
MEMGAN_DEVICE void write_to(Half& to, float x) { to.bits = __half_as_ushort(__float2half_rn(x)); }
MEMGAN_DEVICE float bits_as_float(uint32_t bits) { return __uint_as_float(bits); }
MEMGAN_DEVICE uint32_t float_as_bits(float x) { return __float_as_uint(x); }
#else
inline float bits_as_float(uint32_t bits) { return emulator::float_of(bits); }
inline uint32_t float_as_bits(float x) { return emulator::bits_of(x); }
inline float read(Bf16 x) { return emulator::from_bf16(x.bits); }
inline float read(Half x) { return emulator::from_half(x.bits); }
inline void write_to(Bf16& to, float x) { to.bits = emulator::to_bf16(x); }
inline void write_to(Half& to, float x) { to.bits = emulator::to_half(x); }
#endif
MEMGAN_DEVICE float read(float x) { return x; }
MEMGAN_DEVICE double read(double x) { return x; }
MEMGAN_DEVICE void write_to(float& to, float x) { to = x; }
MEMGAN_DEVICE void write_to(double& to, double x) { to = x; }

template <typename S>
MEMGAN_DEVICE S written(typename Compute<S>::type x) {
  S stored;
  write_to(stored, x);
  return stored;
}

// Two numbers as a tensor core takes them, the first in the low half, and back.
#if defined(__CUDACC__)
template <typename S>
MEMGAN_DEVICE uint32_t packed_pair(float low, float high) {
  if constexpr (std::is_same_v<S, Bf16>) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}
#else
template <typename S>
inline uint32_t packed_pair(float low, float high) {
  return uint32_t(written<S>(low).bits) | uint32_t(written<S>(high).bits) << 16;
}
#endif
template <typename S>
MEMGAN_DEVICE float2 unpacked_pair(uint32_t pair) {
  if constexpr (std::is_same_v<S, Bf16>) return {bits_as_float(pair << 16), bits_as_float(pair & 0xffff0000u)};
  else return {read(S{uint16_t(pair)}), read(S{uint16_t(pair >> 16)})};
}

// Within two units in the last place of float32; subnormal numbers count as zeros.
#if defined(__CUDACC__)
MEMGAN_DEVICE float quick_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
MEMGAN_DEVICE float quick_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#else
inline float quick_exp2(float x) { return std::exp2(x); }
inline float quick_reciprocal(float x) { return 1.f / x; }
#endif

// Sixteen bytes as numbers, in registers: every index must be known when the kernel is compiled.
template <typename S>
struct Sixteen {
  uint4 bits;
  MEMGAN_DEVICE uint32_t& word(int i) { return i == 0 ? bits.x : i == 1 ? bits.y : i == 2 ? bits.z : bits.w; }
  MEMGAN_DEVICE uint32_t word(int i) const { return i == 0 ? bits.x : i == 1 ? bits.y : i == 2 ? bits.z : bits.w; }
  MEMGAN_DEVICE S operator[](int i) const {
    if constexpr (sizeof(S) == 2) return S{uint16_t(word(i / 2) >> i % 2 * 16)};
    else return bits_as_float(word(i));
  }
  MEMGAN_DEVICE void set(int i, S x) {
    if constexpr (sizeof(S) == 2)
      word(i / 2) = (word(i / 2) & 0xffffu << (1 - i % 2) * 16) | uint32_t(x.bits) << i % 2 * 16;
    else word(i) = float_as_bits(x);
  }
};

// ---- shared memory, and copies into it that go on while the thread does

#if defined(__CUDACC__)
MEMGAN_DEVICE unsigned char* shared_memory() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return bytes;
}
MEMGAN_DEVICE uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}
// 16 bytes, both addresses multiples of 16; where not `real`, zeros, at once, and `global` may be anything.
MEMGAN_DEVICE void copy_16(void* shared, const void* global, bool real = true) {
  if (real)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
  else *static_cast<uint4*>(shared) = uint4{0, 0, 0, 0};
}
MEMGAN_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `kPending` of this thread's last groups are under way. Other threads need a barrier behind it.
template <int kPending>
MEMGAN_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
#else
inline unsigned char* shared_memory() { return emulator::shared_memory(); }
inline void copy_16(void* shared, const void* global, bool real = true) {
  if (real) emulator::copy_async(shared, global, 16);
  else *static_cast<uint4*>(shared) = uint4{0, 0, 0, 0};
}
inline void commit_copies() { emulator::commit_copies(); }
template <int kPending>
inline void wait_for_copies() {
  emulator::wait_for_copies(kPending);
}
#endif

// ---- tensor cores, one warp together. With g = lane / 4 and t = lane % 4 a lane holds of
//   A (16, 16): (g, 2t), (g, 2t + 1) in a[0], row g + 8 in a[1], columns 2t + 8, 2t + 9 in a[2], both in a[3]
//   B (16, 8):  (2t, g), (2t + 1, g) in b[0], rows 2t + 8, 2t + 9 in b[1]
//   C (16, 8):  (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
// and of float32 rounded to tf32
//   A (16, 8):  (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)        B (8, 8): (t, g), (t + 4, g)

#if defined(__CUDACC__)
MEMGAN_DEVICE void mma(Bf16, float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
MEMGAN_DEVICE void mma(Half, float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
MEMGAN_DEVICE void mma(float, float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
MEMGAN_DEVICE uint32_t to_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}
// Four 8 x 8 matrices of two-byte numbers; lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, a multiple
// of 16) and gets of each matrix the two numbers (g, 2t), (g, 2t + 1); transposed: (2t, g), (2t + 1, g).
template <bool kTransposed>
MEMGAN_DEVICE void load_matrices(uint32_t (&to)[4], const void* shared_row) {
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(shared_row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(shared_row))
                 : "memory");
}
#else
inline void mma(Bf16, float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulator::mma_16x8x16(c, a, b, emulator::from_bf16);
}
inline void mma(Half, float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulator::mma_16x8x16(c, a, b, emulator::from_half);
}
inline void mma(float, float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { emulator::mma_16x8x8(c, a, b); }
inline uint32_t to_tf32(float x) { return emulator::to_tf32(x); }
template <bool kTransposed>
inline void load_matrices(uint32_t (&to)[4], const void* shared_row) {
  emulator::load_matrices(to, shared_row, kTransposed);
}
#endif

// ---- sums and maxima over lanes

template <typename T>
MEMGAN_DEVICE T sum_of_warp(T x) {
  MEMGAN_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}

}  // namespace memgan::cuda
