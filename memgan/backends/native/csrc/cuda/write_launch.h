// The launches of memory_write: host code, the same for CUDA and for the emulator.
#pragma once

#include "launch.h"
#include "write_kernels.h"

namespace memgan::cuda {

template <typename T>
Grid write_grid(const WriteArgs& a, void* stream) {
  const int64_t rows = tiles_of(a.B * a.L, kProductRows), columns = tiles_of(a.M, kProductColumns);
  return {rows, columns, kProductThreads<T>, kWriteShared<T>, stream};
}

template <typename S>
const char* write_forward_of(const WriteForwardArgs& a, void* stream) {
  return launch(write_forward<S>, write_grid<typename Compute<S>::type>(a, stream), a);
}

inline void split_sums(WriteBackwardArgs& a) {
  for (LinearBackward* side : {&a.words_side, &a.image_side})
    side->split = split_of(side->rows, tiles_of_weight(*side, a.M));
}

// Bytes of workspace of the backward.
inline int64_t write_workspace(WriteBackwardArgs a) {
  split_sums(a);
  const int64_t rows = a.B * a.L;
  int64_t numbers = (rows + a.B) * (a.M + 1) + (2 + tiles_of(a.M, kProductColumns)) * rows, counts = 0;
  for (const LinearBackward* side : {&a.words_side, &a.image_side})
    if (side->split.parts > 1) {
      numbers += blocks_of_weight(*side, a.M) * Product<float>::kPartNumbers;
      counts += tiles_of_weight(*side, a.M);
    }
  return numbers * (a.dtype == Dtype::float64 ? 8 : 4) + counts * int64_t(sizeof(unsigned));
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
  split_sums(a);
  for (LinearBackward* side : {&a.words_side, &a.image_side})
    if (side->split.parts > 1) side->kept = take(blocks_of_weight(*side, a.M) * Product<T>::kPartNumbers);
  unsigned* counts = reinterpret_cast<unsigned*>(next);
  for (LinearBackward* side : {&a.words_side, &a.image_side})
    if (side->split.parts > 1) {
      side->arrived = counts;
      counts += tiles_of_weight(*side, a.M);
    }
  if (const char* error = launch(write_slopes<S>, write_grid<T>(a, stream), a)) return error;
  const int64_t channels = tiles_of(a.M, kTeamThreads);
  const Grid images{a.B, channels > 0 ? channels : 1, kTeamThreads, 0, stream};
  if (const char* error = launch(write_finish_slopes<S>, images, a)) return error;
  const int64_t blocks = tiles_of_x(a.words_side) + blocks_of_weight(a.words_side, a.M) + tiles_of_x(a.image_side) +
                         blocks_of_weight(a.image_side, a.M);
  return launch(write_backward<S>, {blocks, 1, kProductThreads<T>, Product<T>::kBytes, stream}, a);
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
