// What all kernels of memory_read and memory_refine share: the list of real words, and the response gate.
#pragma once

#include <cmath>
#include <type_traits>

#include "attend.h"

namespace memgan::cuda {

// The real words of image `b`, first and in order, into shared memory; returns how many they are. All threads of the
// block call it; `words` may be read after it, by all of them. At [L] of `words` the count itself.
MEMGAN_DEVICE int find_real_words(const AttendArgs& a, int64_t b, int32_t* words) {
  __syncthreads();  // nobody reads the list of another image any more
  if (threadIdx.x < kWarp) {
    const int lane = int(threadIdx.x);
    int count = 0;
    for (int64_t l = 0; l < a.L; l += kWarp) {
      const bool real =
          l + lane < a.L && (a.mask.data == nullptr || a.mask.data[b * a.mask.batch + (l + lane) * a.mask.word]);
      const unsigned votes = __ballot_sync(kAllLanes, real);
      if (real) words[count + __popc(votes & ((1u << lane) - 1))] = int32_t(l + lane);
      count += __popc(votes);
    }
    if (lane == 0) words[a.L] = count;
  }
  __syncthreads();
  return words[a.L];
}

// Sum of term(0) ... term(n - 1) by one thread, as four sums: long rows round less so, and no sum waits for another.
template <typename T, typename Term>
MEMGAN_DEVICE T sum_of(int64_t n, Term&& term) {
  T sum[4] = {};
  int64_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int k = 0; k < 4; ++k) sum[k] += term(i + k);
  for (; i < n; ++i) sum[0] += term(i);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Elements of slots and of the gate, in the dtype that is computed in.
template <typename S>
struct Memory {
  using T = typename Compute<S>::type;
  const AttendArgs& a;
  int64_t b;
  const int32_t* words;  // real ones

  MEMGAN_DEVICE S stored_key(int row, int64_t c) const {
    return static_cast<const S*>(a.keys.data)[b * a.keys.batch + words[row] * a.keys.word + c * a.keys.channel];
  }
  MEMGAN_DEVICE S stored_value(int row, int64_t d) const {
    return static_cast<const S*>(a.values.data)[b * a.values.batch + words[row] * a.values.word + d * a.values.channel];
  }
  MEMGAN_DEVICE T key(int row, int64_t c) const { return read(stored_key(row, c)); }
  MEMGAN_DEVICE T value(int row, int64_t d) const { return read(stored_value(row, d)); }
  MEMGAN_DEVICE T gate(int64_t i) const { return read(static_cast<const S*>(a.gate_weight)[i]); }
  MEMGAN_DEVICE T bias() const { return read(*static_cast<const S*>(a.gate_bias)); }
  // w_o . v_l, by one thread.
  MEMGAN_DEVICE T value_gate(int row) const {
    return sum_of<T>(a.D, [&](int64_t d) { return gate(a.C + d) * value(row, d); });
  }
};

template <typename T>
MEMGAN_DEVICE T lowest() {
  return T(-INFINITY);
}
MEMGAN_DEVICE float exponential(float x) { return expf(x); }
MEMGAN_DEVICE double exponential(double x) { return exp(x); }

// sigmoid(z) and 1 - sigmoid(z), each to full precision.
template <typename T>
struct Gate {
  T open, closed;
};
template <typename T>
MEMGAN_DEVICE Gate<T> gate_of(T z) {
  const T t = exponential(z < T(0) ? z : -z);
  const T large = T(1) / (T(1) + t), small = t * large;
  return z < T(0) ? Gate<T>{small, large} : Gate<T>{large, small};
}

}  // namespace memgan::cuda
