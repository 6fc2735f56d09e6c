// Y[row][pixel] = init + sum_k A[k][row] X[k][pixel], for kPixels pixels: scores, what is read, gradients of features.
#pragma once

#include <algorithm>

#include "attend.h"
#include "simd.h"

namespace memgan::cpu::MEMGAN_ISA {

// Sums: kRows x kVectors registers.
constexpr int kRows = 6, kVectors = MEMGAN_VECTOR_BYTES == 64 ? 4 : 2;

// Rows of X that product_rows takes in one turn of its loop: of one row AVX2 makes so little that the loop itself took
// a third of the time.
constexpr int kTurn = MEMGAN_VECTOR_BYTES == 64 ? 1 : 2;

// Rows are cut into blocks of nearly one size: 13 rows are 5 + 4 + 4, not 6 + 6 + 1.
struct Blocks {
  int64_t count, base, larger;
  explicit Blocks(int64_t rows, int most = kRows)
      : count((rows + most - 1) / most), base(count ? rows / count : 0), larger(count ? rows % count : 0) {}
  int size(int64_t i) const { return int(base + (i < larger)); }
};

enum class Init { zero, scaled };  // `scaled`: start from factor[pixel] * start[row][pixel]

// Memory that is needed soon: `lines` (of 64 bytes) of each of `rows` rows that lie `stride` bytes apart. A product
// asks for one row at each of its steps: as many requests at once would wait for one another, and the product for them.
struct Ahead {
  const char* at = nullptr;
  int64_t stride = 0, rows = 0, lines = 0;
};
// Which share a block of a product asks for: of every row some lines, to be written or read; or some rows, to be read,
// whole (of kPixels elements, as many as are computed with).
enum class Asks { lines_to_write, lines_to_read, rows_to_read };

template <typename T, Asks asks>
MEMGAN_INLINE void ask(const Ahead& ahead, int64_t row) {
  const char* at = ahead.at + row * ahead.stride;
  if constexpr (asks == Asks::rows_to_read) {
#pragma GCC unroll 8
    for (int i = 0; i < int(kPixels * sizeof(T)); i += 64) __builtin_prefetch(at + i, 0, 2);
  } else {
    constexpr bool writes = asks == Asks::lines_to_write;
    for (int64_t i = 0; i < ahead.lines; ++i) __builtin_prefetch(at + i * 64, writes, writes ? 3 : 2);
  }
}
template <Asks asks>
Ahead share_of(const Ahead& all, int64_t block, int64_t blocks, int64_t row, int64_t size) {
  Ahead share = all;
  if (asks == Asks::rows_to_read) {
    share.at += row * all.stride;
    share.rows = std::clamp<int64_t>(all.rows - row, 0, size);
  } else {
    const int64_t first = all.lines * block / blocks;
    share.at += first * 64;
    share.lines = all.lines * (block + 1) / blocks - first;
  }
  return share;
}

// The rows of one tile at `at`, `row` elements apart.
template <typename S>
Ahead rows_ahead(const S* at, int64_t row, int64_t rows) {
  constexpr int64_t size = sizeof(S);
  return {reinterpret_cast<const char*>(at), row * size, rows, kPixels * size / 64};
}

inline Ahead first_half(Ahead all) {
  all.rows /= 2;
  return all;
}
inline Ahead second_half(Ahead all) {
  all.at += all.rows / 2 * all.stride;
  all.rows -= all.rows / 2;
  return all;
}

// How a product's result is stored.
enum class Output { kept, streamed };
// A row goes past the caches as one run: where a pass of a block makes less of it (with AVX2 one line of 64 bytes), the
// passes gather it first. Single lines to rows in turns, a power of two apart, took twice as long as runs of four.
constexpr bool kGathersRows = kVectors * MEMGAN_VECTOR_BYTES < 256;

// What a product may be told besides its operands.
template <typename T>
struct Options {
  const T *start = nullptr, *factor = nullptr;  // of Init::scaled
  T* copied = nullptr;                          // X is written there too
  Output output = Output::kept;
  Ahead ahead;
};

template <typename T, int R, Init init, Asks asks, bool copy>
MEMGAN_INLINE void product_rows_block(
    const T* A, const T* X, int64_t ldx, int64_t K, T* Y, int64_t ldy, const Options<T>& o) {
  const T *start = o.start, *factor = o.factor;
  T* copied = o.copied;
  const Ahead ahead = o.ahead;
  constexpr int lanes = Simd<T>::lanes;
  const bool streams = o.output == Output::streamed, gathers = kGathersRows && streams;
  alignas(64) T gathered[kGathersRows ? R * kPixels : 1];
  for (int first = 0; first < kPixels; first += kVectors * lanes) {
    Vec<T> acc[R][kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      Vec<T> scaled{};
      if constexpr (init == Init::scaled) scaled = load<T>(factor + first + j * lanes);
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) {
        if constexpr (init == Init::scaled) acc[i][j] = scaled * load<T>(start + i * kPixels + first + j * lanes);
        else acc[i][j] = Vec<T>{};
      }
    }
    const T* x = X + first;
    const T* a = A;
    const int64_t asked = first == 0 ? ahead.rows : 0;
    const auto take_row = [&](int64_t k) MEMGAN_INLINED {
      Vec<T> pixels[kVectors];
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        pixels[j] = load<T>(x + j * lanes);
        if constexpr (copy) store<T>(copied + k * kPixels + first + j * lanes, pixels[j]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) acc[i][j] += pixels[j] * a[i];
      x += ldx;
      a += R;
    };
    int64_t k = 0;
    for (; k < std::min(asked, K); ++k) {
      ask<T, asks>(ahead, k);
      take_row(k);
    }
    for (; k + kTurn <= K; k += kTurn)
#pragma GCC unroll 2
      for (int i = 0; i < kTurn; ++i) take_row(k + i);
    for (; k < K; ++k) take_row(k);
    for (; k < asked; ++k) ask<T, asks>(ahead, k);
    T* to = gathers ? gathered + first : Y + first;
    const int64_t ld = gathers ? kPixels : ldy;
    if (!kGathersRows && streams) {
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) stream<T>(to + i * ld + j * lanes, acc[i][j]);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) store<T>(to + i * ld + j * lanes, acc[i][j]);
    }
  }
  if (gathers)
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; p += lanes) stream<T>(Y + i * ldy + p, load<T>(gathered + i * kPixels + p));
}

