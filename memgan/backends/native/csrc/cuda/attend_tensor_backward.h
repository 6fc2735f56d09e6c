// Read and respond, backward, on tensor cores: a warp works on 16 pixels at once and holds their scores in registers.
#pragma once

#include "attend_backward.h"

namespace memgan::cuda {

template <typename S, int kSixteens, int kPixels>
struct TensorBackward {
  using E = Engine<S>;
  using Room = BackwardRoom<S, kPixels, false>;
  static constexpr int row = Tile<S, kPixels>::row;
  const BackwardArgs& a;
  const Room& room;
  const Packed<S, 16>& packed;
  const int64_t b;
  const int warp, lane, warps, channels, sixteens, words;  // 16s of words and w_r, of words
  const bool gated;
  float bias;
  // P, and sums of dz a_l over rows g and g + 8 of all tiles (of dz behind the words): in registers where words are
  // few.
  static constexpr bool in_registers = kSixteens == 2;
  float read_sum[in_registers ? 2 * kSixteens : 1][2] = {};

  MEMGAN_DEVICE TensorBackward(const BackwardArgs& args, const Room& given, int64_t image)
      : a(args),
        room(given),
        packed(given.packed),
        b(image),
        warp(int(threadIdx.x) / kWarp),
        lane(int(threadIdx.x) % kWarp),
        warps(int(blockDim.x) / kWarp),
        channels(up_to_16(args.C)),
        sixteens(up_to_16(given.packed.rows) / 16),
        words(up_to_16(given.packed.count) / 16),
        gated(args.gate_weight != nullptr),
        bias(gated ? read(*static_cast<const S*>(args.gate_bias)) : 0.f) {
    if constexpr (!in_registers)
      for (int i = 0; i < 4 * kSixteens; ++i) read_lane(i / 2, i % 2) = 0;
  }

  MEMGAN_DEVICE float& read_lane(int j, int e) const {
    return room.read_lanes[((warp * 2 * kSixteens + j) * 2 + e) * kWarp + lane];
  }
  MEMGAN_DEVICE void add_to_read_sum(int j, int e, float x) {
    if constexpr (in_registers) read_sum[j][e] += x;
    else read_lane(j, e) += x;
  }

  // P of a row's words 8 j + 2t, 8 j + 2t + 1: in registers, or where g a will be.
  MEMGAN_DEVICE static float2 product_of(const float (&q)[2 * kSixteens][4], int j, int h, const S* ga) {
    if constexpr (in_registers) return {q[j][2 * h], q[j][2 * h + 1]};
    else return E::load_pair(ga + 8 * j);
  }

