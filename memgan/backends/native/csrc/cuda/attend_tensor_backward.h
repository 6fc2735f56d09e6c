// Read and respond, backward, on tensor cores: a block takes 16 pixels a warp at once, and a warp holds the scores of its
// 16 in registers.
#pragma once

#include "attend_backward.h"

namespace memgan::cuda {

// Of a block, in shared memory. Tiles are [channel][pixel], scores [pixel][row of slots].
template <typename S>
struct TensorRoom {
  Room room;
  Packed<S, 16> packed;
  Tile<S> tile;
  int words, scores_row;  // rows of slots, up to 16; numbers from a pixel's scores to the next's
  S *r, *G, *ds, *ga;
  float* read_lanes;  // [words / 4][32] a warp: sums of dz a_l by lane, where they are not in registers
  float* read_sums;   // [words] a warp: dz in the gate's row
  float* sums;        // as a chunk's partial sums, if they are kept here

  // `words` as many as the kernel is compiled for.
  MEMGAN_BOTH static int64_t read_lanes_of(int64_t L) { return L + 1 <= 32 ? 0 : L + 1 <= 80 ? 20 : 36; }
  MEMGAN_BOTH TensorRoom(const BackwardArgs& a, int warps, int thread, unsigned char* base)
      : room{base},
        packed(a, room),
        tile(16 * warps, thread, kWarp * warps),
        words(up_to_16(a.L + 1)),
        scores_row(row_of<S>(a.L + 1)),
        r(room.take<S>(tile.size(a.C))),
        G(room.take<S>(tile.size(a.C))),
        ds(room.take<S>(16 * warps * scores_row)),
        ga(room.take<S>(16 * warps * scores_row)),
        read_lanes(room.take<float>(warps * read_lanes_of(a.L) * kWarp)),
        read_sums(room.take<float>(warps * words)),
        sums(room.take<float>(a.shared_sums ? partial_size(a) : 0)) {}
};

// Where a block's warps keep what they sum over its pixels: in registers, if each has few enough 16s of channels. A pair
// is 16 channels of r, or of G, and its sums are those of all rows of slots.
constexpr int kPairs = 2;

template <typename S, int kSixteens, int kWarps>
struct TensorBackward {
  using E = Engine<S>;
  // kWarps 0: any number of warps, and sums in memory.
  static constexpr bool in_registers = kWarps > 0;
  // Whether ds, and sums of dz a_l over rows g and g + 8 of all tiles, are in registers too.
  static constexpr bool few_words = kSixteens == 2;
  const BackwardArgs& a;
  const TensorRoom<S>& room;
  const Packed<S, 16>& packed;
  const int64_t b;
  const int warp, lane, warps, row, channels, sixteens;
  const bool gated;
  const float bias, scale;
  float read_sum[few_words ? 2 * kSixteens : 1][2] = {};
  float sums[in_registers ? kPairs : 1][in_registers ? kSixteens : 1][2][4] = {};
  Right ds[few_words ? kSixteens : 1];  // of the warp's pixels
  float closed[2][2];   // 1 - g of pixels 8 n + 2t and 8 n + 2t + 1

  MEMGAN_DEVICE TensorBackward(const BackwardArgs& args, const TensorRoom<S>& given, int64_t image)
      : a(args),
        room(given),
        packed(given.packed),
        b(image),
        warp(int(threadIdx.x) / kWarp),
        lane(int(threadIdx.x) % kWarp),
        warps(in_registers ? kWarps : int(blockDim.x) / kWarp),
        row(16 * warps + kVector<S>),
        channels(up_to_16(args.C)),
        sixteens(up_to_16(given.packed.rows) / 16),
        gated(args.gate_weight != nullptr),
        bias(gated ? read(*static_cast<const S*>(args.gate_bias)) : 0.f),
        scale(float(args.scale * kLog2e)) {
    if constexpr (!few_words)
      for (int i = 0; i < 4 * kSixteens; ++i) read_lane(i / 2, i % 2) = 0;
  }

  MEMGAN_DEVICE float& read_lane(int j, int e) const {
    return room.read_lanes[((warp * 2 * kSixteens + j) * 2 + e) * kWarp + lane];
  }
  MEMGAN_DEVICE void add_to_read_sum(int j, int e, float x) {
    if constexpr (few_words) read_sum[j][e] += x;
    else read_lane(j, e) += x;
  }