template <typename T, Init init, Asks asks, bool copy>
__attribute__((noinline)) void product_rows_sized(
    int rows, const T* A, const T* X, int64_t ldx, int64_t K, T* Y, int64_t ldy, const Options<T>& o) {
  switch (rows) {
    case 1: return product_rows_block<T, 1, init, asks, copy>(A, X, ldx, K, Y, ldy, o);
    case 2: return product_rows_block<T, 2, init, asks, copy>(A, X, ldx, K, Y, ldy, o);
    case 3: return product_rows_block<T, 3, init, asks, copy>(A, X, ldx, K, Y, ldy, o);
    case 4: return product_rows_block<T, 4, init, asks, copy>(A, X, ldx, K, Y, ldy, o);
    case 5: return product_rows_block<T, 5, init, asks, copy>(A, X, ldx, K, Y, ldy, o);
    case 6: return product_rows_block<T, 6, init, asks, copy>(A, X, ldx, K, Y, ldy, o);
    default: return;
  }
}

// Y (rows, kPixels) with stride ldy; A packed by `pack_rows`; X (K, kPixels) with stride ldx. With `copied`, X is also
// written there, (K, kPixels) dense: rows of a large image lie a power of two apart and evict each other from the
// cache, so they are read once.
template <typename T, Init init, Asks asks = Asks::lines_to_write>
MEMGAN_INLINE void product_rows(
    int64_t rows, const T* A, const T* X, int64_t ldx, int64_t K, T* Y, int64_t ldy, const Options<T>& options = {}) {
  const Blocks blocks(rows);
  Options<T> o = options;
  int64_t row = 0;
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int size = blocks.size(i);
    if (init == Init::scaled) o.start = options.start + row * kPixels;
    o.ahead = share_of<asks>(options.ahead, i, blocks.count, row, size);
    if (o.copied != nullptr) {
      product_rows_sized<T, init, asks, true>(size, A + row * K, X, ldx, K, Y + row * ldy, ldy, o);
      X = o.copied;
      ldx = kPixels;
      o.copied = nullptr;
    } else {
      product_rows_sized<T, init, asks, false>(size, A + row * K, X, ldx, K, Y + row * ldy, ldy, o);
    }
    row += size;
  }
}

// Writes A (rows, K), element(row, k), in the order in which product_rows reads it: block, k, row of the block.
template <typename T, typename F>
void pack_rows(int64_t rows, int64_t K, T* A, const F& element) {
  const Blocks blocks(rows);
  int64_t row = 0;
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int size = blocks.size(i);
    for (int j = 0; j < size; ++j)
      for (int64_t k = 0; k < K; ++k) A[k * size + j] = element(row + j, k);
    A += size * K;
    row += size;
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