  // One row's scores and P → ds, and dz behind them, and g a, where the block's sums look for them.
  MEMGAN_DEVICE void respond(
      float (&s)[2 * kSixteens][4], const float (&q)[2 * kSixteens][4], int h, float dot, int p, int end, S* ds, S* ga,
      float& closed) {
    const bool asked = a.grad_attention.data != nullptr && p < end;
    const S* given =
        static_cast<const S*>(a.grad_attention.data) + b * a.grad_attention.batch + p * a.grad_attention.pixel;
    const int t = lane % 4;
    float largest = -INFINITY, z = 0, total = 0, read_dot = 0, from_read = 0, given_dot = 0;
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float& x = s[j][2 * h + e];
        const int l = 8 * j + 2 * t + e;
        if (l == packed.count) z = x;
        x *= float(a.scale);
        if (l < packed.count) largest = largest > x ? largest : x;
      }
    }
    largest = largest_of_row(largest);
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j >= 2 * sixteens) continue;
      const float2 of_value = product_of(q, j, h, ga);
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float& x = s[j][2 * h + e];
        const int l = 8 * j + 2 * t + e;
        x = l < packed.count ? __expf(x - largest) : 0.f;
        total += x;
        read_dot += x * (e == 0 ? of_value.x : of_value.y);
        if (gated && l < packed.count) from_read += x * packed.value_gate[l];
        if (asked && l < packed.count) given_dot += x * read(given[packed.words[l] * a.grad_attention.row]);
      }
    }
    total = sum_of_row(total);
    const float factor = packed.count > 0 ? 1.f / total : 0.f;
    read_dot = sum_of_row(read_dot) * factor;
    given_dot = sum_of_row(given_dot) * factor;
    float dz = 0;
    Gate<float> gate{1.f, 0.f};
    if (gated) {
      from_read = sum_of_row(from_read) * factor;
      gate = gate_of(sum_of_row(z) + from_read + bias);
      dz = (read_dot - sum_of_row(dot)) * gate.open * gate.closed;
      if (t == 0) closed = gate.closed;
    }
    const float mean = gate.open * read_dot + dz * from_read + given_dot;
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j >= 2 * sixteens) continue;
      const float2 of_value = product_of(q, j, h, ga);
      float of_score[2], opened[2];
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int l = 8 * j + 2 * t + e;
        const bool of_gate = gated && l == packed.count;
        const float attention = s[j][2 * h + e] * factor;
        float da = gate.open * (e == 0 ? of_value.x : of_value.y);
        if (gated && l < packed.count) da += dz * packed.value_gate[l];
        if (asked && l < packed.count) da += read(given[packed.words[l] * a.grad_attention.row]);
        if (gated) add_to_read_sum(j, e, of_gate ? dz : attention * dz);
        of_score[e] = of_gate ? dz : attention * (da - mean) * float(a.scale);
        opened[e] = attention * gate.open;
      }
      E::store_pair(ds + 8 * j, of_score[0], of_score[1]);
      E::store_pair(ga + 8 * j, opened[0], opened[1]);
    }
  }

  // Products of 16 pixels of a tile with `height` times 16 slots.
  MEMGAN_DEVICE void multiply(
      float (&x)[2 * kSixteens][4], const Left& pixels, const S* slots, int height, int c) const {
    MEMGAN_UNROLL
    for (int j = 0; j < kSixteens; ++j) {
      if (j >= height) continue;
      Right of_slots;
      E::right(of_slots, slots, packed.row, 16 * j, c);
      MEMGAN_UNROLL
      for (int n = 0; n < 2; ++n) E::multiply(x[2 * j + n], pixels, of_slots, n);
    }
  }

  MEMGAN_DEVICE void attend(const S* r, const S* G, int first, int end) {
    MEMGAN_NO_UNROLL
    for (int m = 0; m < kPixels; m += 16) {
      const int place = warp * int(room.scores_size) + (m + lane / 4) * room.scores_row + lane % 4 * 2;
      S *ds = room.ds + place, *ga = room.ga + place;
      float q[2 * kSixteens][4] = {}, dot[2] = {};
      MEMGAN_NO_UNROLL
      for (int c = 0; c < channels; c += 16) {
        Left of_G, of_r;
        E::left(of_G, G, row, c, m);
        multiply(q, of_G, packed.values, words, c);
        if (!gated) continue;
        E::left(of_r, r, row, c, m);
        E::add_dots(dot, of_r, of_G);
      }
      if constexpr (!in_registers) {
        MEMGAN_UNROLL
        for (int j = 0; j < 2 * kSixteens; ++j) {
          MEMGAN_UNROLL
          for (int h = 0; h < 2; ++h)
            if (j < 2 * sixteens) E::store_pair(ga + 8 * h * room.scores_row + 8 * j, q[j][2 * h], q[j][2 * h + 1]);
        }
      }
      float s[2 * kSixteens][4] = {};
      MEMGAN_NO_UNROLL
      for (int c = 0; c < channels; c += 16) {
        Left of_r;
        E::left(of_r, r, row, c, m);
        multiply(s, of_r, packed.keys, sixteens, c);
      }
      MEMGAN_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int at = 8 * h * room.scores_row, pixel = m + lane / 4 + 8 * h;
        respond(s, q, h, dot[h], first + pixel, end, ds + at, ga + at, room.closed[warp * kPixels + pixel]);
      }
    }
  }

  // Adds the block's pixels to its sums: a warp takes 16 words by 16 channels at a time.
  MEMGAN_DEVICE void sum(float* sums) const {
    const int across = channels / 16, of_slots = sixteens * across, units = of_slots + words * across;
    MEMGAN_NO_UNROLL
    for (int unit = warp; unit < units; unit += warps) {
      const bool slots = unit < of_slots;
      const int place = slots ? unit : unit - of_slots, l = place / across * 16, c = place % across * 16;
      const S *factors = slots ? room.ds : room.ga, *tiles = slots ? room.r : room.G;
      float x[2][4] = {};
      MEMGAN_NO_UNROLL
      for (int w = 0; w < warps; ++w) {
        MEMGAN_UNROLL
        for (int p = 0; p < kPixels; p += 16) {
          Left factor;
          Right pixels;
          E::left(factor, factors + w * room.scores_size, room.scores_row, p, l);
          E::right(pixels, tiles + w * room.tile_size, row, c, p);
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(x[n], factor, pixels, n);
        }
      }
      float* to = slots ? sums : sums + (a.L + 1) * a.C;
      const int limit = slots ? packed.rows : packed.count;
      MEMGAN_UNROLL
      for (int i = 0; i < 8; ++i) {
        const int word = l + lane / 4 + i / 2 % 2 * 8, channel = c + i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (word < limit && channel < a.C) to[word * a.C + channel] += x[i / 4][i % 4];
      }
    }
  }

  // G → grad_r, where it lies. The factors of few words wait in registers.
  MEMGAN_DEVICE void grad(S* G) const {
    const S* ds = room.ds + warp * room.scores_size;
    MEMGAN_NO_UNROLL
    for (int m = 0; m < kPixels; m += 16) {
      Right factors[in_registers ? kSixteens : 1];
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j)
        if (in_registers && j < sixteens) E::right(factors[j], ds, room.scores_row, m, 16 * j);
      MEMGAN_NO_UNROLL
      for (int c = 0; c < channels; c += 16) {
        float o[2][4] = {};
        if constexpr (in_registers) {
          MEMGAN_UNROLL
          for (int j = 0; j < kSixteens; ++j)
            if (j < sixteens) add_keys(o, 16 * j, c, factors[j]);
        } else {
          MEMGAN_NO_UNROLL
          for (int j = 0; j < sixteens; ++j) {
            E::right(factors[0], ds, room.scores_row, m, 16 * j);
            add_keys(o, 16 * j, c, factors[0]);
          }
        }
        MEMGAN_UNROLL
        for (int n = 0; n < 2; ++n) {
          MEMGAN_UNROLL
          for (int h = 0; h < 2; ++h) {
            const int p = m + 8 * n + lane % 4 * 2;
            S* at = G + (c + lane / 4 + 8 * h) * row + p;
            float low = o[n][2 * h], high = o[n][2 * h + 1];
            if (gated) {
              const float2 given = E::load_pair(at);
              low += room.closed[warp * kPixels + p] * given.x;
              high += room.closed[warp * kPixels + p + 1] * given.y;
            }
            E::store_pair(at, low, high);
          }
        }
      }
    }
  }
  MEMGAN_DEVICE void add_keys(float (&o)[2][4], int l, int c, const Right& factors) const {
    Left keys;
    E::left(keys, packed.keys, packed.row, l, c);
    MEMGAN_UNROLL
    for (int n = 0; n < 2; ++n) E::multiply(o[n], keys, factors, n);
  }

  MEMGAN_DEVICE void read_sums() const {
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float x;
        if constexpr (in_registers) x = read_sum[j][e];
        else x = read_lane(j, e);
        MEMGAN_UNROLL
        for (int step = 4; step < kWarp; step *= 2) x += __shfl_xor_sync(kAllLanes, x, step);
        const int l = 8 * j + lane % 4 * 2 + e;
        if (lane < 4 && l < packed.rows) room.read_sums[warp * room.words + l] = x;
      }
    }
  }
};

template <typename S>
constexpr int kBackwardPixels = 64 / int(sizeof(S));  // of a tile, for tensor cores: 64 bytes of a channel

template <typename S, int kSixteens>
__global__ void __launch_bounds__(kBackwardThreads, 1) attend_backward_tensor(const __grid_constant__ BackwardArgs a) {
  backward_tiles<S, kBackwardPixels<S>, false, TensorBackward<S, kSixteens, kBackwardPixels<S>>>(a);
}

}  // namespace memgan::cuda
