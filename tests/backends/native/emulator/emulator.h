// CUDA's words on the CPU: what memgan/backends/native/csrc/cuda/device.h needs where nvcc does not compile.
//
// Every CUDA thread is a fiber, and fibers of several blocks take turns in an order drawn from a seed. ThreadSanitizer
// is told of every fiber and of no order between two of them but what a barrier makes: it sees a race whether or not
// the turns that were taken made it do harm. So:
//   __syncthreads orders the block, __syncwarp the warp; shuffles, votes and tensor cores order nothing
//   shared memory has exactly the size that was asked for and starts as NaN
//   asynchronous copies land at their wait, and one that nobody waits for is an error
//   a barrier or a shuffle that not all threads reach ends the program with a message
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __grid_constant__
#define __launch_bounds__(...)

namespace memgan::emulator {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
// Of the running thread.
const Index& thread_index();
const Index& block_index();
const Index& block_size();
const Index& grid_size();
unsigned char* shared_memory();

// Bytes of shared memory that a block may have: at first 227 KB, as on sm_90.
int64_t most_shared();
void set_most_shared(int64_t bytes);

// Runs `body` once per thread of the grid. nullptr, or why it cannot be launched.
const char* launch(const std::function<void()>& body, int64_t x, int64_t y, int threads, int64_t shared);
int64_t launches();  // so far

void set_seed(uint64_t seed);  // of the order in which threads take turns

void barrier_of_block();
void barrier_of_warp();
int lane();

// Gives every lane of the warp the bytes (at most 64) of every other: lane i's begin at result + 64 i and stay until
// the caller's next but one exchange. All lanes must name the same `what`.
const unsigned char* exchange(const char* what, const void* mine, size_t bytes);

template <typename T>
T exchanged(const unsigned char* all, int lane) {
  T value;
  std::memcpy(&value, all + 64 * lane, sizeof(T));
  return value;
}

template <typename T>
T shuffle(const char* what, T mine, int from) {
  return exchanged<T>(exchange(what, &mine, sizeof(T)), from & 31);
}

// Copies under way: noted now, done at the wait by `land`, in the order of asking.
struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};
void copy_async(void* to, const void* from, size_t bytes);
void commit_copies();
bool next_copy(int pending, Copy* copy);  // false: no more than `pending` groups are left
inline void wait_for_copies(int pending) {
  for (Copy copy; next_copy(pending, &copy);)
    for (size_t i = 0; i < copy.bytes; i += 4)
      *reinterpret_cast<uint32_t*>(static_cast<unsigned char*>(copy.to) + i) =
          *reinterpret_cast<const uint32_t*>(static_cast<const unsigned char*>(copy.from) + i);
}

// Ends the program with a message where the address is no multiple.
void check_multiple(const void* address, size_t of, const char* what);

// ---- numbers of two bytes, and of nineteen bits

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline float from_bf16(uint16_t bits) { return float_of(uint32_t(bits) << 16); }
inline uint16_t to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  if (x != x) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float from_half(uint16_t bits) {
  const uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023, sign = uint32_t(bits & 0x8000) << 16;
  if (exponent == 31) return float_of(sign | 0x7f800000 | mantissa << 13);
  if (exponent != 0) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = std::ldexp(float(mantissa), -24);
  return sign ? -small : small;
}
inline uint16_t to_half(float x) {
  const uint16_t sign = uint16_t(bits_of(x) >> 16 & 0x8000);
  if (x != x) return uint16_t(sign | 0x7e00);
  const float size = std::fabs(x);
  if (size >= 65520.f) return uint16_t(sign | 0x7c00);
  int exponent = 0;
  std::frexp(size, &exponent);
  const int shift = exponent > -14 ? 11 - exponent : 24;  // of the last bit that is kept
  const float steps = std::nearbyint(std::ldexp(size, shift));
  const float value = std::ldexp(steps, -shift);  // exact; may have carried into the next exponent
  if (value < 6.103515625e-5f) return uint16_t(sign | uint16_t(std::ldexp(value, 24)));
  const uint32_t bits = bits_of(value);
  return uint16_t(sign | ((bits >> 23) - 112) << 10 | (bits >> 13 & 1023));
}
inline uint32_t to_tf32(float x) {  // to the nearest, ties away from zero
  const uint32_t bits = bits_of(x);
  return x != x ? bits : (bits + 0x1000) & ~0x1fffu;
}

// ---- tensor cores

struct Fragments {
  uint32_t a[4], b[2];
};

