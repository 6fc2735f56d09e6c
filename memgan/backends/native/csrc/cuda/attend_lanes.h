// Read and respond, forward, in float32 of full precision: a lane owns pixels of its warp's tile, so that only loads
// and stores of tiles need the warp. Keys and values reach all lanes of a warp in one read.
#pragma once

#include "attend_forward.h"

namespace memgan::cuda {

// Products of kRows rows of `slots` with the lane's pixels → their columns of `to`.
template <int kRows, int kOwn>
MEMGAN_DEVICE void products_of_rows(
    const float* slots, int row, const float* x, int ld, int channels, float* to, int step) {
  float sum[kRows][kOwn] = {};
  MEMGAN_NO_UNROLL
  for (int c = 0; c < channels; c += 4) {
    float in[4][kOwn];
    MEMGAN_UNROLL
    for (int e = 0; e < 4; ++e) {
      MEMGAN_UNROLL
      for (int i = 0; i < kOwn; ++i) in[e][i] = x[(c + e) * ld + i * kWarp];
    }
    MEMGAN_UNROLL
    for (int l = 0; l < kRows; ++l) {
      const float4 k = *reinterpret_cast<const float4*>(slots + l * row + c);
      MEMGAN_UNROLL
      for (int i = 0; i < kOwn; ++i) {
        sum[l][i] += k.x * in[0][i];
        sum[l][i] += k.y * in[1][i];
        sum[l][i] += k.z * in[2][i];
        sum[l][i] += k.w * in[3][i];
      }
    }
  }
  MEMGAN_UNROLL
  for (int l = 0; l < kRows; ++l) {
    MEMGAN_UNROLL
    for (int i = 0; i < kOwn; ++i) to[l * step + i * kWarp] = sum[l][i];
  }
}

// Of `rows` rows, rounded up to four: slots have zeros there.
template <int kOwn>
MEMGAN_DEVICE void products_of(
    const float* slots, int rows, int row, const float* x, int ld, int channels, float* to, int step) {
  for (int l = 0; l < rows;) {
    const int fours = (rows - l + 3) / 4;
    const float* from = slots + l * row;
    float* at = to + l * step;
    if (fours >= 5) products_of_rows<20, kOwn>(from, row, x, ld, channels, at, step), l += 20;
    else if (fours == 4) products_of_rows<16, kOwn>(from, row, x, ld, channels, at, step), l += 16;
    else if (fours == 3) products_of_rows<12, kOwn>(from, row, x, ld, channels, at, step), l += 12;
    else if (fours == 2) products_of_rows<8, kOwn>(from, row, x, ld, channels, at, step), l += 8;
    else products_of_rows<4, kOwn>(from, row, x, ld, channels, at, step), l += 4;
  }
}

// tile = scaled * tile + sum over rows of weight times slot: the lane's pixels, 16 channels from `slots` and `tile` on.
template <int kOwn>
MEMGAN_DEVICE void combine_rows(
    const float* slots, int rows, int row, const float* weights, int step, const float (&scaled)[kOwn], bool keep,
    float* tile, int ld) {
  float sum[16][kOwn] = {};
  MEMGAN_NO_UNROLL
  for (int l = 0; l < rows; ++l) {
    float w[kOwn];
    MEMGAN_UNROLL
    for (int i = 0; i < kOwn; ++i) w[i] = weights[l * step + i * kWarp];
    MEMGAN_UNROLL
    for (int d = 0; d < 16; d += 4) {
      const float4 v = *reinterpret_cast<const float4*>(slots + l * row + d);
      MEMGAN_UNROLL
      for (int i = 0; i < kOwn; ++i) {
        sum[d][i] += v.x * w[i];
        sum[d + 1][i] += v.y * w[i];
        sum[d + 2][i] += v.z * w[i];
        sum[d + 3][i] += v.w * w[i];
      }
    }
  }
  MEMGAN_UNROLL
  for (int d = 0; d < 16; ++d) {
    MEMGAN_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      float& at = tile[d * ld + i * kWarp];
      at = keep ? sum[d][i] + scaled[i] * at : sum[d][i];
    }
  }
}

// One pixel's column of scores, in place → exp(scale (s - largest)); returns 1 / their sum.
MEMGAN_DEVICE float softmax_of_column(float* s, int step, int count, float scale) {
  float largest = -INFINITY, sum = 0;
  for (int l = 0; l < count; ++l) {
    const float x = s[l * step] * scale;
    largest = largest > x ? largest : x;
    s[l * step] = x;
  }
  for (int l = 0; l < count; ++l) {
    const float e = exponential(s[l * step] - largest);
    s[l * step] = e;
    sum += e;
  }
  return count > 0 ? 1.f / sum : 0.f;
}

template <int kOwn>
__global__ void __launch_bounds__(kForwardThreads, 3) attend_forward_lanes(const __grid_constant__ ForwardArgs a) {
  constexpr int kPixels = kOwn * kWarp, ld = kPixels + kVector<float>;
  const bool gated = a.gate_weight != nullptr;
  const float bias = gated ? *static_cast<const float*>(a.gate_bias) : 0.f;
  forward_tiles<float, kPixels, true, Any>(a, [&](const auto& room, int64_t b, int64_t first, float* tile) {
    const Packed<float, 4>& packed = room.packed;
    const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, channels = up_to_16(a.C);
    float* s = room.scores + warp * up_to<4>(a.L + 1) * kPixels + lane;
    products_of<kOwn>(packed.keys, packed.rows, packed.row, tile + lane, ld, channels, s, kPixels);
    float closed[kOwn];
    MEMGAN_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      float* column = s + i * kWarp;
      const float z = column[packed.count * kPixels];
      float factor = softmax_of_column(column, kPixels, packed.count, float(a.scale));
      const int64_t p = first + lane + i * kWarp;
      if (a.attention != nullptr && p < a.N) {
        float* to = static_cast<float*>(a.attention) + b * a.L * a.N + p;
        int row = 0;
        for (int64_t l = 0; l < a.L; ++l) {
          const bool real = row < packed.count && packed.words[row] == l;
          to[l * a.N] = real ? column[row * kPixels] * factor : 0.f;
          row += real;
        }
      }
      closed[i] = 0;
      if (gated) {
        float from_read = 0;
        for (int l = 0; l < packed.count; ++l) from_read += column[l * kPixels] * packed.value_gate[l];
        const Gate<float> gate = gate_of(z + from_read * factor + bias);
        closed[i] = gate.closed;
        factor *= gate.open;
      }
      for (int l = 0; l < packed.count; ++l) column[l * kPixels] *= factor;
    }
    for (int d = 0; d < channels; d += 16)
      combine_rows<kOwn>(
          packed.values + d, packed.count, packed.row, s, kPixels, closed, gated, tile + d * ld + lane, ld);
  });
}

}  // namespace memgan::cuda
