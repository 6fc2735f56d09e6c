// Sums over chunks and images, always in the same order.
#pragma once

#include "attend_words.h"

namespace memgan::cuda {

constexpr int kFinishThreads = 256, kFinishChannels = 32, kFinishAtOnce = 8;

// Of dynamic shared memory: sums of dz a_l, and of dz behind them; the list of real words; where each word is in it.
template <typename T>
int64_t finish_shared(const AttendArgs& a) {
  return (a.L + 1) * int64_t(sizeof(T)) + (2 * a.L + 1) * 4;
}

// Adds the chunks of image first_image + blockIdx.x for 32 channels → its rows of grad_keys, grad_values, gate_partial.
template <typename S>
__global__ void __launch_bounds__(kFinishThreads) attend_finish_image(const __grid_constant__ BackwardArgs a) {
  using T = typename Compute<S>::type;
  T* read_sum = reinterpret_cast<T*>(shared_memory());
  int32_t* words = reinterpret_cast<int32_t*>(read_sum + a.L + 1);
  int32_t* place = words + a.L + 1;
  const int64_t b = a.first_image + blockIdx.x, size = partial_size(a);
  const T* partial = static_cast<const T*>(a.partial) + blockIdx.x * a.chunks * size;
  const auto total = [&](int64_t i) {
    T sum = 0;
    for (int64_t chunk = 0; chunk < a.chunks; chunk += kFinishAtOnce) {
      T next[kFinishAtOnce];  // on their way together, added in order
      MEMGAN_UNROLL
      for (int k = 0; k < kFinishAtOnce; ++k)
        next[k] = chunk + k < a.chunks ? partial[(chunk + k) * size + i] : T(0);
      MEMGAN_UNROLL
      for (int k = 0; k < kFinishAtOnce; ++k) sum += next[k];
    }
    return sum;
  };
  const int64_t values = (a.L + 1) * a.C, reads = values + a.L * a.D;
  const int thread = int(threadIdx.x), count = find_real_words(a, b, words);
  for (int64_t i = thread; i <= a.L; i += kFinishThreads) read_sum[i] = i < count || i == a.L ? total(reads + i) : T(0);
  for (int64_t l = thread; l < a.L; l += kFinishThreads) place[l] = -1;
  __syncthreads();
  for (int row = thread; row < count; row += kFinishThreads) place[words[row]] = row;
  __syncthreads();

  const Memory<S> m{a, b, words};
  const bool gated = a.gate_weight != nullptr;
  const int64_t c = blockIdx.y * kFinishChannels + thread % kFinishChannels;
  for (int64_t l = thread / kFinishChannels; l < a.L; l += kFinishThreads / kFinishChannels) {
    const int row = place[l];
    if (c < a.C)
      static_cast<S*>(a.grad_keys)[(b * a.L + l) * a.C + c] = written<S>(row < 0 ? T(0) : total(row * a.C + c));
    if (c >= a.D) continue;
    T grad = row < 0 ? T(0) : total(values + row * a.D + c);
    if (gated && row >= 0) grad += m.gate(a.C + c) * read_sum[row];
    static_cast<S*>(a.grad_values)[(b * a.L + l) * a.D + c] = written<S>(grad);
  }
  if (!gated || thread >= kFinishChannels) return;
  T* gate = static_cast<T*>(a.gate_partial) + b * (2 * a.C + 1);
  if (c < a.C) {
    T of_read = 0;
    for (int row = 0; row < count; ++row) of_read += read_sum[row] * m.value(row, c);
    gate[c] = total(count * a.C + c);
    gate[a.C + c] = of_read;
  }
  if (blockIdx.y == 0 && thread == 0) gate[2 * a.C] = read_sum[a.L];
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
