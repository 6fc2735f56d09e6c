// What the CUDA kernels of memory_write are given. Plain C++: nothing of torch or CUDA in here.
//
// B images, L words, E word features, C image features, M memory channels, R = B * L rows of words. All is contiguous.
#pragma once

#include <cstdint>

#include "product.h"

namespace memgan::cuda {

struct WriteArgs {
  Dtype dtype = Dtype::float32;
  int64_t B = 0, L = 0, E = 0, C = 0, M = 0;
  const void *words = nullptr, *summary = nullptr;            // (B, L, E), (B, C)
  const void *word_weight = nullptr, *word_bias = nullptr;    // (M, E), (M,)
  const void *image_weight = nullptr, *image_bias = nullptr;  // (M, C), (M,)
  const void *gate_word = nullptr, *gate_image = nullptr;     // (E,), (C,)
  const bool* real = nullptr;  // (R,), false for padding, whose words count as zeros; nullptr: all are real
};

struct WriteForwardArgs : WriteArgs {
  void* out = nullptr;  // (B, L, M)
};

// The backward of y = x weight^T, and of the gate's logit, one more row of the weight.
struct LinearBackward {
  int64_t rows = 0, inputs = 0;                                 // of x
  const void *x = nullptr, *weight = nullptr, *gate = nullptr;  // (rows, inputs), (M, inputs), (inputs,)
  const bool* real = nullptr;  // (rows,), false for rows that count as zeros; nullptr: all are real
  void *grad_x = nullptr, *grad_weight = nullptr, *grad_bias = nullptr, *grad_gate = nullptr;
  // In the workspace, set by the launch: (rows, M + 1), gradients of y and, last, of the logit; what blocks that share
  // a tile of the weight keep, and how many of them have come.
  void *slopes = nullptr, *kept = nullptr;
  unsigned* arrived = nullptr;
  Split split;
};

struct WriteBackwardArgs : WriteArgs {
  const void* grad = nullptr;  // (B, L, M)
  LinearBackward words_side, image_side;
  void* workspace = nullptr;  // as many bytes as `write_workspace` says
  // In it, set by the launch: g and 1 - g of each word (2, R); G . (p - q) of each tile of M (tiles, R).
  void *gates = nullptr, *gate_parts = nullptr;
};

// Tiles of the two products of a linear layer's backward. At least one of columns for the weight: the bias has a
// gradient where there are no inputs too.
MEMGAN_BOTH int64_t tiles_of_x(const LinearBackward& s) {
  return tiles_of(s.rows, kProductRows) * tiles_of(s.inputs, kProductColumns);
}
MEMGAN_BOTH int64_t tiles_of_weight(const LinearBackward& s, int64_t M) {
  const int64_t columns = tiles_of(s.inputs, kProductColumns);
  return tiles_of(M + 1, kProductRows) * (columns > 0 ? columns : 1);
}
MEMGAN_BOTH int64_t blocks_of_weight(const LinearBackward& s, int64_t M) {
  return tiles_of_weight(s, M) * s.split.parts;
}

}  // namespace memgan::cuda
