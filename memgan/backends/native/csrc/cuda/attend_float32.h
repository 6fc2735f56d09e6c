// Products of float32 in full precision on tensor cores: each number is the sum of three of bfloat16.
//
// Rounded to the nearest, the three hold 24 bits and more; six of their nine products are summed, the others are less
// than half a unit of float32's last place. Sums over more than 16 numbers are added up outside of tensor cores, which
// cut off what does not fit where float32 rounds. What is beyond bfloat16's largest number, 3.39e38, ends as NaN.
#pragma once

#include "attend_engine.h"

namespace memgan::cuda {

struct Float32 {};
template <>
struct Engine<Float32> {
  using Stored = float;
  using Parts = Engine<Bf16>;
  // What many warps read is split once, where that leaves room for several blocks.
  template <typename M>
  using SlotsOf = std::conditional_t<(M::kRows > 0 && M::kRows <= 32), Planes, Plain<float>>;
  template <typename M>
  using ScoresOf = std::conditional_t<(M::kRows > 0 && M::kRows <= 32 && M::kChannels <= 64), Planes, Plain<float>>;
  static constexpr bool exact = true;
  struct Left {
    uint32_t x[3][4];
    float whole[4][2];  // neighbours along k
  };
  struct Right {
    uint32_t x[3][2][2];
  };

  MEMGAN_DEVICE static void left(Left& to, const float* matrix, int row, int k, int m) {
    const int lane = int(threadIdx.x) % kWarp;
    const float* at = matrix + (k + lane % 4 * 2) * row + m + lane / 4;
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float* pair = at + i / 2 * 8 * row + i % 2 * 8;
      uint32_t parts[3];
      to.whole[i][0] = pair[0], to.whole[i][1] = pair[row];
      split_pair(pair[0], pair[row], parts);
      MEMGAN_UNROLL
      for (int p = 0; p < 3; ++p) to.x[p][i] = parts[p];
    }
  }
  MEMGAN_DEVICE static void left(Left& to, const Planes& slots, int row, int k, int m) {
    MEMGAN_UNROLL
    for (int i = 0; i < 3; ++i) {
      Parts::Left part;
      Parts::left(part, slots.plane(i), row, k, m);
      MEMGAN_UNROLL
      for (int e = 0; e < 4; ++e) to.x[i][e] = part.x[e];
    }
  }
  MEMGAN_DEVICE static void right(Right& to, const float* matrix, int row, int n, int k) {
    const int lane = int(threadIdx.x) % kWarp;
    const float* at = matrix + (n + lane / 4) * row + k + lane % 4 * 2;
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float2 pair = load_pair(at + i / 2 * 8 * row + i % 2 * 8);
      split(to, i, pair.x, pair.y);
    }
  }
  MEMGAN_DEVICE static void right(Right& to, const Planes& slots, int row, int n, int k) {
    MEMGAN_UNROLL
    for (int i = 0; i < 3; ++i) {
      Parts::Right part;
      Parts::right(part, slots.plane(i), row, n, k);
      MEMGAN_UNROLL
      for (int e = 0; e < 4; ++e) to.x[i][e / 2][e % 2] = part.x[e / 2][e % 2];
    }
  }
  MEMGAN_DEVICE static void right_of(Right& to, const float (&low)[4], const float (&high)[4]) {
    MEMGAN_UNROLL
    for (int n = 0; n < 2; ++n) {
      split(to, 2 * n, low[2 * n], low[2 * n + 1]);
      split(to, 2 * n + 1, high[2 * n], high[2 * n + 1]);
    }
  }
  MEMGAN_DEVICE static void split(Right& to, int i, float low, float high) {
    uint32_t parts[3];
    split_pair(low, high, parts);
    MEMGAN_UNROLL
    for (int p = 0; p < 3; ++p) to.x[p][i / 2][i % 2] = parts[p];
  }
  MEMGAN_DEVICE static void store_scores(
      const Plain<float>& to, int place, int row, const float (&low)[4], const float (&high)[4]) {
    store_rows(to.data + place, row, low, high);
  }
  MEMGAN_DEVICE static void store_scores(
      const Planes& to, int place, int row, const float (&low)[4], const float (&high)[4]) {
    Right parts;
    right_of(parts, low, high);
    MEMGAN_UNROLL
    for (int i = 0; i < 12; ++i)
      *reinterpret_cast<uint32_t*>(to.plane(i / 4) + place + i / 2 % 2 * 8 * row + i % 2 * 8) =
          parts.x[i / 4][i / 2 % 2][i % 2];
  }
  MEMGAN_DEVICE static void multiply(float (&c)[4], const Left& a, const Right& b, int n) {
    // Two sums: none waits for all six products.
    float even[4] = {}, odd[4] = {};
    const auto add = [&](float (&sum)[4], int i, int j) { mma(Bf16{}, sum, a.x[i], {b.x[j][n][0], b.x[j][n][1]}); };
    add(even, 2, 0), add(odd, 0, 2);  // the smallest first
    add(even, 0, 1), add(odd, 1, 1);
    add(even, 0, 0), add(odd, 1, 0);
    MEMGAN_UNROLL
    for (int i = 0; i < 4; ++i) c[i] += even[i] + odd[i];
  }
  struct Dots {
    float sum[2] = {};
    MEMGAN_DEVICE void add(const Left& of_r, const Left& of_G, const float*, int, int, int) {
      MEMGAN_UNROLL
      for (int i = 0; i < 8; ++i) sum[i / 2 % 2] += of_r.whole[i / 2][i % 2] * of_G.whole[i / 2][i % 2];
    }
    MEMGAN_DEVICE void read(float (&dot)[2]) const { dot[0] = sum[0], dot[1] = sum[1]; }
  };
};

}  // namespace memgan::cuda
