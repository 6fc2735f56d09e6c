// Writing: m_l = g_l [M_w w_l + b_w]+ + (1 - g_l) [M_r r + b_r]+ with g_l = sigmoid(A w_l + B r), and its backward.
//
// With p = [u]+ and q = [v]+ the two projections, and G the gradient of the memory:
//   du = g G [u > 0]     dv = sum_l (1 - g_l) G_l [v > 0]     dz_l = g_l (1 - g_l) G_l . (p_l - q)
// and from these, the gate being one more row of either weight,
//   grad_x = [du dz] [M; A]     grad_[M; A] = [du dz]^T x     grad_b = sum du
// Forward is one launch. Backward is three: slopes by tiles, what sums over tiles and words, the products.
#pragma once

#include "attend_words.h"
#include "write.h"

namespace memgan::cuda {

// Of dynamic shared memory: the product's tiles, q of the images in the tile, gates of its rows and images.
template <typename T>
constexpr int64_t kWriteShared =
    Product<T>::kBytes + (kProductRows * kProductColumns + 3 * kProductRows) * int(sizeof(T));

// Both projections before their ReLU, and the gate, for 32 rows of words by 64 memory channels: blockIdx.x and .y.
template <typename S>
struct Projections {
  using T = typename Compute<S>::type;
  const WriteArgs& a;
  const int64_t R, first_row, first_column, first_image;
  int rows, images;  // in the tile
  Product<T> product;
  T *from_image, *open, *closed, *image_logit;  // shared: (images, columns), (rows,), (rows,), (images,)

  MEMGAN_DEVICE explicit Projections(const WriteArgs& args)
      : a(args),
        R(args.B * args.L),
        first_row(int64_t(blockIdx.x) * kProductRows),
        first_column(int64_t(blockIdx.y) * kProductColumns),
        first_image(first_row / args.L),
        rows(int(R - first_row < kProductRows ? R - first_row : kProductRows)),
        images(int((first_row + rows - 1) / args.L - first_image) + 1),
        product(shared_memory()),
        from_image(reinterpret_cast<T*>(shared_memory() + Product<T>::kBytes)),
        open(from_image + kProductRows * kProductColumns),
        closed(open + kProductRows),
        image_logit(closed + kProductRows) {}

  MEMGAN_DEVICE int image_of(int row) const { return int((first_row + row) / a.L - first_image); }

  // sums = x weight^T + bias for the tile.
  MEMGAN_DEVICE void project(
      const S* x, int count, const void* weight, const void* bias, int64_t inputs, const bool* real) {
    const int64_t left = a.M - first_column;
    product.template compute<false>(
        inputs, Factor<S, Lies::along>{x, inputs, count, real},
        Factor<S, Lies::along>{at<S>(weight, first_column * inputs), inputs, left});
    product.gather();
    MEMGAN_UNROLL
    for (int j = 0; j < product.kEach; ++j) {
      const int64_t m = product.column(j);
      const T b = m < left ? T(read(*at<S>(bias, first_column + m))) : T(0);
      MEMGAN_UNROLL
      for (int i = 0; i < product.kEach; ++i) product.sums[i][j] += b;
    }
  }

  // gate . x for each row of x: a warp a row. Row i's goes to `to(i, sum)`, on one lane.
  template <typename To>
  MEMGAN_DEVICE void logits(const S* x, int count, const void* gate, int64_t inputs, const bool* real, To to) {
    for (int i = int(threadIdx.x) / kWarp; i < count; i += kProductThreads<T> / kWarp) {
      T sum = 0;
      const int64_t depth = real == nullptr || real[i] ? inputs : 0;
      for (int64_t k = threadIdx.x % kWarp; k < depth; k += kWarp)
        sum += T(read(*at<S>(gate, k))) * T(read(x[i * inputs + k]));
      sum = sum_of_warp(sum);
      if (threadIdx.x % kWarp == 0) to(i, sum);
    }
  }

  MEMGAN_DEVICE void compute() {
    const S *x = at<S>(a.words, first_row * a.E), *r = at<S>(a.summary, first_image * a.C);
    const bool* real = a.real == nullptr ? nullptr : a.real + first_row;
    logits(r, images, a.gate_image, a.C, nullptr, [&](int i, T sum) { image_logit[i] = sum; });
    project(r, images, a.image_weight, a.image_bias, a.C, nullptr);
    MEMGAN_UNROLL
    for (int i = 0; i < product.kEach && product.team() == 0; ++i) {
      MEMGAN_UNROLL
      for (int j = 0; j < product.kEach; ++j)
        from_image[product.row(i) * kProductColumns + product.column(j)] = product.sums[i][j];
    }
    __syncthreads();
    logits(x, rows, a.gate_word, a.E, real, [&](int i, T sum) {
      const Gate<T> gate = gate_of(sum + image_logit[image_of(i)]);
      open[i] = gate.open;
      closed[i] = gate.closed;
    });
    project(x, rows, a.word_weight, a.word_bias, a.E, real);
    __syncthreads();
  }

