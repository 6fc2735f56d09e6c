// Products on tensor cores out of matrices in shared memory: an engine for each way to compute.
//
// A warp multiplies 16 rows by 16 columns over 16 numbers. Of all products here the left factor lies in shared memory
// as [k][m] and the right one as [n][k]: two kinds of loads are enough, and where numbers have two bytes one as [k][n].
#pragma once

#include "attend_slots.h"

namespace memgan::cuda {

constexpr double kLog2e = 1.4426950408889634;
constexpr float kLowest = -3e38f;  // instead of -inf, which less itself is no number

// Neighbours in shared memory.
template <typename S>
MEMGAN_DEVICE void store_pair(S* to, float first, float second) {
  if constexpr (sizeof(S) == 2) *reinterpret_cast<uint32_t*>(to) = packed_pair<S>(first, second);
  else *reinterpret_cast<float2*>(to) = float2{first, second};
}
template <typename S>
MEMGAN_DEVICE float2 load_pair(const S* from) {
  if constexpr (sizeof(S) == 2) return unpacked_pair<S>(*reinterpret_cast<const uint32_t*>(from));
  else return *reinterpret_cast<const float2*>(from);
}

// The results of a product, 16 pixels by 16 words, to where they are a left factor: [pixel][word], `at` that of the
// lane's first row and two words.
template <typename S>
MEMGAN_DEVICE void store_rows(S* at, int row, const float (&low)[4], const float (&high)[4]) {
  MEMGAN_UNROLL
  for (int h = 0; h < 2; ++h) {
    store_pair(at + 8 * h * row, low[2 * h], low[2 * h + 1]);
    store_pair(at + 8 * h * row + 8, high[2 * h], high[2 * h + 1]);
  }
}

template <typename S>
struct Engine {  // of Bf16 and Half; of Tf32 and Float32 in attend_tf32.h and attend_float32.h
  using Stored = S;
  template <typename M>
  using SlotsOf = Plain<S>;  // how slots lie in shared memory
  template <typename M>
  using ScoresOf = Plain<S>;            // and what is made of scores
  static constexpr bool exact = false;  // whether everything is to be as exact as float32 is
  struct Left {                         // 16 of m, 16 of k
    uint32_t x[4];
  };
  struct Right {  // two times 8 of n, 16 of k
    uint32_t x[2][2];
  };

  MEMGAN_DEVICE static void left(Left& to, const S* matrix, int row, int k, int m) {
    const int lane = int(threadIdx.x) % kWarp;
    load_matrices<true>(to.x, matrix + (k + lane / 16 * 8 + lane % 8) * row + m + lane / 8 % 2 * 8);
  }
  MEMGAN_DEVICE static void right(Right& to, const S* matrix, int row, int n, int k) {
    const int lane = int(threadIdx.x) % kWarp;
    uint32_t four[4];
    load_matrices<false>(four, matrix + (n + lane / 16 * 8 + lane % 8) * row + k + lane / 8 % 2 * 8);
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i) to.x[i / 2][i % 2] = four[i];
  }
  // The same out of a matrix that lies as [k][n].
  MEMGAN_DEVICE static void right_turned(Right& to, const S* matrix, int row, int n, int k) {
    const int lane = int(threadIdx.x) % kWarp;
    uint32_t four[4];
    load_matrices<true>(four, matrix + (k + lane / 8 % 2 * 8 + lane % 8) * row + n + lane / 16 * 8);
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i) to.x[i / 2][i % 2] = four[i];
  }
  // The results of a product with 16 words as the right factor of the next: `low` and `high` hold 8 words each.
  MEMGAN_DEVICE static void right_of(Right& to, const float (&low)[4], const float (&high)[4]) {
    MEMGAN_UNROLL
    for (int n = 0; n < 2; ++n) {
      to.x[n][0] = packed_pair<S>(low[2 * n], low[2 * n + 1]);
      to.x[n][1] = packed_pair<S>(high[2 * n], high[2 * n + 1]);
    }
  }
  MEMGAN_DEVICE static void store_scores(
      const Plain<S>& to, int place, int row, const float (&low)[4], const float (&high)[4]) {
    store_rows(to.data + place, row, low, high);
  }
  MEMGAN_DEVICE static void multiply(float (&c)[4], const Left& a, const Right& b, int n) {
    mma(S{}, c, a.x, {b.x[n][0], b.x[n][1]});
  }
  // r . G of the lane's two pixels: its part of the sums over channels. Here those of all pairs of 16 pixels, by
  // products, of which the diagonal is wanted.
  struct Dots {
    float all[2][4] = {};
    MEMGAN_DEVICE void add(const Left&, const Left& of_G, const S* r, int row, int m, int c) {
      Right turned;
      right_turned(turned, r, row, m, c);
      MEMGAN_UNROLL
      for (int n = 0; n < 2; ++n) multiply(all[n], of_G, turned, n);
    }
    MEMGAN_DEVICE void read(float (&dot)[2]) const {
      const int lane = int(threadIdx.x) % kWarp, t = lane % 4, g = lane / 4;
      MEMGAN_UNROLL
      for (int h = 0; h < 2; ++h) dot[h] = 2 * t == g ? all[h][2 * h] : 2 * t + 1 == g ? all[h][2 * h + 1] : 0.f;
    }
  };
};

