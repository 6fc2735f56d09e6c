// What the CPU kernels of norm_glu are given. Plain C++: nothing of torch in here.
//
// B images, 2C channels of x: C values, then their C gates. N pixels. Everything is dense, x and the result alike
// contiguous or channels_last.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dtype.h"

namespace memgan::cpu {

struct NormGluArgs {
  Dtype dtype = Dtype::float32;
  int64_t B = 0, C = 0, N = 0;
  bool last = false;        // channels_last
  const void* x = nullptr;  // (B, 2C, N)
  // (2, norm_width(C)), in the dtype that is computed in: of the values, then of the gates, the ends unused.
  const void *mean = nullptr, *scale = nullptr, *shift = nullptr;  // norm(x) = (x - mean) scale + shift
  double* partial = nullptr;  // (chunks, 2C, 2): of a chunk, mean and sum of squares about it; or two sums
};

struct NormGluForwardArgs : NormGluArgs {
  void* out = nullptr;  // (B, C, N)
};

struct NormGluBackwardArgs : NormGluArgs {
  const void* grad = nullptr;  // (B, C, N)
  // As mean: with D the gradient of norm(x), grad_x = scale (D - centre - (x - mean) slope).
  const void *centre = nullptr, *slope = nullptr;
  void* grad_x = nullptr;  // (B, 2C, N)
};

constexpr int64_t kNormRows = 512;    // of channels_last pixels in a chunk
constexpr int64_t kNormVectors = 64;  // of a tile: what is added up in the dtype that is computed in, before float64
constexpr int64_t kNormPadding = 16;  // a register of floats

inline int64_t norm_width(int64_t C) { return C + kNormPadding; }
// By sizes alone, never by the number of threads. An item is a chunk (channels_last), or a pair of its channels.
inline int64_t norm_chunks(const NormGluArgs& a) { return a.last ? (a.B * a.N + kNormRows - 1) / kNormRows : a.B; }
inline int64_t norm_items(const NormGluArgs& a) { return norm_chunks(a) * (a.last ? 1 : a.C); }
inline int64_t norm_count(const NormGluArgs& a, int64_t chunk) {  // numbers of a channel in a chunk
  return a.last ? std::min(kNormRows, a.B * a.N - chunk * kNormRows) : a.N;
}

}  // namespace memgan::cpu
