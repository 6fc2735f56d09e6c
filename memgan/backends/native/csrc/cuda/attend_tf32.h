// Products of float32 on tensor cores, rounded to tf32 on its way. Their unit takes 8 of k at a time, and the order in
// which a sum runs over k is ours to choose: lane t takes k = 2t and 2t + 1, neighbours, as the results of one product
// and the factors of the next want them.
#pragma once

#include "attend_engine.h"

namespace memgan::cuda {

struct Tf32 {};
template <>
struct Engine<Tf32> {
  using Stored = float;
  template <typename M>
  using SlotsOf = Plain<float>;
  template <typename M>
  using ScoresOf = Plain<float>;
  static constexpr bool exact = false;
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
  MEMGAN_DEVICE static void store_scores(
      const Plain<float>& to, int place, int row, const float (&low)[4], const float (&high)[4]) {
    store_rows(to.data + place, row, low, high);
  }
  MEMGAN_DEVICE static void multiply(float (&c)[4], const Left& a, const Right& b, int n) {
    mma(0.f, c, a.x[0], {b.x[n][0], b.x[n][1]});
    mma(0.f, c, a.x[1], {b.x[n][2], b.x[n][3]});
  }
  struct Dots {
    float sum[2] = {};
    MEMGAN_DEVICE void add(const Left& of_r, const Left& of_G, const float*, int, int, int) {
      MEMGAN_UNROLL
      for (int i = 0; i < 8; ++i)
        sum[i % 2] += bits_as_float(of_r.x[i / 4][i % 4]) * bits_as_float(of_G.x[i / 4][i % 4]);
    }
    MEMGAN_DEVICE void read(float (&dot)[2]) const { dot[0] = sum[0], dot[1] = sum[1]; }
  };
};

}  // namespace memgan::cuda