  // Calls `work(i, j, row, column)` for the elements of the tile that this thread of the first team owns.
  template <typename Work>
  MEMGAN_DEVICE void each(Work work) const {
    if (product.team() > 0) return;
    MEMGAN_UNROLL
    for (int i = 0; i < product.kEach; ++i) {
      MEMGAN_UNROLL
      for (int j = 0; j < product.kEach; ++j) {
        const int row = product.row(i), column = product.column(j);
        if (row < rows && first_column + column < a.M) work(i, j, row, column);
      }
    }
  }
};

template <typename S>
__global__ void __launch_bounds__(kProductThreads<typename Compute<S>::type>, 1)
    write_forward(const __grid_constant__ WriteForwardArgs a) {
  using T = typename Compute<S>::type;
  Projections<S> p(a);
  p.compute();
  p.each([&](int i, int j, int row, int column) {
    const T q = relu(p.from_image[p.image_of(row) * kProductColumns + column]);
    const T m = relu(p.product.sums[i][j]) * p.open[row] + q * p.closed[row];
    static_cast<S*>(a.out)[(p.first_row + row) * a.M + p.first_column + column] = written<S>(m);
  });
}

// du; v of the images that begin in this tile, in the place of dv; each tile's part of G . (p - q); the gates.
template <typename S>
__global__ void __launch_bounds__(kProductThreads<typename Compute<S>::type>, 1)
    write_slopes(const __grid_constant__ WriteBackwardArgs a) {
  using T = typename Compute<S>::type;
  Projections<S> p(a);
  p.compute();
  T parts[Product<T>::kEach] = {};
  p.each([&](int i, int j, int row, int column) {
    const int64_t place = (p.first_row + row) * a.M + p.first_column + column;
    const T u = p.product.sums[i][j], G = read(*at<S>(a.grad, place));
    parts[i] += G * (relu(u) - relu(p.from_image[p.image_of(row) * kProductColumns + column]));
    static_cast<T*>(a.words_side.slopes)[place + p.first_row + row] = u <= T(0) ? T(0) : G * p.open[row];
  });
  MEMGAN_UNROLL
  for (int i = 0; i < Product<T>::kEach; ++i) {
    MEMGAN_UNROLL
    for (int step = 8; step > 0; step /= 2) parts[i] += __shfl_xor_sync(kAllLanes, parts[i], step);
    const int row = Product<T>::row(i);
    if (p.product.team() == 0 && threadIdx.x % 16 == 0 && row < p.rows)
      static_cast<T*>(a.gate_parts)[blockIdx.y * p.R + p.first_row + row] = parts[i];
  }
  if (blockIdx.y == 0 && int(threadIdx.x) < p.rows) {
    T* gates = static_cast<T*>(a.gates) + p.first_row + threadIdx.x;
    gates[0] = p.open[threadIdx.x];
    gates[p.R] = p.closed[threadIdx.x];
  }
  const int skipped = (p.first_image * a.L < p.first_row) ? 1 : 0;  // an image that began in the tile before
  for (int e = skipped * kProductColumns + int(threadIdx.x); e < p.images * kProductColumns; e += kProductThreads<T>) {
    const int64_t m = p.first_column + e % kProductColumns;
    if (m < a.M)
      static_cast<T*>(a.image_side.slopes)[(p.first_image + e / kProductColumns) * (a.M + 1) + m] = p.from_image[e];
  }
}

// One image, blockIdx.x, and 128 memory channels, blockIdx.y: dv from v; and once an image, dz and its sum.
template <typename S>
__global__ void __launch_bounds__(kTeamThreads) write_finish_slopes(const __grid_constant__ WriteBackwardArgs a) {
  using T = typename Compute<S>::type;
  const int64_t R = a.B * a.L, b = blockIdx.x, first = b * a.L;
  const T *open = static_cast<const T*>(a.gates), *closed = open + R;
  const int64_t m = int64_t(blockIdx.y) * kTeamThreads + threadIdx.x;
  if (m < a.M) {
    T sum = 0;
    for (int64_t row = first; row < first + a.L; ++row) sum += closed[row] * T(read(*at<S>(a.grad, row * a.M + m)));
    T& slope = static_cast<T*>(a.image_side.slopes)[b * (a.M + 1) + m];
    slope = a.L == 0 || slope <= T(0) ? T(0) : sum;
  }
  if (blockIdx.y > 0) return;
  if (b == 0)
    for (const LinearBackward* side : {&a.words_side, &a.image_side})
      if (side->split.parts > 1)
        for (int64_t i = threadIdx.x; i < tiles_of_weight(*side, a.M); i += kTeamThreads) side->arrived[i] = 0;
  if (threadIdx.x >= kWarp) return;
  T of_image = 0;
  for (int64_t row = first + threadIdx.x; row < first + a.L; row += kWarp) {
    T dz = 0;
    for (int64_t tile = 0; tile < tiles_of(a.M, kProductColumns); ++tile)
      dz += static_cast<const T*>(a.gate_parts)[tile * R + row];
    dz *= open[row] * closed[row];
    static_cast<T*>(a.words_side.slopes)[row * (a.M + 1) + a.M] = dz;
    of_image += dz;
  }
  of_image = sum_of_warp(of_image);
  if (threadIdx.x == 0) static_cast<T*>(a.image_side.slopes)[b * (a.M + 1) + a.M] = of_image;
}

// One tile of one of the two products of a linear layer's backward.
template <typename S>
struct LinearTile {
  using T = typename Compute<S>::type;
  const LinearBackward& side;
  const int64_t M;

