// Writing, backward. With p = [u]+ and q = [v]+ the two projections, and G the gradient of the memory:
//   du = g G [u > 0]     dv = sum_l (1 - g_l) G_l [v > 0]     dz_l = g_l (1 - g_l) G_l . (p_l - q)
// and from these, the gate being one more row of either weight,
//   grad_x = [du dz] [M; A]     grad_[M; A] = [du dz]^T x     grad_b = sum du
// The slopes du, dv, dz wait in memory between two passes over items; every sum has one order, whatever the threads.
#pragma once

#include "write_forward.h"

namespace memgan::cpu::MEMGAN_ISA {

// First pass: an item's slopes.
template <typename S>
void run_write_slopes(const WriteBackwardArgs& a, int64_t (*next)(void*), void* state) {
  using T = typename Compute<S>::type;
  constexpr int lanes = Simd<T>::lanes;
  Projections<S> p(a);
  Arena<T> arena((p.most_words + 1) * kPixels + p.most_words * lanes);
  T *grads = arena.take(p.most_words * kPixels), *image_slope = arena.take(kPixels);
  T* gate_slope = arena.take(p.most_words * lanes);
  const int64_t rows = a.B * a.L, width = a.M + 1;
  for (int64_t item = next(state); item >= 0; item = next(state)) {
    p.compute(item);
    const int64_t first = p.image * a.L;
    load_tile<S>(p.at(a.grad, first * a.M + p.column), a.M, 1, p.words, p.words, p.columns, grads);
    std::fill(gate_slope, gate_slope + p.words * lanes, T(0));
    for (int64_t b = 0; b < p.images; ++b) {
      for (int i = 0; i < kPixels; i += lanes) {
        const Vec<T> word_bias = load<T>(p.word_bias + i);
        const Vec<T> v = load<T>(p.from_image + b * kPixels + i) + load<T>(p.image_bias + i), q = p.relu(v);
        Vec<T> sum{};
        for (int64_t l = b * a.L; l < (b + 1) * a.L; ++l) {
          T* at = p.from_words + l * kPixels + i;
          const Vec<T> u = load<T>(at) + word_bias, G = load<T>(grads + l * kPixels + i);
          store<T>(gate_slope + l * lanes, load<T>(gate_slope + l * lanes) + G * (p.relu(u) - q));
          sum += G * p.closed[l];
          store<T>(at, u <= T(0) ? Vec<T>{} : G * p.open[l]);
        }
        store<T>(image_slope + i, v <= T(0) ? Vec<T>{} : sum);
      }
      T* of_image = static_cast<T*>(a.image_side.slopes) + (p.image + b) * width + p.column;
      std::copy(image_slope, image_slope + p.columns, of_image);
    }
    T* of_words = static_cast<T*>(a.words_side.slopes) + first * width + p.column;
    T* of_gate = static_cast<T*>(a.gate_slopes) + p.column / kPixels * rows + first;
    T* derivative = static_cast<T*>(a.gate_slopes) + column_tiles(a.M) * rows + first;
    for (int64_t l = 0; l < p.words; ++l) {
      std::copy(p.from_words + l * kPixels, p.from_words + l * kPixels + p.columns, of_words + l * width);
      of_gate[l] = sum_lanes<T>(load<T>(gate_slope + l * lanes));
      if (p.column == 0) derivative[l] = p.open[l] * p.closed[l];
    }
  }
}

// Between the passes: dz, and its sum over an image's words, behind the other slopes.
template <typename T>
void finish_slopes(const WriteBackwardArgs& a) {
  const int64_t rows = a.B * a.L, width = a.M + 1, tiles = column_tiles(a.M);
  const T *parts = static_cast<const T*>(a.gate_slopes), *derivative = parts + tiles * rows;
  T* of_words = static_cast<T*>(a.words_side.slopes) + a.M;
  T* of_image = static_cast<T*>(a.image_side.slopes) + a.M;
  for (int64_t b = 0; b < a.B; ++b) {
    T of_all = 0;
    for (int64_t l = b * a.L; l < (b + 1) * a.L; ++l) {
      T sum = 0;
      for (int64_t tile = 0; tile < tiles; ++tile) sum += parts[tile * rows + l];
      of_words[l * width] = tiles > 0 ? sum * derivative[l] : T(0);
      of_all += of_words[l * width];
    }
    of_image[b * width] = of_all;
  }
}

// Second pass: the two products of a linear layer's backward, a tile of its inputs at a time.
template <typename S>
struct LinearItem {
  using T = typename Compute<S>::type;
  const LinearBackward& side;
  const int64_t M, width;

  int64_t column = 0, columns = 0, first = 0, rows = 0;

