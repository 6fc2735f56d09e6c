// Read and respond, backward, on tensor cores: what the warps of a block do with its pixels. A group is 16 of them; the
// warp that attends to it holds their scores in registers.
#pragma once

#include "attend_tensor_scores.h"

namespace memgan::cuda {

// Of a block, in shared memory. Tiles are [channel][pixel], scores [pixel][row of slots].
template <typename E, typename M>
struct TensorRoom {
  using S = typename E::Stored;
  Room room;
  Packed<E, M> packed;
  Tile<S> tile;
  int words, scores_row;  // rows of slots, up to 16; numbers from a pixel's scores to the next's
  int64_t tile_size;
  S *r, *G;  // G: one tile a buffer
  typename E::template ScoresOf<M> ds, ga;
  float* closed;      // of each pixel: 1 - g
  float* read_sums;   // [words] a group: dz in the gate's row
  float* read_lanes;  // [words / 4][32] a group: sums of dz a_l by lane, where they are not in registers
  float* sums;        // as a chunk's partial sums, if they are kept here

  MEMGAN_BOTH static int64_t read_lanes_of(int64_t L) { return L + 1 <= 32 ? 0 : L + 1 <= 80 ? 20 : 36; }
  MEMGAN_BOTH TensorRoom(const BackwardArgs& a, int groups, int buffers, int thread, int threads, unsigned char* base)
      : room{base},
        packed(a, room),
        tile(16 * groups, thread, threads, M::channels(a)),
        words(int(M::rows(a))),
        scores_row(words + E::template ScoresOf<M>::pad),
        tile_size(tile.size()),
        r(room.take<S>(tile_size)),
        G(room.take<S>(buffers * tile_size)),
        ds(room, 16 * groups * scores_row),
        ga(room, 16 * groups * scores_row),
        closed(room.take<float>(16 * groups)),
        read_sums(room.take<float>(groups * words)),
        read_lanes(room.take<float>(groups * read_lanes_of(a.L) * kWarp)),
        sums(room.take<float>(a.shared_sums ? partial_size(a) : 0)) {}
};

// A block's sums over its pixels are in registers where each warp has at most two pairs: a pair is 16 channels of r, or
// of G, and its sums are those of all rows of slots.
constexpr int kPairs = 2;

// kWarps 0: any number of warps, each with a group, and sums in memory.
template <int kSixteens, int kWarps>
using MostOfBlock = std::conditional_t<(kWarps > 0), Most<16 * kSixteens, 16 * kWarps>, Any>;

template <typename E, int kSixteens, int kWarps, int kGroups>
struct TensorBackward : TensorScores<E, kSixteens, MostOfBlock<kSixteens, kWarps>> {
  using S = typename E::Stored;
  using M = MostOfBlock<kSixteens, kWarps>;
  using Scores = TensorScores<E, kSixteens, M>;
  using Scores::a;
  using Scores::gated;
  using Scores::lane;
  using Scores::packed;
  using Scores::sixteens;
  using Left = typename E::Left;
  using Right = typename E::Right;
  static constexpr bool in_registers = kWarps > 0;
  // Whether sums of dz a_l over rows g and g + 8 of all tiles are in registers too, and ds of the warp's group.
  static constexpr bool few_words = kSixteens == 2;
  static constexpr bool keeps_ds = few_words && kWarps == kGroups;
  // 16s of channels that are attended to at once, as many as there are registers for.
  static constexpr int of_few_words = sizeof(S) == 4 && kWarps == 4 ? 4 : M::kAtOnce;
  static constexpr int kAtOnce = few_words ? of_few_words : E::exact ? 1 : M::kAtOnce;
  const TensorRoom<E, M>& room;
  const int warp, warps, groups, row, scores_row, channels;
  float read_sum[few_words ? 2 * kSixteens : 1][2] = {};
  float sums[in_registers ? kPairs : 1][in_registers ? kSixteens : 1][2][4] = {};
  Right ds[keeps_ds ? kSixteens : 1];

  MEMGAN_DEVICE TensorBackward(const BackwardArgs& args, const TensorRoom<E, M>& given, int64_t image)
      : Scores(args, given.packed, image),
        room(given),
        warp(int(threadIdx.x) / kWarp),
        warps(in_registers ? kWarps : int(blockDim.x) / kWarp),
        groups(in_registers ? kGroups : warps),
        row(16 * groups + kVector<S>),
        scores_row(in_registers ? 16 * kSixteens + decltype(given.ds)::pad : given.scores_row),
        channels(M::channels(args)) {
    if constexpr (!few_words)
      for (int i = 0; i < 4 * kSixteens && warp < groups; ++i) read_lane(i / 2, i % 2) = 0;
  }

  MEMGAN_DEVICE float& read_lane(int j, int e) const {
    return room.read_lanes[((warp * 2 * kSixteens + j) * 2 + e) * kWarp + lane];
  }
  MEMGAN_DEVICE void add_to_read_sum(int j, int e, float x) {
    if constexpr (few_words) read_sum[j][e] += x;
    else read_lane(j, e) += x;
  }

