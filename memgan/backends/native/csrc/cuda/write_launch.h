// The launches of memory_write: host code, the same for CUDA and for the emulator.
#pragma once

#include "write_kernels.h"

namespace memgan::cuda {

inline Grid write_grid(const WriteArgs& a, int64_t shared, void* stream) {
  return {tiles_of(a.B * a.L, kProductRows), tiles_of(a.M, kProductColumns), kProductThreads, shared, stream};
}

template <typename S>
const char* write_forward_of(const WriteForwardArgs& a, void* stream) {
  return launch(write_forward<S>, write_grid(a, kWriteShared<typename Compute<S>::type>, stream), a);
}

// Bytes of workspace of the backward.
inline int64_t write_workspace(const WriteArgs& a) {
  const int64_t rows = a.B * a.L, numbers = (rows + a.B) * (a.M + 1) + (2 + tiles_of(a.M, kProductColumns)) * rows;
  return numbers * (a.dtype == Dtype::float64 ? 8 : 4);
}

template <typename S>
const char* write_backward_of(WriteBackwardArgs a, void* stream) {
  using T = typename Compute<S>::type;
  const int64_t rows = a.B * a.L;
  T* next = static_cast<T*>(a.workspace);
  const auto take = [&](int64_t numbers) {
    T* taken = next;
    next += numbers;
    return taken;
  };
  a.words_side.slopes = take(rows * (a.M + 1));
  a.image_side.slopes = take(a.B * (a.M + 1));
  a.gates = take(2 * rows);
  a.gate_parts = take(tiles_of(a.M, kProductColumns) * rows);
  if (const char* error = launch(write_slopes<S>, write_grid(a, kWriteShared<T>, stream), a)) return error;
  const int64_t channels = tiles_of(a.M, kProductThreads);
  const Grid images{a.B, channels > 0 ? channels : 1, kProductThreads, 0, stream};
  if (const char* error = launch(write_finish_slopes<S>, images, a)) return error;
  const int64_t tiles = tiles_of_x(a.words_side) + tiles_of_weight(a.words_side, a.M) + tiles_of_x(a.image_side) +
                        tiles_of_weight(a.image_side, a.M);
  return launch(write_backward<S>, {tiles, 1, kProductThreads, Product<T>::kBytes, stream}, a);
}

// nullptr, or why the device refused.
inline const char* write_memory(const WriteForwardArgs& a, void* stream) {
  switch (a.dtype) {
    case Dtype::float32: return write_forward_of<float>(a, stream);
    case Dtype::float64: return write_forward_of<double>(a, stream);
    case Dtype::bfloat16: return write_forward_of<Bf16>(a, stream);
    case Dtype::float16: return write_forward_of<Half>(a, stream);
  }
  return "no such dtype";
}
inline const char* write_gradients(const WriteBackwardArgs& a, void* stream) {
  switch (a.dtype) {
    case Dtype::float32: return write_backward_of<float>(a, stream);
    case Dtype::float64: return write_backward_of<double>(a, stream);
    case Dtype::bfloat16: return write_backward_of<Bf16>(a, stream);
    case Dtype::float16: return write_backward_of<Half>(a, stream);
  }
  return "no such dtype";
}

}  // namespace memgan::cuda
