// Tensors in memory ↔ dense tiles (rows, kPixels) in the dtype that is computed in.
//
// contiguous: pixels have stride 1. channels_last: rows have stride 1, and squares of one register by one register
// are transposed. Anything else, and the ends of an image, go element by element.
#pragma once

#include <utility>

#include "attend.h"
#include "simd.h"

namespace memgan::cpu::MEMGAN_ISA {

// After the pass of distance d, bit d of the register's number and of the lane's number have changed places.
template <typename T, int d = 1>
MEMGAN_INLINE void transpose(Vec<T>* m) {
  if constexpr (d < Simd<T>::lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < Simd<T>::lanes; ++i)
      if (!(i & d)) exchange<T, d>(m[i], m[i + d], std::make_index_sequence<Simd<T>::lanes>{});
    transpose<T, d * 2>(m);
  }
}

template <typename S>
bool aligned(const S* at) {
  return reinterpret_cast<uintptr_t>(at) % MEMGAN_VECTOR_BYTES == 0;
}

// Rows [0, rows) of `count` <= kPixels pixels → tile; missing pixels, and rows up to `padded`, become zeros.
template <typename S, typename T = typename Compute<S>::type>
__attribute__((noinline)) void load_tile(
    const S* from, int64_t row_stride, int64_t pixel_stride, int64_t rows, int64_t padded, int64_t count, T* tile) {
  constexpr int lanes = Simd<T>::lanes;
  int64_t row = 0;
  if (pixel_stride == 1 && count == kPixels) {
    for (; row < rows; ++row)
      for (int p = 0; p < kPixels; p += lanes)
        store<T>(tile + row * kPixels + p, load_as<S>(from + row * row_stride + p));
  } else if (row_stride == 1 && count == kPixels) {
    for (; row + lanes <= rows; row += lanes)
      for (int p = 0; p < kPixels; p += lanes) {
        Vec<T> m[lanes];
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) m[i] = load_as<S>(from + (p + i) * pixel_stride + row);
        transpose<T>(m);
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) store<T>(tile + (row + i) * kPixels + p, m[i]);
      }
  }
  for (; row < rows; ++row) {
    for (int64_t p = 0; p < count; ++p) tile[row * kPixels + p] = read(from[row * row_stride + p * pixel_stride]);
    for (int64_t p = count; p < kPixels; ++p) tile[row * kPixels + p] = T(0);
  }
  for (; row < padded; ++row)
    for (int p = 0; p < kPixels; ++p) tile[row * kPixels + p] = T(0);
}

// The first `count` pixels of tile (rows, kPixels) → memory.
template <typename S, typename T = typename Compute<S>::type>
__attribute__((noinline)) void store_tile(
    S* to, int64_t row_stride, int64_t pixel_stride, int64_t rows, int64_t count, const T* tile) {
  constexpr int lanes = Simd<T>::lanes;
  int64_t row = 0;
  if (pixel_stride == 1 && count == kPixels) {
    for (; row < rows; ++row)
      for (int p = 0; p < kPixels; p += lanes)
        store_as<S>(to + row * row_stride + p, load<T>(tile + row * kPixels + p));
  } else if (row_stride == 1 && count == kPixels) {
    for (; row + lanes <= rows; row += lanes)
      for (int p = 0; p < kPixels; p += lanes) {
        Vec<T> m[lanes];
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) m[i] = load<T>(tile + (row + i) * kPixels + p);
        transpose<T>(m);
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) store_as<S>(to + (p + i) * pixel_stride + row, m[i]);
      }
  }
  for (; row < rows; ++row)
    for (int64_t p = 0; p < count; ++p) to[row * row_stride + p * pixel_stride] = written<S>(tile[row * kPixels + p]);
}

// Memory that starts on a cache line; grown by `take`, freed at the end.
template <typename T>
class Arena {
 public:
  explicit Arena(int64_t elements) : bytes_((elements * sizeof(T) + 64 * 16 + 63) / 64 * 64) {
    base_ = static_cast<char*>(std::aligned_alloc(64, bytes_));
    if (base_ == nullptr) std::abort();
    next_ = base_;
  }
  ~Arena() { std::free(base_); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  T* take(int64_t elements) {  // at most 16 times: each may round up to a line
    T* taken = reinterpret_cast<T*>(next_);
    next_ += (elements * sizeof(T) + 63) / 64 * 64;
    return taken;
  }

 private:
  size_t bytes_;
  char* base_;
  char* next_;
};

}  // namespace memgan::cpu::MEMGAN_ISA
