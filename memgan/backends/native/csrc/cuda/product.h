// The matrix product of the kernels of memory_write and memory_project: one block, 32 rows by 64 columns, in full
// precision.
//
// The products are small (some hundred rows, a few hundred deep) and there are many of them, so what counts is that one
// launch does all, and that its blocks do not wait: no tensor cores, and the depth is shared by the teams of a block,
// whose sums are gathered at the end. A long sum over rows may also be shared by several blocks; the one that comes
// last adds their parts in order, so every sum has one order, whichever block that is.
#pragma once

#include <cstdint>

#include "device.h"

namespace memgan::cuda {

constexpr int kTeamThreads = 128;
template <typename T>
constexpr int kTeams = sizeof(T) == 8 ? 2 : 3;
template <typename T>
constexpr int kProductThreads = kTeams<T> * kTeamThreads;  // of a block
constexpr int kProductRows = 32, kProductColumns = 64;     // of a block's tile
constexpr int kProductDepth = 32;                          // of a step
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int kPacksAtOnce = 1;  // of a step: what is compiled for these would spill registers with more
#else
constexpr int kPacksAtOnce = 8;
#endif

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
  static constexpr int kTeamNumbers = (kProductRows + kProductColumns) * kStride;  // of shared memory
  static constexpr int kBytes = kTeams<T> * kTeamNumbers * int(sizeof(T));
  static constexpr int kLeft = kProductRows * kProductDepth / kTeamThreads;  // elements a thread fetches of a step
  static constexpr int kRight = kProductColumns * kProductDepth / kTeamThreads;
  static constexpr int kEach = 4;  // a thread owns 4 rows by 4 columns

  T *shared, *left, *right;  // of the block; of the team
  T sums[kEach][kEach];
  T row_sum = 0;  // of the left factor over the depth, row thread / 4: whole in the first of four threads

  MEMGAN_DEVICE explicit Product(unsigned char* bytes)
      : shared(reinterpret_cast<T*>(bytes)),
        left(shared + team() * kTeamNumbers),
        right(left + kProductRows * kStride) {}

  static MEMGAN_DEVICE int thread() { return int(threadIdx.x) % kTeamThreads; }
  static MEMGAN_DEVICE int team() { return int(threadIdx.x) / kTeamThreads; }
  // The rows and columns of this thread in the block's tile.
  static MEMGAN_DEVICE int row(int i) { return thread() / 16 + 8 * i; }
  static MEMGAN_DEVICE int column(int j) { return thread() % 16 + 16 * j; }

