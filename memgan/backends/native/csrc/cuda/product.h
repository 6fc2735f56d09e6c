// The matrix product of the kernels of memory_write and memory_project: one block, 32 rows by 64 columns, in full
// precision.
//
// The products are small (some hundred rows, a few hundred deep) and there are many of them, so what counts is that one
// launch does all: no tensor cores. A long sum over rows may be shared by several blocks; the one that comes last adds
// their parts in order, so every sum has one order, whichever block that is.
#pragma once

#include <cstdint>

#include "device.h"

namespace memgan::cuda {

constexpr int kProductThreads = 128;
constexpr int kProductBlocks = 2;  // of one multiprocessor at least: registers enough for all kernels not to spill
constexpr int kProductRows = 32, kProductColumns = 64;  // of a block's tile
constexpr int kProductDepth = 32;                       // of a step

MEMGAN_BOTH int64_t tiles_of(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

template <typename S>
MEMGAN_DEVICE const S* at(const void* data, int64_t index) {
  return static_cast<const S*>(data) + index;
}
// A NaN stays one, as in torch.
template <typename T>
MEMGAN_DEVICE T relu(T x) {
  return x <= T(0) ? T(0) : x;
}

// Of a sum over rows: how many blocks share it, and the rows of each. By sizes alone, so that results are the same bits
// on every GPU.
struct Split {
  int64_t parts = 1, rows = 0;
};
constexpr int64_t kEnoughTiles = 160;  // of a launch that none of a GPU's multiprocessors is idle
inline Split split_of(int64_t rows, int64_t tiles) {
  const int64_t steps = tiles_of(rows, kProductDepth), wanted = tiles > 0 ? kEnoughTiles / tiles : 1;
  const int64_t parts = steps < wanted ? steps : wanted;
  if (parts <= 1) return {1, rows};
  const int64_t of_part = tiles_of(steps, parts) * kProductDepth;
  return {tiles_of(rows, of_part), of_part};
}

template <typename T>
struct alignas(16) Pack {
  static constexpr int size = 16 / int(sizeof(T));
  T at[size];
};

// A factor: `count` rows (of the left one; columns of the right one), each as deep as the sum. Neighbours in memory,
// which neighbouring threads read, are those along the depth, or those across it; `stride` is the other way's, and what
// it leads through are the rows of a matrix in memory.
enum class Lies { along, across };
template <typename X, Lies kLies>
struct Factor {
  const X* data;
  int64_t stride, count;
  const bool* real = nullptr;  // of each row: whether it is more than zeros; nullptr: every one is
  const X* result = nullptr;   // of a ReLU: the factor is a gradient behind it, and zero where the result is
};

template <typename T>
struct Product {
  // Rows in shared memory are an odd number of 16 bytes long: eight threads that read a column of packs meet no bank
  // twice.
  static constexpr int kStride = kProductDepth + Pack<T>::size;
  static constexpr int kBytes = (kProductRows + kProductColumns) * kStride * int(sizeof(T));
  static constexpr int kLeft = kProductRows * kProductDepth / kProductThreads;  // elements a thread fetches of a step
  static constexpr int kRight = kProductColumns * kProductDepth / kProductThreads;
  static constexpr int kEach = 4;  // a thread owns 4 rows by 4 columns

  T *left, *right;  // in shared memory
  T sums[kEach][kEach];
  T row_sum = 0;  // of the left factor over the depth, row thread / 4: whole in the first of four threads

  MEMGAN_DEVICE explicit Product(unsigned char* shared)
      : left(reinterpret_cast<T*>(shared)), right(left + kProductRows * kStride) {}

  // The rows and columns of this thread in the block's tile.
  static MEMGAN_DEVICE int row(int i) { return int(threadIdx.x) / 16 + 8 * i; }
  static MEMGAN_DEVICE int column(int j) { return int(threadIdx.x) % 16 + 16 * j; }

  // sums[i][j] = sum over k < depth of l(row(i), k) r(column(j), k), and zero outside of both.
  template <bool kRowSums, typename X, Lies kLeftLies, typename Y, Lies kRightLies>
  MEMGAN_DEVICE void compute(int64_t depth, Factor<X, kLeftLies> l, Factor<Y, kRightLies> r) {
    MEMGAN_UNROLL
    for (int i = 0; i < kEach; ++i) {
      MEMGAN_UNROLL
      for (int j = 0; j < kEach; ++j) sums[i][j] = 0;
    }
    add<kRowSums>(depth, l, r);
  }

  // The same on top of the sums that are there.
  template <bool kRowSums, typename X, Lies kLeftLies, typename Y, Lies kRightLies>
  MEMGAN_DEVICE void add(int64_t depth, Factor<X, kLeftLies> l, Factor<Y, kRightLies> r) {
    T next_left[kLeft], next_right[kRight];
    const auto fetch = [&](int64_t first) {
      fetch_of<kProductRows>(l, first, depth, next_left);
      fetch_of<kProductColumns>(r, first, depth, next_right);
    };
    fetch(0);
    MEMGAN_NO_UNROLL
    for (int64_t first = 0; first < depth; first += kProductDepth) {
      __syncthreads();  // the step before has been read
      MEMGAN_UNROLL
      for (int n = 0; n < kLeft; ++n) {
        const Place p = place<kLeftLies, kProductRows>(n);
        left[p.at * kStride + p.k] = next_left[n];
      }
      MEMGAN_UNROLL
      for (int n = 0; n < kRight; ++n) {
        const Place p = place<kRightLies, kProductColumns>(n);
        right[p.at * kStride + p.k] = next_right[n];
      }
      __syncthreads();
      if (first + kProductDepth < depth) fetch(first + kProductDepth);  // under way while this step is multiplied
      multiply();
      if constexpr (kRowSums) add_rows();
    }
    if constexpr (kRowSums) {
      row_sum += __shfl_xor_sync(kAllLanes, row_sum, 1);
      row_sum += __shfl_xor_sync(kAllLanes, row_sum, 2);
    }
  }

  // Calls `to(row, column, sum)` for the elements inside that this thread owns.
  template <typename To>
  MEMGAN_DEVICE void each(int64_t rows, int64_t columns, To to) const {
    MEMGAN_UNROLL
    for (int i = 0; i < kEach; ++i) {
      MEMGAN_UNROLL
      for (int j = 0; j < kEach; ++j)
        if (row(i) < rows && column(j) < columns) to(row(i), column(j), sums[i][j]);
    }
  }

  // What a block keeps of its part of a shared sum.
  static constexpr int64_t kPartNumbers = (kEach * kEach + 1) * kProductThreads;

  // The sums of all parts in the block that comes last, which is told so. `kept` is the tile's in the workspace,
  // [parts] [kPartNumbers]; `arrived` counts its blocks from 0.
  MEMGAN_DEVICE bool complete(int64_t parts, int64_t part, T* kept, unsigned* arrived) {
    if (parts == 1) return true;
    T* mine = kept + part * kPartNumbers + threadIdx.x;
    MEMGAN_UNROLL
    for (int n = 0; n < kEach * kEach; ++n) mine[n * kProductThreads] = sums[n / kEach][n % kEach];
    mine[kEach * kEach * kProductThreads] = row_sum;
    unsigned* before = reinterpret_cast<unsigned*>(left);
    __threadfence();
    __syncthreads();  // all of the block's numbers are there, before it counts as arrived
    if (threadIdx.x == 0) *before = atomicAdd(arrived, 1u);
    __syncthreads();
    if (*before + 1 != unsigned(parts)) return false;
    __threadfence();
    MEMGAN_UNROLL
    for (int n = 0; n <= kEach * kEach; ++n) {
      T sum = 0;
      for (int64_t p = 0; p < parts; ++p) sum += kept[p * kPartNumbers + n * kProductThreads + threadIdx.x];
      if (n < kEach * kEach) sums[n / kEach][n % kEach] = sum;
      else row_sum = sum;
    }
    return true;
  }

 private:
  struct Place {
    int at, k;  // row of the left factor or column of the right one, and depth, in the tile
  };
  template <Lies kLies, int kSize>
  static MEMGAN_DEVICE Place place(int n) {
    const int thread = int(threadIdx.x);
    if constexpr (kLies == Lies::along)
      return {thread / kProductDepth + n * (kProductThreads / kProductDepth), thread % kProductDepth};
    else return {thread % kSize, thread / kSize + n * (kProductThreads / kSize)};
  }

  template <int kSize, typename X, Lies kLies, int kCount>
  static MEMGAN_DEVICE void fetch_of(const Factor<X, kLies>& f, int64_t first, int64_t depth, T (&to)[kCount]) {
    constexpr bool kAlong = kLies == Lies::along;
    const Place p = place<kLies, kSize>(0);
    const int64_t step = f.stride * (kAlong ? kProductThreads / kProductDepth : kProductThreads / kSize);
    const X* from = f.data + (kAlong ? p.at * f.stride + first + p.k : (first + p.k) * f.stride + p.at);
    MEMGAN_UNROLL
    for (int n = 0; n < kCount; ++n) {
      const Place q = place<kLies, kSize>(n);
      const bool inside = q.at < f.count && first + q.k < depth;
      const bool more_than_zero = inside && (f.real == nullptr || f.real[kAlong ? q.at : first + q.k]) &&
                                  (f.result == nullptr || !(read(f.result[from - f.data]) <= 0));
      to[n] = more_than_zero ? T(read(*from)) : T(0);
      from += step;
    }
  }

  MEMGAN_DEVICE void multiply() {
    using P = Pack<T>;
    MEMGAN_UNROLL
    for (int k = 0; k < kProductDepth; k += P::size) {
      P of_rows[kEach];
      MEMGAN_UNROLL
      for (int i = 0; i < kEach; ++i) of_rows[i] = *reinterpret_cast<const P*>(left + row(i) * kStride + k);
      MEMGAN_UNROLL
      for (int j = 0; j < kEach; ++j) {
        const P of_column = *reinterpret_cast<const P*>(right + column(j) * kStride + k);
        MEMGAN_UNROLL
        for (int i = 0; i < kEach; ++i) {
          MEMGAN_UNROLL
          for (int e = 0; e < P::size; ++e) sums[i][j] += of_rows[i].at[e] * of_column.at[e];
        }
      }
    }
  }

  // Four threads a row, a quarter of the step each.
  MEMGAN_DEVICE void add_rows() {
    const T* from = left + threadIdx.x / 4 * kStride + threadIdx.x % 4 * (kProductDepth / 4);
    MEMGAN_UNROLL
    for (int k = 0; k < kProductDepth / 4; ++k) row_sum += from[k];
  }
};

}  // namespace memgan::cuda