  void place(int64_t item, int64_t blocks, int64_t all) {
    column = item / blocks * kPixels;
    columns = std::min<int64_t>(kPixels, side.inputs - column);
    first = item % blocks * kWriteRows;
    rows = std::min(kWriteRows, all - first);
  }
  const T* slopes() const { return static_cast<const T*>(side.slopes); }

  void of_x(int64_t item) {
    place(item, row_blocks(side.rows), side.rows);
    Arena<T> arena(rows * width + (width + rows) * kPixels);
    T *packed = arena.take(rows * width), *tile = arena.take(width * kPixels), *result = arena.take(rows * kPixels);
    pack_rows<T>(rows, width, packed, [&](int64_t row, int64_t m) { return slopes()[(first + row) * width + m]; });
    load_tile<S>(static_cast<const S*>(side.weight) + column, side.inputs, 1, M, M, columns, tile);
    load_tile<S>(static_cast<const S*>(side.gate) + column, side.inputs, 1, 1, 1, columns, tile + M * kPixels);
    product_rows<T, Init::zero>(rows, packed, tile, kPixels, width, result, kPixels);
    store_tile<S>(static_cast<S*>(side.grad_x) + first * side.inputs + column, side.inputs, 1, rows, columns, result);
  }

  void of_weight(int64_t item) {
    place(item, row_blocks(width), width);  // rows of the weight, the gate's behind them
    Arena<T> arena((2 * rows + kWriteRows + 1) * kPixels + rows * kWriteRows);
    T *packed = arena.take(rows * kWriteRows), *tile = arena.take(kWriteRows * kPixels);
    T *result = arena.take(rows * kPixels), *ones = arena.take(kPixels), *bias = arena.take(rows);
    std::fill(result, result + rows * kPixels, T(0));
    std::fill(ones, ones + kPixels, T(1));
    std::fill(bias, bias + rows, T(0));
    for (int64_t k = 0; k < side.rows; k += kWriteRows) {
      const int64_t count = std::min(kWriteRows, side.rows - k);
      const T* from = slopes() + k * width + first;
      if (column == 0)
        for (int64_t i = 0; i < count; ++i)
          for (int64_t m = 0; m < rows; ++m) bias[m] += from[i * width + m];
      if (columns <= 0) continue;
      pack_rows<T>(rows, count, packed, [&](int64_t m, int64_t i) { return from[i * width + m]; });
      load_tile<S>(
          static_cast<const S*>(side.x) + k * side.inputs + column, side.inputs, 1, count, count, columns, tile);
      product_rows<T, Init::scaled>(
          rows, packed, tile, kPixels, count, result, kPixels, {.start = result, .factor = ones});
    }
    const int64_t of_layer = std::min(rows, M - first);
    if (column == 0)
      for (int64_t m = 0; m < of_layer; ++m) static_cast<S*>(side.grad_bias)[first + m] = written<S>(bias[m]);
    if (columns <= 0) return;
    store_tile<S>(
        static_cast<S*>(side.grad_weight) + first * side.inputs + column, side.inputs, 1, of_layer, columns, result);
    if (of_layer < rows)
      store_tile<S>(static_cast<S*>(side.grad_gate) + column, side.inputs, 1, 1, columns, result + of_layer * kPixels);
  }
};

template <typename S>
void run_write_backward(const WriteBackwardArgs& a, int64_t (*next)(void*), void* state) {
  LinearItem<S> words{a.words_side, a.M, a.M + 1}, image{a.image_side, a.M, a.M + 1};
  for (int64_t item = next(state); item >= 0; item = next(state)) {
    for (LinearItem<S>* side : {&words, &image}) {
      const int64_t of_x = items_of_x(side->side), of_weight = items_of_weight(side->side, a.M);
      if (item >= 0 && item < of_x) side->of_x(item);
      else if (item >= of_x && item < of_x + of_weight) side->of_weight(item - of_x);
      item -= of_x + of_weight;
    }
  }
}

inline void write_slopes(const WriteBackwardArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return run_write_slopes<float>(a, next, state);
    case Dtype::float64: return run_write_slopes<double>(a, next, state);
    case Dtype::bfloat16: return run_write_slopes<Bf16>(a, next, state);
  }
}
inline void finish_write_slopes(const WriteBackwardArgs& a) {
  if (a.dtype == Dtype::float64) finish_slopes<double>(a);
  else finish_slopes<float>(a);
}
inline void write_backward(const WriteBackwardArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return run_write_backward<float>(a, next, state);
    case Dtype::float64: return run_write_backward<double>(a, next, state);
    case Dtype::bfloat16: return run_write_backward<Bf16>(a, next, state);
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