  MEMGAN_DEVICE const T* slope(int64_t row, int64_t m) const {
    return static_cast<const T*>(side.slopes) + row * (M + 1) + m;
  }

  MEMGAN_DEVICE void of_x(int64_t tile) const {
    const int64_t columns = tiles_of(side.inputs, kProductColumns);
    const int64_t row = tile / columns * kProductRows, column = tile % columns * kProductColumns;
    const int64_t rows_left = side.rows - row, columns_left = side.inputs - column;
    Product<T> product(shared_memory());
    product.template compute<false>(
        M, Factor<T, Lies::along>{slope(row, 0), M + 1, rows_left},
        Factor<S, Lies::across>{at<S>(side.weight, column), side.inputs, columns_left});
    product.gather();
    S* to = static_cast<S*>(side.grad_x) + row * side.inputs + column;
    product.each(rows_left, columns_left, [&](int i, int j, T sum) {
      const T grad = sum + *slope(row + i, M) * T(read(*at<S>(side.gate, column + j)));
      to[i * side.inputs + j] = written<S>(side.real == nullptr || side.real[row + i] ? grad : T(0));
    });
  }

  MEMGAN_DEVICE void of_weight(int64_t block) const {  // rows of the weight, the gate's behind them
    const int64_t tile = block / side.split.parts, part = block % side.split.parts;
    const int64_t first = part * side.split.rows;
    const int64_t depth = side.rows - first < side.split.rows ? side.rows - first : side.split.rows;
    const int64_t of_inputs = tiles_of(side.inputs, kProductColumns), columns = of_inputs > 0 ? of_inputs : 1;
    const int64_t m = tile / columns * kProductRows, column = tile % columns * kProductColumns;
    const int64_t rows_left = M + 1 - m, columns_left = side.inputs - column;
    Product<T> product(shared_memory());
    product.template compute<true>(
        depth, Factor<T, Lies::across>{slope(first, m), M + 1, rows_left},
        Factor<S, Lies::across>{
            at<S>(side.x, first * side.inputs + column), side.inputs, columns_left,
            side.real == nullptr ? nullptr : side.real + first});
    product.gather();
    T* kept = static_cast<T*>(side.kept) + tile * side.split.parts * Product<T>::kPartNumbers;
    if (!product.complete(side.split.parts, part, kept, side.arrived + tile)) return;
    product.each(rows_left, columns_left, [&](int i, int j, T sum) {
      if (m + i < M) static_cast<S*>(side.grad_weight)[(m + i) * side.inputs + column + j] = written<S>(sum);
      else static_cast<S*>(side.grad_gate)[column + j] = written<S>(sum);
    });
    const int64_t of_bias = m + threadIdx.x / 4;
    if (column == 0 && product.team() == 0 && threadIdx.x % 4 == 0 && of_bias < M)
      static_cast<S*>(side.grad_bias)[of_bias] = written<S>(product.row_sum);
  }
};

template <typename S>
__global__ void __launch_bounds__(kProductThreads<typename Compute<S>::type>, 1)
    write_backward(const __grid_constant__ WriteBackwardArgs a) {
  const int64_t of_words = tiles_of_x(a.words_side) + blocks_of_weight(a.words_side, a.M);
  const bool image = blockIdx.x >= of_words;
  const LinearBackward& side = image ? a.image_side : a.words_side;
  const LinearTile<S> work{side, a.M};
  const int64_t tile = blockIdx.x - (image ? of_words : 0), of_x = tiles_of_x(side);
  if (tile < of_x) work.of_x(tile);
  else work.of_weight(tile - of_x);
}

}  // namespace memgan::cuda