  // Gradients that attention was given, of a pixel: what they add to a row's sum, and to each of its words.
  MEMGAN_DEVICE const S* given_of(int p, int end) const {
    if (a.grad_attention.data == nullptr || p >= end) return nullptr;
    return static_cast<const S*>(a.grad_attention.data) + b * a.grad_attention.batch + p * a.grad_attention.pixel;
  }
  MEMGAN_DEVICE float given_of(const S* given, int l) const {
    return l > 0 && l < packed.rows ? read(given[packed.words[l - 1] * a.grad_attention.row]) : 0.f;
  }

  // One row's scores → ds, dz in the gate's place; P → g a.
  MEMGAN_DEVICE void respond(
      float (&s)[2 * kSixteens][4], float (&q)[2 * kSixteens][4], int h, float dot, int p, int end, float& open_less_1) {
    const int t = lane % 4;
    const S* given = given_of(p, end);
    const float z = s[0][2 * h];  // of w_r where t is 0
    if (t == 0) s[0][2 * h] = 0;
    float largest = kLowest, total = 0, read_dot = 0, from_read = 0, given_dot = 0;
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j / 2 >= sixteens) continue;
      const float2 masked = *reinterpret_cast<const float2*>(packed.masked + 8 * j + 2 * t);
      s[j][2 * h] = s[j][2 * h] * scale + masked.x;
      s[j][2 * h + 1] = s[j][2 * h + 1] * scale + masked.y;
      largest = fmaxf(largest, fmaxf(s[j][2 * h], s[j][2 * h + 1]));
    }
    largest = largest_of_row(largest);
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j / 2 >= sixteens) continue;
      const float2 value_gate = *reinterpret_cast<const float2*>(packed.value_gate + 8 * j + 2 * t);
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float& x = s[j][2 * h + e];
        x = quick_exp2(x - largest);
        total += x;
        read_dot += x * q[j][2 * h + e];
        from_read += x * (e == 0 ? value_gate.x : value_gate.y);
        if (given != nullptr) given_dot += x * given_of(given, 8 * j + 2 * t + e);
      }
    }
    total = sum_of_row(total);
    const float factor = packed.count > 0 ? quick_reciprocal(total) : 0.f;
    read_dot = sum_of_row(read_dot) * factor;
    if (a.grad_attention.data != nullptr) given_dot = sum_of_row(given_dot) * factor;
    float dz = 0;
    Gate<float> gate{1.f, 0.f};
    if (gated) {
      from_read = sum_of_row(from_read) * factor;
      gate = quick_gate(of_first(z) + from_read + bias);
      dz = (read_dot - sum_of_row(dot)) * gate.open * gate.closed;
      open_less_1 = gate.closed;
    }
    const float mean = gate.open * read_dot + dz * from_read + given_dot;
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j / 2 >= sixteens) continue;
      const float2 value_gate = *reinterpret_cast<const float2*>(packed.value_gate + 8 * j + 2 * t);
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float &x = s[j][2 * h + e], &y = q[j][2 * h + e];
        const float attention = x * factor;
        float da = dz * (e == 0 ? value_gate.x : value_gate.y) - mean;
        da += gate.open * y;
        if (given != nullptr) da += given_of(given, 8 * j + 2 * t + e);
        add_to_read_sum(j, e, attention * dz);
        x = attention * float(a.scale) * da;
        y = attention * gate.open;
      }
    }
    if (t == 0) {
      s[0][2 * h] = dz;
      add_to_read_sum(0, 0, dz);
    }
  }

  // 16 pixels of a tile times the slots.
  MEMGAN_DEVICE void multiply(float (&x)[2 * kSixteens][4], const Left& pixels, const S* slots, int c) const {
    MEMGAN_UNROLL
    for (int j = 0; j < kSixteens; ++j) {
      if (j >= sixteens) continue;
      Right of_slots;
      E::right(of_slots, slots, packed.row, 16 * j, c);
      MEMGAN_UNROLL
      for (int n = 0; n < 2; ++n) E::multiply(x[2 * j + n], pixels, of_slots, n);
    }
  }

  // ds and g a of the warp's pixels; the first of the block's is `first`.
  MEMGAN_DEVICE void attend(int first, int end) {
    const int m = 16 * warp;
    float s[2 * kSixteens][4] = {}, q[2 * kSixteens][4] = {}, dots[2][4] = {};  // dots: r . G of all pairs of pixels
    MEMGAN_NO_UNROLL
    for (int c = 0; c < channels; c += 16) {
      Left of_r, of_G;
      E::left(of_r, room.r, row, c, m);
      multiply(s, of_r, packed.keys, c);
      E::left(of_G, room.G, row, c, m);
      multiply(q, of_G, packed.values, c);
      if (!gated) continue;
      Right turned;
      E::right_turned(turned, room.r, row, m, c);
      MEMGAN_UNROLL
      for (int n = 0; n < 2; ++n) E::multiply(dots[n], of_G, turned, n);
    }
    float of_rows[2] = {};
    MEMGAN_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int t = lane % 4, g = lane / 4;
      const float dot = 2 * t == g ? dots[h][2 * h] : 2 * t + 1 == g ? dots[h][2 * h + 1] : 0.f;
      respond(s, q, h, dot, first + m + g + 8 * h, end, of_rows[h]);
    }
    of_columns(closed, of_rows);
    const int place = (m + lane / 4) * room.scores_row + lane % 4 * 2;
    MEMGAN_UNROLL
    for (int j = 0; j < kSixteens; ++j) {
      if (j >= sixteens) continue;
      Right& kept = ds[few_words ? j : 0];
      E::right_of(kept, s[2 * j], s[2 * j + 1]);
      E::store_right(room.ds + place + 16 * j, room.scores_row, kept);
      Right ga;
      E::right_of(ga, q[2 * j], q[2 * j + 1]);
      E::store_right(room.ga + place + 16 * j, room.scores_row, ga);
    }
  }

  // Adds the block's pixels to its sums. In memory they are `to`.
  MEMGAN_DEVICE void sum(float* to) {
    const int across = channels / 16;
    if constexpr (in_registers) {
      MEMGAN_UNROLL
      for (int k = 0; k < kPairs; ++k)
        if (warp + k * kWarps < 2 * across) sum_pair(sums[k], warp + k * kWarps, 0);
    } else {
      for (int unit = warp; unit < 2 * across * sixteens; unit += warps) {
        float found[1][2][4] = {};
        sum_pair(found, unit / sixteens, unit % sixteens);
        each(found[0], unit / sixteens, unit % sixteens, [&](int64_t i, float x) { to[i] += x; });
      }
    }
  }
  template <int kCount>
  MEMGAN_DEVICE void sum_pair(float (&x)[kCount][2][4], int pair, int sixteen) const {
    const int across = channels / 16;
    const bool slots = pair < across;
    const int c = (slots ? pair : pair - across) * 16;
    const S *factors = (slots ? room.ds : room.ga) + 16 * sixteen, *tile = slots ? room.r : room.G;
    MEMGAN_UNROLL_BY(2)
    for (int p = 0; p < 16 * warps; p += 16) {
      Right pixels;
      E::right(pixels, tile, row, c, p);
      MEMGAN_UNROLL
      for (int l = 0; l < kCount; ++l) {
        if (sixteen + l >= sixteens) continue;
        Left factor;
        E::left(factor, factors, room.scores_row, p, 16 * l);
        MEMGAN_UNROLL
        for (int n = 0; n < 2; ++n) E::multiply(x[l][n], factor, pixels, n);
      }
    }
  }
  // Calls `to` with the sums of 16 rows and 16 channels and their places among a chunk's partial sums.
  template <typename To>
  MEMGAN_DEVICE void each(const float (&x)[2][4], int pair, int sixteen, To&& to) const {
    const int across = channels / 16;
    const bool slots = pair < across;
    const int first = (slots ? pair : pair - across) * 16;
    MEMGAN_UNROLL
    for (int i = 0; i < 8; ++i) {
      const int l = 16 * sixteen + lane / 4 + i / 2 % 2 * 8, c = first + i / 4 * 8 + lane % 4 * 2 + i % 2;
      if (l >= packed.rows || c >= a.C || (l == 0 && !slots)) continue;
      const int word = l > 0 ? l - 1 : packed.count;  // the gate's row behind the words
      to((slots ? 0 : (a.L + 1) * a.C) + word * a.C + c, x[i / 4][i % 4]);
    }
  }

  // The warp's pixels of G → those of grad_r, where they lie.
  MEMGAN_DEVICE void grad() const {
    MEMGAN_NO_UNROLL
    for (int c = 0; c < channels; c += 16) {
      float o[2][4] = {};
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j) {
        if (j >= sixteens) continue;
        Left keys;
        E::left(keys, packed.keys, packed.row, 16 * j, c);
        Right again;
        if constexpr (!few_words) E::right(again, room.ds, room.scores_row, 16 * warp, 16 * j);
        MEMGAN_UNROLL
        for (int n = 0; n < 2; ++n) E::multiply(o[n], keys, few_words ? ds[j] : again, n);
      }
      respond_with<E>(o, closed, gated, room.G + (c + lane / 4) * row + 16 * warp + lane % 4 * 2, row);
    }
  }

  // Sums in registers → the chunk's, and those of dz a_l → one a warp.
  MEMGAN_DEVICE void finish(float* partial) const {
    if constexpr (in_registers) {
      MEMGAN_UNROLL
      for (int k = 0; k < kPairs; ++k) {
        const int pair = warp + k * kWarps;
        if (pair >= 2 * (channels / 16)) continue;
        MEMGAN_UNROLL
        for (int l = 0; l < kSixteens; ++l) each(sums[k][l], pair, l, [&](int64_t i, float x) { partial[i] = x; });
      }
    }
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float x;
        if constexpr (few_words) x = read_sum[j][e];
        else x = read_lane(j, e);
        MEMGAN_UNROLL
        for (int step = 4; step < kWarp; step *= 2) x += __shfl_xor_sync(kAllLanes, x, step);
        const int l = 8 * j + lane % 4 * 2 + e;
        if (lane < 4 && l < packed.rows) room.read_sums[warp * room.words + l] = x;
      }
    }
  }
};

