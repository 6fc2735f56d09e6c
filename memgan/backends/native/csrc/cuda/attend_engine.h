// Products on tensor cores out of matrices in shared memory, for every dtype that has one.
//
// A warp multiplies 16 rows by 16 columns over 16 numbers. Of all products here the left factor lies in shared memory
// as [k][m] and the right one as [n][k]: two kinds of loads are enough. float32 is rounded to tf32 on its way; its unit
// takes 8 of k at a time, and the order in which a sum runs over k is ours to choose, so that lane t takes k = 2t and
// 2t + 1: neighbours, as the results of one product and the factors of the next want them.
#pragma once

#include "device.h"

namespace memgan::cuda {

struct Left {  // 16 of m, 16 of k
  uint32_t x[2][4];
};
struct Right {  // two times 8 of n, 16 of k
  uint32_t x[2][4];
};

template <typename S>
struct Engine {  // bfloat16 and float16
  static constexpr bool tf32 = false;

  MEMGAN_DEVICE static void left(Left& to, const S* matrix, int row, int k, int m) {
    const int lane = int(threadIdx.x) % kWarp;
    load_matrices<true>(to.x[0], matrix + (k + lane / 16 * 8 + lane % 8) * row + m + lane / 8 % 2 * 8);
  }
  MEMGAN_DEVICE static void right(Right& to, const S* matrix, int row, int n, int k) {
    const int lane = int(threadIdx.x) % kWarp;
    uint32_t four[4];
    load_matrices<false>(four, matrix + (n + lane / 16 * 8 + lane % 8) * row + k + lane / 8 % 2 * 8);
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i) to.x[i / 2][i % 2] = four[i];
  }
  // The results of a product with 16 words as the right factor of the next: s[0] and s[1] hold 8 words each.
  MEMGAN_DEVICE static void right_of(Right& to, const float (&low)[4], const float (&high)[4]) {
    MEMGAN_UNROLL
    for (int n = 0; n < 2; ++n) {
      to.x[n][0] = packed_pair<S>(low[2 * n], low[2 * n + 1]);
      to.x[n][1] = packed_pair<S>(high[2 * n], high[2 * n + 1]);
    }
  }
  MEMGAN_DEVICE static void multiply(float (&c)[4], const Left& a, const Right& b, int n) {
    mma(S{}, c, a.x[0], {b.x[n][0], b.x[n][1]});
  }
  // Sums over k of products of two left factors' equal places, rows g and g + 8.
  MEMGAN_DEVICE static void add_dots(float (&dot)[2], const Left& a, const Left& b) {
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i) {
      MEMGAN_UNROLL
      for (int half = 0; half < 2; ++half)
        dot[i % 2] += read(S{uint16_t(a.x[0][i] >> 16 * half)}) * read(S{uint16_t(b.x[0][i] >> 16 * half)});
    }
  }
  MEMGAN_DEVICE static void store_pair(S* to, float first, float second) {
    *reinterpret_cast<uint32_t*>(to) = packed_pair<S>(first, second);
  }
  MEMGAN_DEVICE static float2 load_pair(const S* from) {
    const uint32_t bits = *reinterpret_cast<const uint32_t*>(from);
    return {read(S{uint16_t(bits)}), read(S{uint16_t(bits >> 16)})};
  }
};

template <>
struct Engine<float> {
  using S = float;
  static constexpr bool tf32 = true;

  MEMGAN_DEVICE static void left(Left& to, const S* matrix, int row, int k, int m) {
    const int lane = int(threadIdx.x) % kWarp;
    const S* at = matrix + (k + lane % 4 * 2) * row + m + lane / 4;
    MEMGAN_UNROLL
    for (int step = 0; step < 2; ++step) {
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i) to.x[step][i] = to_tf32(at[(8 * step + i / 2) * row + i % 2 * 8]);
    }
  }
  MEMGAN_DEVICE static void right(Right& to, const S* matrix, int row, int n, int k) {
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
  MEMGAN_DEVICE static void multiply(float (&c)[4], const Left& a, const Right& b, int n) {
    mma(0.f, c, a.x[0], {b.x[n][0], b.x[n][1]});
    mma(0.f, c, a.x[1], {b.x[n][2], b.x[n][3]});
  }
  MEMGAN_DEVICE static void add_dots(float (&dot)[2], const Left& a, const Left& b) {
    MEMGAN_UNROLL
    for (int step = 0; step < 2; ++step) {
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i) dot[i % 2] += bits_as_float(a.x[step][i]) * bits_as_float(b.x[step][i]);
    }
  }
  MEMGAN_DEVICE static void store_pair(S* to, float first, float second) {
    *reinterpret_cast<float2*>(to) = float2{first, second};
  }
  MEMGAN_DEVICE static float2 load_pair(const S* from) { return *reinterpret_cast<const float2*>(from); }
};

// The largest of, and the sum over, the four lanes that share a row of a product's result.
MEMGAN_DEVICE float largest_of_row(float x) {
  MEMGAN_UNROLL
  for (int step = 1; step < 4; step *= 2) {
    const float other = __shfl_xor_sync(kAllLanes, x, step);
    x = x > other ? x : other;
  }
  return x;
}
MEMGAN_DEVICE float sum_of_row(float x) {
  MEMGAN_UNROLL
  for (int step = 1; step < 4; step *= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}

}  // namespace memgan::cuda
