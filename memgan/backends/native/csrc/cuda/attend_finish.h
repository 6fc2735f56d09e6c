// Sums over chunks and images, always in the same order.
#pragma once

#include "attend_words.h"

namespace memgan::cuda {

constexpr int kFinishThreads = 256;
// Of chunks, and of values: how many are on their way together.
template <typename T>
constexpr int kChunksAtOnce = sizeof(T) == 8 ? 4 : 8;
template <typename T>
constexpr int kValuesAtOnce = 2 * kChunksAtOnce<T>;

// Rows that `attend_finish_image` sums for an image, a warp each for 32 channels: of words, of the gate.
MEMGAN_BOTH int64_t finish_rows(const AttendArgs& a) { return a.L + 1; }
// Of dynamic shared memory: the real words, and each word's place among them.
inline int64_t finish_shared(const AttendArgs& a) { return (2 * a.L + 1) * 4; }

template <typename S>
struct FinishImage {
  using T = typename Compute<S>::type;
  const BackwardArgs& a;
  int64_t b;
  const T* partial;
  const int32_t *words, *place;
  int count;

  // Numbers of a chunk, added over chunks; below zero: none.
  template <int kCount>
  MEMGAN_DEVICE void totals(const int64_t (&places)[kCount], T (&sums)[kCount]) const {
    const int64_t size = partial_size(a);
    for (int64_t chunk = 0; chunk < a.chunks; chunk += kChunksAtOnce<T>) {
      T next[kCount][kChunksAtOnce<T>];  // added in order
      MEMGAN_UNROLL
      for (int i = 0; i < kCount; ++i) {
        MEMGAN_UNROLL
        for (int k = 0; k < kChunksAtOnce<T>; ++k)
          next[i][k] = chunk + k < a.chunks && places[i] >= 0 ? partial[(chunk + k) * size + places[i]] : T(0);
      }
      MEMGAN_UNROLL
      for (int i = 0; i < kCount; ++i) {
        MEMGAN_UNROLL
        for (int k = 0; k < kChunksAtOnce<T>; ++k) sums[i] += next[i][k];
      }
    }
  }
  MEMGAN_DEVICE int64_t values() const { return (a.L + 1) * a.C; }
  MEMGAN_DEVICE int64_t reads() const { return values() + a.L * a.D; }

  MEMGAN_DEVICE void word(int64_t l, int64_t c) const {
    const int64_t row = place[l];
    const bool real = row >= 0, gated = a.gate_weight != nullptr && c < a.D;
    T sums[3] = {};
    totals(
        {real && c < a.C ? row * a.C + c : -1, real && c < a.D ? values() + row * a.D + c : -1,
         real && gated ? reads() + row : -1},
        sums);
    if (gated) sums[1] += read(static_cast<const S*>(a.gate_weight)[a.C + c]) * sums[2];
    if (c < a.C) static_cast<S*>(a.grad_keys)[(b * a.L + l) * a.C + c] = written<S>(sums[0]);
    if (c < a.D) static_cast<S*>(a.grad_values)[(b * a.L + l) * a.D + c] = written<S>(sums[1]);
  }
  // Of the image's part in the gate's gradient; the whole warp.
  MEMGAN_DEVICE void gate(int64_t c) const {
    const Memory<S> m{a, b, words};
    const int lane = int(threadIdx.x) % kWarp;
    T sums[3] = {}, of_read = 0;  // of w_r, of the bias, of the lane's row
    for (int first = 0; first == 0 || first < count; first += kWarp) {
      const int64_t of_gate = first == 0 && c < a.C ? count * a.C + c : -1;
      sums[2] = 0;
      totals(
          {of_gate, first == 0 && c == 0 ? reads() + a.L : -1, first + lane < count ? reads() + first + lane : -1},
          sums);
      for (int k = 0; k < kWarp && first + k < count; k += kValuesAtOnce<T>) {
        T value[kValuesAtOnce<T>];
        MEMGAN_UNROLL
        for (int i = 0; i < kValuesAtOnce<T>; ++i) {
          const int row = first + k + i;
          value[i] = m.value(row < count ? row : count - 1, c < a.C ? c : 0);
        }
        MEMGAN_UNROLL
        for (int i = 0; i < kValuesAtOnce<T>; ++i) {
          const T of_row = __shfl_sync(kAllLanes, sums[2], k + i);
          if (first + k + i < count) of_read += of_row * value[i];
        }
      }
    }
    T* to = static_cast<T*>(a.gate_partial) + b * (2 * a.C + 1);
    if (c < a.C) to[c] = sums[0], to[a.C + c] = of_read;
    if (c == 0) to[2 * a.C] = sums[1];
  }
};

// Adds the chunks of image first_image + blockIdx.x → its grad_keys, grad_values and gate_partial.
template <typename S>
__global__ void __launch_bounds__(kFinishThreads, 2) attend_finish_image(const __grid_constant__ BackwardArgs a) {
  using T = typename Compute<S>::type;
  int32_t* words = reinterpret_cast<int32_t*>(shared_memory());
  int32_t* place = words + a.L + 1;
  const int64_t b = a.first_image + blockIdx.x;
  const int thread = int(threadIdx.x);
  for (int64_t l = thread; l < a.L; l += kFinishThreads) place[l] = -1;
  const int count = find_real_words(a, b, words);
  for (int row = thread; row < count; row += kFinishThreads) place[words[row]] = row;
  __syncthreads();
  const T* partial = static_cast<const T*>(a.partial) + blockIdx.x * a.chunks * partial_size(a);
  const FinishImage<S> image{a, b, partial, words, place, count};
  const int64_t unit = (blockIdx.y * int64_t(kFinishThreads) + thread) / kWarp, rows = finish_rows(a);
  const int64_t row = unit % rows, c = unit / rows * kWarp + thread % kWarp;
  if (row < a.L) image.word(row, c);
  else if (a.gate_weight != nullptr) image.gate(c);
}

// Adds gate_partial over images → the gradients of the gate's weight and bias; a warp a number.
template <typename S>
__global__ void __launch_bounds__(kFinishThreads) attend_finish_gate(const __grid_constant__ BackwardArgs a) {
  using T = typename Compute<S>::type;
  const int64_t i = (blockIdx.x * int64_t(kFinishThreads) + threadIdx.x) / kWarp;
  if (i > 2 * a.C) return;  // the whole warp
  T sum = 0;
  MEMGAN_UNROLL_BY(4)
  for (int64_t b = threadIdx.x % kWarp; b < a.B; b += kWarp)
    sum += static_cast<const T*>(a.gate_partial)[b * (2 * a.C + 1) + i];
  sum = sum_of_warp(sum);
  if (threadIdx.x % kWarp > 0) return;
  S* to = i < 2 * a.C ? static_cast<S*>(a.grad_weight) + i : static_cast<S*>(a.grad_bias);
  *to = written<S>(sum);
}

}  // namespace memgan::cuda
