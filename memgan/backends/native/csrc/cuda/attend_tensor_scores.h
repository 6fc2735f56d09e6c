// Read and respond, backward, on tensor cores: from the scores of 16 pixels to their gradients, in registers.
#pragma once

#include "attend_backward.h"

namespace memgan::cuda {

constexpr float kLeastOpen = 1e-30f;  // of a gate that is divided by

// A warp's, of 16 pixels. kSixteens times 16 rows of slots at most.
template <typename E, int kSixteens, typename M>
struct TensorScores {
  using S = typename E::Stored;
  const BackwardArgs& a;
  const Packed<E, M>& packed;
  const int64_t b;
  const int lane, sixteens;  // sixteens: that there are
  const bool gated;
  const float bias, scale;

  MEMGAN_DEVICE TensorScores(const BackwardArgs& args, const Packed<E, M>& slots, int64_t image)
      : a(args),
        packed(slots),
        b(image),
        lane(int(threadIdx.x) % kWarp),
        sixteens(up_to_16(slots.rows) / 16),
        gated(args.gate_weight != nullptr),
        bias(gated ? read(*static_cast<const S*>(args.gate_bias)) : 0.f),
        scale(scale_of<E>(args.scale)) {}

  // Gradients that attention was given itself, as if they came from what was read: P_l + given_l / g. Their products
  // with attention belong to the rows' means.
  MEMGAN_DEVICE void add_given(
      const float (&s)[2 * kSixteens][4], float (&q)[2 * kSixteens][4], const float (&factor)[2], float (&open)[2],
      float (&mean)[2], int pixel, int end) const {
    const auto& given = a.grad_attention;
    float dot[2] = {};
    MEMGAN_UNROLL
    for (int h = 0; h < 2; ++h) open[h] = open[h] < kLeastOpen ? kLeastOpen : open[h];
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int l = 8 * j + lane % 4 * 2 + i % 2, p = pixel + i / 2 * 8;
        if (l == 0 || l >= packed.rows || p >= end) continue;
        const int64_t place = b * given.batch + packed.words[l - 1] * given.row + p * given.pixel;
        const float x = read(static_cast<const S*>(given.data)[place]);
        dot[i / 2] += s[j][i] * factor[i / 2] * x;
        q[j][i] += x / open[i / 2];
      }
    }
    sum_of_rows(dot);
    MEMGAN_UNROLL
    for (int h = 0; h < 2; ++h) mean[h] += dot[h];
  }

  // Scores → ds, dz in the gate's place; P → g a. Of rows g and g + 8, whose pixels are `pixel` and the 8th behind it.
  // `add(j, e, x)` is given the sums of dz a_l over both rows.
  template <typename Add>
  MEMGAN_DEVICE void respond(
      float (&s)[2 * kSixteens][4], float (&q)[2 * kSixteens][4], float (&dot)[2], int pixel, int end, float* closed,
      Add&& add) const {
    const int t = lane % 4;
    float z[2], largest[2] = {kLowest, kLowest}, total[2] = {}, read_dot[2] = {}, from_read[2] = {};
    MEMGAN_UNROLL
    for (int h = 0; h < 2; ++h) {
      z[h] = s[0][2 * h];  // of w_r where t is 0
      if (t == 0) s[0][2 * h] = 0;
    }
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j / 2 >= sixteens) continue;
      const float2 masked = *reinterpret_cast<const float2*>(packed.masked + 8 * j + 2 * t);
      MEMGAN_UNROLL
      for (int h = 0; h < 2; ++h) scale_scores(s[j][2 * h], s[j][2 * h + 1], scale, masked, largest[h]);
    }
    largest_of_rows(largest);
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j / 2 >= sixteens) continue;
      const float2 value_gate = *reinterpret_cast<const float2*>(packed.value_gate + 8 * j + 2 * t);
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int h = i / 2;
        float& x = s[j][i];
        x = power<E>(x - largest[h]);
        total[h] += x;
        read_dot[h] += x * q[j][i];
        from_read[h] += x * (i % 2 == 0 ? value_gate.x : value_gate.y);
      }
    }
    sum_of_rows(total);
    sum_of_rows(read_dot);
    if (gated) {
      sum_of_rows(from_read);
      sum_of_rows(dot);
    }
    float factor[2], dz[2] = {}, mean[2], open[2] = {1.f, 1.f};
    MEMGAN_UNROLL
    for (int h = 0; h < 2; ++h) {
      factor[h] = packed.count > 0 ? reciprocal<E>(total[h]) : 0.f;
      read_dot[h] *= factor[h];
      if (gated) {
        from_read[h] *= factor[h];
        const Gate<float> gate = response_gate<E>(of_first(z[h]) + from_read[h] + bias);
        dz[h] = (read_dot[h] - dot[h]) * gate.open * gate.closed;
        open[h] = gate.open;
        if (t == 0) closed[8 * h] = gate.closed;
      }
      mean[h] = open[h] * read_dot[h] + dz[h] * from_read[h];
    }
    if (a.grad_attention.data != nullptr) add_given(s, q, factor, open, mean, pixel, end);
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j / 2 >= sixteens) continue;
      const float2 value_gate = *reinterpret_cast<const float2*>(packed.value_gate + 8 * j + 2 * t);
      float of_read[2] = {};
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int h = i / 2;
        const float attention = s[j][i] * factor[h];
        float da = dz[h] * (i % 2 == 0 ? value_gate.x : value_gate.y) - mean[h];
        da += open[h] * q[j][i];
        of_read[i % 2] += attention * dz[h];
        s[j][i] = attention * float(a.scale) * da;
        q[j][i] = attention * open[h];
      }
      if (j == 0 && t == 0) of_read[0] = dz[0] + dz[1];
      add(j, 0, of_read[0]);
      add(j, 1, of_read[1]);
    }
    if (t > 0) return;
    s[0][0] = dz[0];
    s[0][2] = dz[1];
  }
};

}  // namespace memgan::cuda
