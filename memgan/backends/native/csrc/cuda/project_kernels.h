// Projecting: k_l = [M_k m_l + b_k]+ and v_l = [M_v m_l + b_v]+, and the backward. With G_k and G_v the gradients of
// the results, dk = G_k [k > 0] and dv = G_v [v > 0] are taken from memory as factors of
//   grad_m = dk M_k + dv M_v     grad_M_k = dk^T m     grad_b_k = sum dk     and of the values the same
// One launch forward; backward two, of which the first clears what the blocks of the other count.
#pragma once

#include "project.h"

namespace memgan::cuda {

// A tile of rows, blockIdx.x, by one of the keys' channels or, behind those, of the values', blockIdx.y.
template <typename S>
__global__ void __launch_bounds__(kProductThreads<typename Compute<S>::type>, 1)
    project_forward(const __grid_constant__ ProjectArgs a) {
  using T = typename Compute<S>::type;
  const int64_t of_keys = tiles_of(a.keys.channels, kProductColumns), tile = blockIdx.y;
  const Projection& p = tile < of_keys ? a.keys : a.values;
  const int64_t row = int64_t(blockIdx.x) * kProductRows, rows = a.R - row;
  const int64_t column = (tile < of_keys ? tile : tile - of_keys) * kProductColumns, columns = p.channels - column;
  Product<T> product(shared_memory());
  product.template compute<false>(
      a.M, Factor<S, Lies::along>{at<S>(a.memory, row * a.M), a.M, rows},
      Factor<S, Lies::along>{at<S>(p.weight, column * a.M), a.M, columns});
  product.gather();
  S* to = static_cast<S*>(p.out) + row * p.channels + column;
  product.each(rows, columns, [&](int i, int j, T sum) {
    to[i * p.channels + j] = written<S>(relu(sum + T(read(*at<S>(p.bias, column + j)))));
  });
}

template <typename S>
struct ProjectTile {
  using T = typename Compute<S>::type;
  const ProjectBackwardArgs& a;

  // The gradient behind the ReLU, from its row and channel on.
  template <Lies kLies>
  static MEMGAN_DEVICE Factor<S, kLies> slopes(const Projection& p, int64_t row, int64_t channel, int64_t count) {
    const int64_t first = row * p.channels + channel;
    return {at<S>(p.grad, first), p.channels, count, nullptr, at<S>(p.result, first)};
  }

  MEMGAN_DEVICE void of_memory(int64_t tile) const {
    const int64_t across = tiles_of(a.M, kProductColumns);
    const int64_t row = tile / across * kProductRows, column = tile % across * kProductColumns;
    const int64_t rows = a.R - row, columns = a.M - column;
    Product<T> product(shared_memory());
    const auto weights = [&](const Projection& p) {
      return Factor<S, Lies::across>{at<S>(p.weight, column), a.M, columns};
    };
    product.template compute<false>(a.keys.channels, slopes<Lies::along>(a.keys, row, 0, rows), weights(a.keys));
    product.template add<false>(a.values.channels, slopes<Lies::along>(a.values, row, 0, rows), weights(a.values));
    product.gather();
    S* to = static_cast<S*>(a.grad_memory) + row * a.M + column;
    product.each(rows, columns, [&](int i, int j, T sum) { to[i * a.M + j] = written<S>(sum); });
  }

  MEMGAN_DEVICE void of_weight(const Projection& p, int64_t block) const {
    const int64_t tile = block / a.split.parts, part = block % a.split.parts, first = part * a.split.rows;
    const int64_t of_inputs = tiles_of(a.M, kProductColumns), across = of_inputs > 0 ? of_inputs : 1;
    const int64_t channel = tile / across * kProductRows, column = tile % across * kProductColumns;
    const int64_t rows = p.channels - channel, columns = a.M - column;
    Product<T> product(shared_memory());
    product.template compute<true>(
        a.R - first < a.split.rows ? a.R - first : a.split.rows, slopes<Lies::across>(p, first, channel, rows),
        Factor<S, Lies::across>{at<S>(a.memory, first * a.M + column), a.M, columns});
    product.gather();
    T* kept = static_cast<T*>(p.kept) + tile * a.split.parts * Product<T>::kPartNumbers;
    if (!product.complete(a.split.parts, part, kept, p.arrived + tile)) return;
    S* to = static_cast<S*>(p.grad_weight) + channel * a.M + column;
    product.each(rows, columns, [&](int i, int j, T sum) { to[i * a.M + j] = written<S>(sum); });
    const int64_t of_bias = channel + threadIdx.x / 4;
    if (column == 0 && product.team() == 0 && threadIdx.x % 4 == 0 && of_bias < p.channels)
      static_cast<S*>(p.grad_bias)[of_bias] = written<S>(product.row_sum);
  }
};

MEMGAN_BOTH int64_t counts_of(const ProjectBackwardArgs& a) {
  return project_tiles_of_weight(a, a.keys) + project_tiles_of_weight(a, a.values);
}
template <typename S>
__global__ void __launch_bounds__(kTeamThreads) project_clear_counts(const __grid_constant__ ProjectBackwardArgs a) {
  const int64_t i = int64_t(blockIdx.x) * kTeamThreads + threadIdx.x;  // the values' behind the keys'
  if (i < counts_of(a)) a.keys.arrived[i] = 0;
}

// Tiles of the memory's gradient, then of the keys' weight, then of the values'.
template <typename S>
__global__ void __launch_bounds__(kProductThreads<typename Compute<S>::type>, 1)
    project_backward(const __grid_constant__ ProjectBackwardArgs a) {
  const ProjectTile<S> work{a};
  const int64_t of_memory = project_tiles_of_memory(a);
  const int64_t of_keys = project_tiles_of_weight(a, a.keys) * a.split.parts, block = blockIdx.x;
  if (block < of_memory) work.of_memory(block);
  else if (block < of_memory + of_keys) work.of_weight(a.keys, block - of_memory);
  else work.of_weight(a.values, block - of_memory - of_keys);
}

}  // namespace memgan::cuda