// Sums in float32 as a tensor core makes them: products are exact, and what does not fit is cut off, not rounded.
inline float cut_off(double sum) {
  const float rounded = float(sum);
  return std::fabs(double(rounded)) > std::fabs(sum) ? std::nextafter(rounded, 0.f) : rounded;
}

template <typename Read>
void mma_16x8x16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Read read) {
  Fragments mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  const unsigned char* all = exchange("mma.m16n8k16", &mine, sizeof mine);
  const int g = lane() / 4, t = lane() % 4;
  double sums[4] = {c[0], c[1], c[2], c[3]};
  for (int k = 0; k < 16; ++k) {
    const int pair = k % 8 / 2, half = k % 2 * 16;
    for (int i = 0; i < 4; ++i) {
      const Fragments left = exchanged<Fragments>(all, g * 4 + pair);
      const Fragments right = exchanged<Fragments>(all, (2 * t + i % 2) * 4 + pair);
      sums[i] += double(read(uint16_t(left.a[i / 2 + k / 8 * 2] >> half))) * read(uint16_t(right.b[k / 8] >> half));
    }
  }
  for (int i = 0; i < 4; ++i) c[i] = cut_off(sums[i]);
}
inline void mma_16x8x8(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Fragments mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  const unsigned char* all = exchange("mma.m16n8k8", &mine, sizeof mine);
  const int g = lane() / 4, t = lane() % 4;
  double sums[4] = {c[0], c[1], c[2], c[3]};
  const auto tf32 = [](uint32_t bits) { return float_of(bits & ~0x1fffu); };  // what the unit looks at
  for (int k = 0; k < 8; ++k)
    for (int i = 0; i < 4; ++i) {
      const Fragments left = exchanged<Fragments>(all, g * 4 + k % 4);
      const Fragments right = exchanged<Fragments>(all, (2 * t + i % 2) * 4 + k % 4);
      sums[i] += double(tf32(left.a[i / 2 + k / 4 * 2])) * tf32(right.b[k / 4]);
    }
  for (int i = 0; i < 4; ++i) c[i] = cut_off(sums[i]);
}
inline void load_matrices(uint32_t (&to)[4], const void* row, bool transposed) {
  check_multiple(row, 16, "ldmatrix");
  const unsigned char* all = exchange(transposed ? "ldmatrix.trans" : "ldmatrix", &row, sizeof row);
  const int g = lane() / 4, t = lane() % 4;
  for (int i = 0; i < 4; ++i) {
    uint32_t pair = 0;
    for (int half = 0; half < 2; ++half) {
      const int from = transposed ? 2 * t + half : g, column = transposed ? g : 2 * t + half;
      pair |= uint32_t(exchanged<const uint16_t*>(all, 8 * i + from)[column]) << 16 * half;
    }
    to[i] = pair;
  }
}

}  // namespace memgan::emulator

#define threadIdx (::memgan::emulator::thread_index())
#define blockIdx (::memgan::emulator::block_index())
#define blockDim (::memgan::emulator::block_size())
#define gridDim (::memgan::emulator::grid_size())

inline void __syncthreads() { memgan::emulator::barrier_of_block(); }
inline void __syncwarp() { memgan::emulator::barrier_of_warp(); }
template <typename T>
T __shfl_sync(unsigned, T x, int from) {
  return memgan::emulator::shuffle("__shfl_sync", x, from);
}
template <typename T>
T __shfl_xor_sync(unsigned, T x, int mask) {
  return memgan::emulator::shuffle("__shfl_xor_sync", x, memgan::emulator::lane() ^ mask);
}
template <typename T>
T __shfl_down_sync(unsigned, T x, int by) {
  const int from = memgan::emulator::lane() + by;
  return memgan::emulator::shuffle("__shfl_down_sync", x, from < 32 ? from : memgan::emulator::lane());
}
inline unsigned __ballot_sync(unsigned, bool mine) {
  const unsigned char* all = memgan::emulator::exchange("__ballot_sync", &mine, sizeof mine);
  unsigned votes = 0;
  for (int i = 0; i < 32; ++i) votes |= unsigned(memgan::emulator::exchanged<bool>(all, i)) << i;
  return votes;
}
// What a block wrote before an addition is seen by whoever adds behind it: the fence between is no word of its own
// here.
inline void __threadfence() {}
inline unsigned atomicAdd(unsigned* to, unsigned more) { return __atomic_fetch_add(to, more, __ATOMIC_ACQ_REL); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline float __expf(float x) { return std::exp(x); }

struct alignas(8) float2 {
  float x, y;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
