// What the CPU kernels of memory_write are given. Plain C++: nothing of torch in here.
//
// B images, L words, E word features, C image features, M memory channels. Everything is contiguous.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dtype.h"

namespace memgan::cpu {

struct WriteArgs {
  Dtype dtype = Dtype::float32;
  int64_t B = 0, L = 0, E = 0, C = 0, M = 0;
  const void *words = nullptr, *summary = nullptr;            // (B, L, E), (B, C)
  const void *word_weight = nullptr, *word_bias = nullptr;    // (M, E), (M,)
  const void *image_weight = nullptr, *image_bias = nullptr;  // (M, C), (M,)
  const void *gate_word = nullptr, *gate_image = nullptr;     // (E,), (C,)
};

struct WriteForwardArgs : WriteArgs {
  void* out = nullptr;  // (B, L, M)
};

// The backward of y = x weight^T, and of the gate's logit, one more row of the weight.
struct LinearBackward {
  int64_t rows = 0, inputs = 0;                                 // of x
  const void *x = nullptr, *weight = nullptr, *gate = nullptr;  // (rows, inputs), (M, inputs), (inputs,)
  void* slopes = nullptr;  // (rows, M + 1) in the dtype that is computed in; the gate's last
  void *grad_x = nullptr, *grad_weight = nullptr, *grad_bias = nullptr, *grad_gate = nullptr;
};

struct WriteBackwardArgs : WriteArgs {
  const void* grad = nullptr;   // (B, L, M)
  void* gate_slopes = nullptr;  // (tiles + 1, B L), computed in: G . (p - q) of each tile of M; then g (1 - g)
  LinearBackward words_side, image_side;
};

// Items of the kernels: a tile of kPixels columns by some rows. By sizes alone, never by the number of threads.
constexpr int64_t kWriteRows = 96;
inline int64_t column_tiles(int64_t columns) { return (columns + kPixels - 1) / kPixels; }
inline int64_t images_an_item(const WriteArgs& a) {
  return std::max<int64_t>(1, kWriteRows / std::max<int64_t>(1, a.L));
}
inline int64_t write_items(const WriteArgs& a) {
  return column_tiles(a.M) * ((a.B + images_an_item(a) - 1) / images_an_item(a));
}
inline int64_t row_blocks(int64_t rows) { return (rows + kWriteRows - 1) / kWriteRows; }
inline int64_t items_of_x(const LinearBackward& s) { return column_tiles(s.inputs) * row_blocks(s.rows); }
// At least one tile of columns: the bias has a gradient where there are no inputs too.
inline int64_t items_of_weight(const LinearBackward& s, int64_t M) {
  return std::max<int64_t>(1, column_tiles(s.inputs)) * row_blocks(M + 1);
}

}  // namespace memgan::cpu