  // 16 pixels of a tile times the slots.
  template <typename Held>
  MEMGAN_DEVICE void multiply(float (&x)[2 * kSixteens][4], const Left& pixels, const Held& slots, int c) const {
    MEMGAN_UNROLL
    for (int j = 0; j < kSixteens; ++j) {
      if (j >= sixteens) continue;
      Right of_slots;
      E::right(of_slots, slots, packed.row, 16 * j, c);
      MEMGAN_UNROLL
      for (int n = 0; n < 2; ++n) E::multiply(x[2 * j + n], pixels, of_slots, n);
    }
  }

  // ds and g a of the warp's group; the first of the block's pixels is `first`.
  MEMGAN_DEVICE void attend(const S* G, int first, int end) {
    if (warp >= groups) return;
    const int m = 16 * warp, t = lane % 4, g = lane / 4;
    float s[2 * kSixteens][4] = {}, q[2 * kSixteens][4] = {}, dot[2];
    typename E::Dots dots;
    MEMGAN_UNROLL_BY(kAtOnce)
    for (int c = 0; c < channels; c += 16) {
      Left of_r, of_G;
      E::left(of_r, room.r, row, c, m);
      multiply(s, of_r, packed.keys, c);
      E::left(of_G, G, row, c, m);
      multiply(q, of_G, packed.values, c);
      if (gated) dots.add(of_r, of_G, room.r, row, m, c);
    }
    dots.read(dot);
    const auto add = [&](int j, int e, float x) { add_to_read_sum(j, e, x); };
    Scores::respond(s, q, dot, first + m + g, end, room.closed + m + g, add);
    const int place = (m + g) * scores_row + 2 * t;
    MEMGAN_UNROLL
    for (int j = 0; j < kSixteens; ++j) {
      if (j >= sixteens) continue;
      if constexpr (keeps_ds) E::right_of(ds[j], s[2 * j], s[2 * j + 1]);
      E::store_scores(room.ds, place + 16 * j, scores_row, s[2 * j], s[2 * j + 1]);
      E::store_scores(room.ga, place + 16 * j, scores_row, q[2 * j], q[2 * j + 1]);
    }
  }

  // Adds the block's pixels to its sums. In memory they are `to`.
  MEMGAN_DEVICE void sum(const S* G, float* to) {
    const int pairs = 2 * (channels / 16);
    if constexpr (in_registers) {
      MEMGAN_UNROLL
      for (int k = 0; k < kPairs; ++k)
        if (warp + k * kWarps < pairs) sum_pair(sums[k], G, warp + k * kWarps, 0);
    } else {
      for (int unit = warp; unit < pairs * sixteens; unit += warps) {
        float found[1][2][4] = {};
        sum_pair(found, G, unit / sixteens, unit % sixteens);
        each(found[0], unit / sixteens, unit % sixteens, [&](int64_t i, float x) { to[i] += x; });
      }
    }
  }
  template <int kCount>
  MEMGAN_DEVICE void sum_pair(float (&x)[kCount][2][4], const S* G, int pair, int sixteen) const {
    const int across = channels / 16;
    const bool slots = pair < across;
    const int c = (slots ? pair : pair - across) * 16;
    const auto factors = slots ? room.ds : room.ga;
    const S* tile = slots ? room.r : G;
    MEMGAN_UNROLL_BY(2)
    for (int p = 0; p < 16 * groups; p += 16) {
      Right pixels;
      E::right(pixels, tile, row, c, p);
      MEMGAN_UNROLL
      for (int l = 0; l < kCount; ++l) {
        if (sixteen + l >= sixteens) continue;
        Left factor;
        E::left(factor, factors, scores_row, p, 16 * (sixteen + l));
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

  // A group's pixels of G → those of grad_r, where they lie; several warps may share a group's channels.
  MEMGAN_DEVICE void grad(S* G) const {
    const int m = warp % groups * 16;
    MEMGAN_NO_UNROLL
    for (int c = warp / groups * 16; c < channels; c += warps / groups * 16) {
      float o[2][4] = {};
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j) {
        if (j >= sixteens) continue;
        Left keys;
        E::left(keys, packed.keys, packed.row, 16 * j, c);
        Right again;
        if constexpr (!keeps_ds) E::right(again, room.ds, scores_row, m, 16 * j);
        MEMGAN_UNROLL
        for (int n = 0; n < 2; ++n) E::multiply(o[n], keys, keeps_ds ? ds[j] : again, n);
      }
      float closed[2][2] = {};  // of pixels 8 n + 2t and 8 n + 2t + 1
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i)
        if (gated) closed[i / 2][i % 2] = room.closed[m + i / 2 * 8 + lane % 4 * 2 + i % 2];
      respond_with(o, closed, gated, G + (c + lane / 4) * row + m + lane % 4 * 2, row);
    }
  }

  // Sums in registers → the chunk's, and those of dz a_l → one a group.
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
    if (warp >= groups) return;
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

}  // namespace memgan::cuda