// Blocks on a multiprocessor at least.
template <typename S>
constexpr int backward_blocks(int sixteens, int warps) {
  return sixteens == 2 && warps == 4 ? (sizeof(S) == 2 ? 4 : 3) : 1;
}

template <typename S, int kSixteens, int kWarps>
__global__ void __launch_bounds__(kWarps > 0 ? kWarps * kWarp : 4 * kWarp, backward_blocks<S>(kSixteens, kWarps))
    attend_backward_tensor(const __grid_constant__ BackwardArgs a) {
  const int warps = kWarps > 0 ? kWarps : int(blockDim.x) / kWarp, channels = int(a.C);
  TensorRoom<S> room(a, warps, int(threadIdx.x), shared_memory());
  const Chunk chunk(a);
  float* sums = a.shared_sums ? room.sums : chunk.partial;
  const Way r_way = way_of<S>(a.r, a.C), G_way = way_of<S>(a.grad_out, a.C), out_way = way_of<S>(a.grad_r, a.C);
  const auto load = [&](const Pixels& from, Way way, int first, S* tile) {
    if (first >= chunk.end) return;
    room.tile.load(from, way, chunk.b, first, chunk.end, channels, tile);
    commit_copies();
  };
  int first = chunk.begin;
  load(a.r, r_way, first, room.r);
  load(a.grad_out, G_way, first, room.G);
  if constexpr (kWarps == 0)
    for (int64_t i = int(threadIdx.x); i < partial_size(a); i += blockDim.x) sums[i] = 0;
  room.packed.pack(a, chunk.b);
  TensorBackward<S, kSixteens, kWarps> work(a, room, chunk.b);
  while (first < chunk.end) {
    wait_for_copies<0>();
    __syncthreads();  // tiles are there
    work.attend(first, chunk.end);
    __syncthreads();  // ds and g a of all warps are there
    work.sum(sums);
    __syncthreads();  // and read: r may be replaced, and G
    load(a.r, r_way, first + room.tile.pixels, room.r);
    work.grad();
    __syncthreads();  // grad_r lies where G was
    room.tile.store(a.grad_r, out_way, chunk.b, first, chunk.end, channels, room.G);
    first += room.tile.pixels;
    __syncthreads();  // and has been read
    load(a.grad_out, G_way, first, room.G);
  }
  work.finish(chunk.partial);
  __syncthreads();
  add_read_sums(a, room.read_sums, room.words, room.packed.count, 1, 0, sums);
  if (!a.shared_sums) return;
  __syncthreads();
  for (int64_t i = int(threadIdx.x); i < partial_size(a); i += blockDim.x) chunk.partial[i] = sums[i];
}

}  // namespace memgan::cuda