  // sums[i][j] = sum over the team's part of k < depth of l(row(i), k) r(column(j), k), and zero outside of both.
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
    constexpr int kStep = kTeams<T> * kProductDepth;
    X next_left[kLeft];  // as they are stored: nothing waits for them before they are needed
    Y next_right[kRight];
    const auto fetch = [&](int64_t first) {
      fetch_of<kProductRows>(l, first, depth, next_left);
      fetch_of<kProductColumns>(r, first, depth, next_right);
    };
    const int64_t begin = team() * kProductDepth;
    fetch(begin);
    MEMGAN_NO_UNROLL
    for (int64_t first = 0; first < depth; first += kStep) {  // as many steps for every team
      // The step before has been read:
      __syncthreads();
      MEMGAN_UNROLL
      for (int n = 0; n < kLeft; ++n) {
        const Place p = place<kLeftLies, kProductRows>(n);
        left[p.at * kStride + p.k] = T(read(next_left[n]));
      }
      MEMGAN_UNROLL
      for (int n = 0; n < kRight; ++n) {
        const Place p = place<kRightLies, kProductColumns>(n);
        right[p.at * kStride + p.k] = T(read(next_right[n]));
      }
      __syncthreads();
      if (first + kStep < depth) fetch(first + kStep + begin);  // under way while this step is multiplied
      multiply();
      if constexpr (kRowSums) add_rows();
    }
    if constexpr (kRowSums) {
      row_sum += __shfl_xor_sync(kAllLanes, row_sum, 1);
      row_sum += __shfl_xor_sync(kAllLanes, row_sum, 2);
    }
  }

  // The teams' sums → those of the first team's threads, in order. The block's shared memory may be used behind it.
  MEMGAN_DEVICE void gather() {
    __syncthreads();  // the last step has been read
    T* mine = shared + (team() - 1) * kPartNumbers + thread();
    if (team() > 0) put(mine);
    __syncthreads();  // all teams' sums are there
    if (team() == 0)
      for (int other = 1; other < kTeams<T>; ++other) {
        const T* theirs = shared + (other - 1) * kPartNumbers + thread();
        MEMGAN_UNROLL
        for (int n = 0; n < kEach * kEach; ++n) sums[n / kEach][n % kEach] += theirs[n * kTeamThreads];
        row_sum += theirs[kEach * kEach * kTeamThreads];
      }
    __syncthreads();
  }

  // Calls `to(row, column, sum)` for the elements inside that this thread of the first team owns.
  template <typename To>
  MEMGAN_DEVICE void each(int64_t rows, int64_t columns, To to) const {
    if (team() > 0) return;
    MEMGAN_UNROLL
    for (int i = 0; i < kEach; ++i) {
      MEMGAN_UNROLL
      for (int j = 0; j < kEach; ++j)
        if (row(i) < rows && column(j) < columns) to(row(i), column(j), sums[i][j]);
    }
  }

  // What a block, or a team, keeps of its part of a shared sum.
  static constexpr int64_t kPartNumbers = (kEach * kEach + 1) * kTeamThreads;
  static_assert((kTeams<T> - 1) * kPartNumbers <= kTeams<T> * kTeamNumbers);
  MEMGAN_DEVICE void put(T* mine) const {
    MEMGAN_UNROLL
    for (int n = 0; n < kEach * kEach; ++n) mine[n * kTeamThreads] = sums[n / kEach][n % kEach];
    mine[kEach * kEach * kTeamThreads] = row_sum;
  }

  // The sums of all parts in the block that comes last, which is told so. `kept` is the tile's in the workspace,
  // [parts] [kPartNumbers]; `arrived` counts its blocks from 0.
  MEMGAN_DEVICE bool complete(int64_t parts, int64_t part, T* kept, unsigned* arrived) {
    if (parts == 1) return true;
    if (team() == 0) put(kept + part * kPartNumbers + thread());
    unsigned* before = reinterpret_cast<unsigned*>(shared);
    __threadfence();
    __syncthreads();  // all of the block's numbers are there, before it counts as arrived
    if (threadIdx.x == 0) *before = atomicAdd(arrived, 1u);
    __syncthreads();
    if (*before + 1 != unsigned(parts)) return false;
    __threadfence();
    if (team() > 0) return true;
    MEMGAN_UNROLL
    for (int n = 0; n <= kEach * kEach; ++n) {
      T sum = 0;
      for (int64_t p = 0; p < parts; ++p) sum += kept[p * kPartNumbers + n * kTeamThreads + thread()];
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
    if constexpr (kLies == Lies::along)
      return {thread() / kProductDepth + n * (kTeamThreads / kProductDepth), thread() % kProductDepth};
    else return {thread() % kSize, thread() / kSize + n * (kTeamThreads / kSize)};
  }

  template <int kSize, typename X, Lies kLies, int kCount>
  static MEMGAN_DEVICE void fetch_of(const Factor<X, kLies>& f, int64_t first, int64_t depth, X (&to)[kCount]) {
    constexpr bool kAlong = kLies == Lies::along;
    const Place p = place<kLies, kSize>(0);
    const int64_t step = f.stride * (kAlong ? kTeamThreads / kProductDepth : kTeamThreads / kSize);
    const X* from = f.data + (kAlong ? p.at * f.stride + first + p.k : (first + p.k) * f.stride + p.at);
    MEMGAN_UNROLL
    for (int n = 0; n < kCount; ++n) {
      const Place q = place<kLies, kSize>(n);
      const bool inside = q.at < f.count && first + q.k < depth;
      const bool more_than_zero = inside && (f.real == nullptr || f.real[kAlong ? q.at : first + q.k]) &&
                                  (f.result == nullptr || !(read(f.result[from - f.data]) <= 0));
      to[n] = more_than_zero ? *from : X{};
      from += step;
    }
  }

  MEMGAN_DEVICE void multiply() {
    using P = Pack<T>;
    MEMGAN_UNROLL_BY(kPacksAtOnce)
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
    const T* from = left + thread() / 4 * kStride + thread() % 4 * (kProductDepth / 4);
    MEMGAN_UNROLL
    for (int k = 0; k < kProductDepth / 4; ++k) row_sum += from[k];
  }
};

}  // namespace memgan::cuda
