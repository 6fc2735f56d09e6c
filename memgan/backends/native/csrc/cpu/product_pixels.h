// Y[word][channel] += sum_pixel S[word][pixel] X[channel][pixel]: gradients of keys and values.
#pragma once

#include <algorithm>

#include "product_rows.h"

namespace memgan::cpu::MEMGAN_ISA {

// Sums: kWords x kChannels registers.
#if MEMGAN_VECTOR_BYTES == 64
constexpr int kWords = 4, kChannels = 6, kChannelStep = 2;
#else
constexpr int kWords = 3, kChannels = 4, kChannelStep = 4;
#endif

// Channels of product_pixels come in groups of kChannels and kChannelStep-divisible rests: rows up to this are read.
constexpr int64_t padded_channels(int64_t channels) {
  return std::max<int64_t>(4, (channels + kChannelStep - 1) / kChannelStep * kChannelStep);
}

template <typename T, int W, int C>
__attribute__((noinline)) void product_pixels_block(
    const T* S, int64_t s_step, const T* X, int64_t x_step, int64_t steps, T* Y, int64_t ldy, int64_t channels) {
  constexpr int lanes = Simd<T>::lanes;
  Vec<T> acc[W][C] = {};
  for (int64_t step = 0; step < steps; ++step, S += s_step, X += x_step) {
#pragma GCC unroll 2
    for (int j = 0; j < kPixels; j += lanes) {
      Vec<T> s[W];  // the fewer: with C of channels beside them, AVX2's 16 registers do not hold the sums
#pragma GCC unroll 8
      for (int w = 0; w < W; ++w) s[w] = load<T>(S + w * kPixels + j);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        const Vec<T> x = load<T>(X + c * kPixels + j);
#pragma GCC unroll 8
        for (int w = 0; w < W; ++w) acc[w][c] += s[w] * x;
      }
    }
  }
  T sums[W * C + lanes];
  store_sums<T, W * C>(sums, &acc[0][0]);
#pragma GCC unroll 8
  for (int w = 0; w < W; ++w)
    for (int c = 0; c < std::min<int64_t>(C, channels); ++c) Y[w * ldy + c] += sums[w * C + c];
}

template <typename T, int C>
MEMGAN_INLINE void product_pixels_channels(
    int64_t words, const T* S, int64_t s_step, const T* X, int64_t x_step, int64_t steps, T* Y, int64_t ldy,
    int64_t channels) {
  const Blocks blocks(words, kWords);
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int size = blocks.size(i);
    switch (size) {
      case 1: product_pixels_block<T, 1, C>(S, s_step, X, x_step, steps, Y, ldy, channels); break;
      case 2: product_pixels_block<T, 2, C>(S, s_step, X, x_step, steps, Y, ldy, channels); break;
      case 3: product_pixels_block<T, 3, C>(S, s_step, X, x_step, steps, Y, ldy, channels); break;
      case 4:
        if constexpr (kWords >= 4) product_pixels_block<T, 4, C>(S, s_step, X, x_step, steps, Y, ldy, channels);
    }
    S += size * kPixels;
    Y += size * ldy;
  }
}

// Y (words, channels) += over `steps` groups of kPixels pixels: S (words, kPixels) and X (padded channels, kPixels)
// lie s_step and x_step elements apart from group to group. Padding rows of X must be finite (they are zeros).
template <typename T>
void product_pixels(
    int64_t words, const T* S, int64_t s_step, int64_t channels, const T* X, int64_t x_step, int64_t steps, T* Y,
    int64_t ldy) {
  int64_t left = padded_channels(channels);
  int64_t c = 0;
  while (left > 0) {
    // 4 + 4 rather than 6 + 2, so that every block is one of two sizes.
    const int size = (left >= kChannels && left - kChannels != 2) ? kChannels : 4;
    const int64_t real = std::min<int64_t>(size, channels - c);
    if (real > 0) {
      if (size == kChannels)
        product_pixels_channels<T, kChannels>(words, S, s_step, X + c * kPixels, x_step, steps, Y + c, ldy, real);
      else product_pixels_channels<T, 4>(words, S, s_step, X + c * kPixels, x_step, steps, Y + c, ldy, real);
    }
    c += size;
    left -= size;
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
