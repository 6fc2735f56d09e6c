// Sums over chunks and images, always in the same order.
#pragma once

#include "attend_words.h"

namespace memgan::cuda {

constexpr int kFinishThreads = 256, kFinishAtOnce = 8;

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

  MEMGAN_DEVICE T total(int64_t i) const {
    const int64_t size = partial_size(a);
    T sum = 0;
    for (int64_t chunk = 0; chunk < a.chunks; chunk += kFinishAtOnce) {
      T next[kFinishAtOnce];  // on their way together, added in order
      MEMGAN_UNROLL
      for (int k = 0; k < kFinishAtOnce; ++k) next[k] = chunk + k < a.chunks ? partial[(chunk + k) * size + i] : T(0);
      MEMGAN_UNROLL
      for (int k = 0; k < kFinishAtOnce; ++k) sum += next[k];
    }
    return sum;
  }
  MEMGAN_DEVICE int64_t values() const { return (a.L + 1) * a.C; }
  MEMGAN_DEVICE T read_sum(int row) const { return total(values() + a.L * a.D + row); }

  MEMGAN_DEVICE void word(int64_t l, int64_t c) const {
    const int row = place[l];
    const bool gated = a.gate_weight != nullptr && c < a.D;
    const T of_key = row >= 0 && c < a.C ? total(row * a.C + c) : T(0);
    T of_value = row >= 0 && c < a.D ? total(values() + row * a.D + c) : T(0);
    const T of_read = row >= 0 && gated ? read_sum(row) : T(0);
    if (gated) of_value += read(static_cast<const S*>(a.gate_weight)[a.C + c]) * of_read;
    if (c < a.C) static_cast<S*>(a.grad_keys)[(b * a.L + l) * a.C + c] = written<S>(of_key);
    if (c < a.D) static_cast<S*>(a.grad_values)[(b * a.L + l) * a.D + c] = written<S>(of_value);
  }
  // Of the image's part in the gate's gradient; the whole warp.
  MEMGAN_DEVICE void gate(int64_t c) const {
    T* to = static_cast<T*>(a.gate_partial) + b * (2 * a.C + 1);
    const Memory<S> m{a, b, words};
    const int lane = int(threadIdx.x) % kWarp;
    T of_read = 0;
    for (int first = 0; first < count; first += kWarp) {
      const T mine = first + lane < count ? read_sum(first + lane) : T(0);
      MEMGAN_UNROLL_BY(16)
      for (int k = 0; k < kWarp; ++k) {
        const T of_row = __shfl_sync(kAllLanes, mine, k);
        if (first + k < count && c < a.C) of_read += of_row * m.value(first + k, c);
      }
    }
    if (c < a.C) {
      to[c] = total(count * a.C + c);
      to[a.C + c] = of_read;
    }
    if (c == 0) to[2 * a.C] = read_sum(int(a.L));
  }
};

// Adds the chunks of image first_image + blockIdx.x → its grad_keys, grad_values and gate_partial.
template <typename S>
__global__ void __launch_bounds__(kFinishThreads, 3) attend_finish_image(const __grid_constant__ BackwardArgs a) {
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
