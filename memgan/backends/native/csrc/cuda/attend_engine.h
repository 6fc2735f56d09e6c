// Products on tensor cores out of matrices in shared memory, for every dtype that has one.
//
// A warp multiplies 16 rows by 16 columns over 16 numbers. Of all products here the left factor lies in shared memory
// as [k][m] and the right one as [n][k], or once as [k][n]: three kinds of loads are enough. float32 is rounded to tf32
// on its way; its unit takes 8 of k at a time, and the order in which a sum runs over k is ours to choose, so that lane
// t takes k = 2t and 2t + 1: neighbours, as the results of one product and the factors of the next want them.
#pragma once

#include "attend_words.h"

namespace memgan::cuda {

constexpr double kLog2e = 1.4426950408889634;
constexpr float kLowest = -3e38f;  // instead of -inf, which less itself is no number

template <typename S>
struct Engine {  // bfloat16 and float16
  using Stored = S;
  struct Left {  // 16 of m, 16 of k
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
  // What `right_of` made, to where it is a left factor again: [pixel][word], `at` that of the lane's row and two words.
  MEMGAN_DEVICE static void store_right(S* at, int row, const Right& x) {
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i) *reinterpret_cast<uint32_t*>(at + i / 2 * 8 * row + i % 2 * 8) = x.x[i / 2][i % 2];
  }
  MEMGAN_DEVICE static void multiply(float (&c)[4], const Left& a, const Right& b, int n) {
    mma(S{}, c, a.x, {b.x[n][0], b.x[n][1]});
  }
  MEMGAN_DEVICE static void store_pair(S* to, float first, float second) {
    *reinterpret_cast<uint32_t*>(to) = packed_pair<S>(first, second);
  }
  MEMGAN_DEVICE static float2 load_pair(const S* from) {
    return unpacked_pair<S>(*reinterpret_cast<const uint32_t*>(from));
  }
};

template <>
struct Engine<float> {  // tf32
  using Stored = float;
  struct Left {
    uint32_t x[2][4];
  };
  struct Right {
    uint32_t x[2][4];
  };

  MEMGAN_DEVICE static void left(Left& to, const float* matrix, int row, int k, int m) {
    const int lane = int(threadIdx.x) % kWarp;
    const float* at = matrix + (k + lane % 4 * 2) * row + m + lane / 4;
    MEMGAN_UNROLL
    for (int step = 0; step < 2; ++step) {
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i) to.x[step][i] = to_tf32(at[(8 * step + i / 2) * row + i % 2 * 8]);
    }
  }
  MEMGAN_DEVICE static void right(Right& to, const float* matrix, int row, int n, int k) {
    const int lane = int(threadIdx.x) % kWarp;
    MEMGAN_UNROLL
    for (int half = 0; half < 2; ++half) {
      MEMGAN_UNROLL
      for (int step = 0; step < 2; ++step) {
        const float2 pair = load_pair(matrix + (n + 8 * half + lane / 4) * row + k + 8 * step + lane % 4 * 2);
        to.x[half][2 * step] = to_tf32(pair.x);
        to.x[half][2 * step + 1] = to_tf32(pair.y);
      }
    }
  }
  MEMGAN_DEVICE static void right_turned(Right& to, const float* matrix, int row, int n, int k) {
    const int lane = int(threadIdx.x) % kWarp;
    const float* at = matrix + (k + lane % 4 * 2) * row + n + lane / 4;
    MEMGAN_UNROLL
    for (int half = 0; half < 2; ++half) {
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i) to.x[half][i] = to_tf32(at[(i / 2 * 8 + i % 2) * row + 8 * half]);
    }
  }
  MEMGAN_DEVICE static void right_of(Right& to, const float (&low)[4], const float (&high)[4]) {
    MEMGAN_UNROLL
    for (int n = 0; n < 2; ++n) {
      MEMGAN_UNROLL
      for (int i = 0; i < 2; ++i) {
        to.x[n][i] = to_tf32(low[2 * n + i]);
        to.x[n][2 + i] = to_tf32(high[2 * n + i]);
      }
    }
  }
  MEMGAN_DEVICE static void store_right(float* at, int row, const Right& x) {
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i)
      *reinterpret_cast<uint2*>(at + i / 2 * 8 * row + i % 2 * 8) =
          uint2{x.x[i / 2][2 * (i % 2)], x.x[i / 2][2 * (i % 2) + 1]};
  }
  MEMGAN_DEVICE static void multiply(float (&c)[4], const Left& a, const Right& b, int n) {
    mma(0.f, c, a.x[0], {b.x[n][0], b.x[n][1]});
    mma(0.f, c, a.x[1], {b.x[n][2], b.x[n][3]});
  }
  MEMGAN_DEVICE static void store_pair(float* to, float first, float second) {
    *reinterpret_cast<float2*>(to) = float2{first, second};
  }
  MEMGAN_DEVICE static float2 load_pair(const float* from) { return *reinterpret_cast<const float2*>(from); }
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

// Two scores of a row → exponents of two, minus infinity where there is no word; and the row's largest so far.
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

// sigmoid(z) and 1 - sigmoid(z), as exact as factors of tensor cores need them.
MEMGAN_DEVICE Gate<float> quick_gate(float z) {
  const float t = quick_exp2(-fabsf(z) * float(kLog2e));
  const float large = quick_reciprocal(1.f + t), small = t * large;
  return z < 0.f ? Gate<float>{small, large} : Gate<float>{large, small};
}

// 16 channels by 16 pixels of a tile, from the lane's first pair on: what is left of it, and `o` added.
template <typename E, typename S>
MEMGAN_DEVICE void respond_with(const float (&o)[2][4], const float (&closed)[2][2], bool gated, S* at, int row) {
  MEMGAN_UNROLL
  for (int n = 0; n < 2; ++n) {
    MEMGAN_UNROLL
    for (int h = 0; h < 2; ++h) {
      S* pair = at + 8 * h * row + 8 * n;
      float low = o[n][2 * h], high = o[n][2 * h + 1];
      if (gated) {
        const float2 x = E::load_pair(pair);
        low += closed[n][0] * x.x;
        high += closed[n][1] * x.y;
      }
      E::store_pair(pair, low, high);
    }
  }
}

}  // namespace memgan::cuda