// Of several rows of a product's result, each shared by four lanes: the largest numbers, and the sums.
template <int kRows>
MEMGAN_DEVICE void largest_of_rows(float (&x)[kRows]) {
  MEMGAN_UNROLL
  for (int step = 1; step < 4; step *= 2) {
    MEMGAN_UNROLL
    for (int i = 0; i < kRows; ++i) x[i] = fmaxf(x[i], __shfl_xor_sync(kAllLanes, x[i], step));
  }
}
template <int kRows>
MEMGAN_DEVICE void sum_of_rows(float (&x)[kRows]) {
  MEMGAN_UNROLL
  for (int step = 1; step < 4; step *= 2) {
    MEMGAN_UNROLL
    for (int i = 0; i < kRows; ++i) x[i] += __shfl_xor_sync(kAllLanes, x[i], step);
  }
}

// Two scores of a row → exponents, minus infinity where there is no word; and the row's largest so far.
MEMGAN_DEVICE void scale_scores(float& low, float& high, float scale, float2 masked, float& largest) {
  low = low * scale + masked.x;
  high = high * scale + masked.y;
  largest = fmaxf(largest, fmaxf(low, high));
}

// Of the lane that holds a row's first column.
MEMGAN_DEVICE float of_first(float x) { return __shfl_sync(kAllLanes, x, int(threadIdx.x) % kWarp / 4 * 4); }

// A number of each row of a product, by the lanes that hold rows g and g + 8 → by those that hold columns 2t and 2t + 1
// of the product turned.
MEMGAN_DEVICE void of_columns(float (&to)[2][2], const float (&of_rows)[2]) {
  const int t = int(threadIdx.x) % 4;
  MEMGAN_UNROLL
  for (int n = 0; n < 2; ++n) {
    MEMGAN_UNROLL
    for (int e = 0; e < 2; ++e) to[n][e] = __shfl_sync(kAllLanes, of_rows[n], t * 8 + e * 4);
  }
}

// Where factors are rounded anyway, exponents are of two, and as exact as the factors.
template <typename E>
MEMGAN_DEVICE float scale_of(double scale) {
  return float(E::exact ? scale : scale * kLog2e);
}
template <typename E>
MEMGAN_DEVICE float power(float x) {
  return E::exact ? exponential(x) : quick_exp2(x);
}
template <typename E>
MEMGAN_DEVICE float reciprocal(float x) {
  return E::exact ? 1.f / x : quick_reciprocal(x);
}
template <typename E>
MEMGAN_DEVICE Gate<float> response_gate(float z) {
  if constexpr (E::exact) return gate_of(z);
  const float t = quick_exp2(-fabsf(z) * float(kLog2e));
  const float large = quick_reciprocal(1.f + t), small = t * large;
  return z < 0.f ? Gate<float>{small, large} : Gate<float>{large, small};
}

// 16 channels by 16 pixels of a tile, from the lane's first pair on: what is left of it, and `o` added.
template <typename S>
MEMGAN_DEVICE void respond_with(const float (&o)[2][4], const float (&closed)[2][2], bool gated, S* at, int row) {
  MEMGAN_UNROLL
  for (int n = 0; n < 2; ++n) {
    MEMGAN_UNROLL
    for (int h = 0; h < 2; ++h) {
      S* pair = at + 8 * h * row + 8 * n;
      float low = o[n][2 * h], high = o[n][2 * h + 1];
      if (gated) {
        const float2 x = load_pair(pair);
        low += closed[n][0] * x.x;
        high += closed[n][1] * x.y;
      }
      store_pair(pair, low, high);
    }
  }
}

}  // namespace memgan::cuda
