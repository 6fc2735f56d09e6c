// Read and respond, forward, for up to 256 channels and 128 words: each warp takes tiles of pixels on its own.
//
//   z = w_r . r + sum_l a_l (w_o . v_l) + b: w_r is one more row of the first product, w_o . v_l one number a word,
// and with g known before anything is read, r_new = sum_l (g a_l) v_l + (1 - g) r replaces r where it lies in the tile.
// A block works on one image: its slots are packed while its warps' first tiles are under way.
#pragma once

#include "attend_engine.h"
#include "attend_tile.h"

namespace memgan::cuda {

// Pixels of a tile: 128 bytes of a channel.
template <typename S>
constexpr int kTensorPixels = 128 / int(sizeof(S));
constexpr int kForwardThreads = 128;  // at most, where lanes own pixels

// What a block of `forward` keeps in shared memory.
template <typename S, int kPixels, bool kLanes, typename M = Any>
struct ForwardRoom {
  static constexpr int kUnit = kLanes ? 4 : 16;
  Room room;
  Packed<S, kUnit, M> packed;
  int64_t tile_size;
  S* tiles;       // one a warp
  float* scores;  // [words and w_r][kPixels] a warp, where lanes own pixels
  MEMGAN_BOTH ForwardRoom(const AttendArgs& a, int warps, unsigned char* base)
      : room{base},
        packed(a, room),
        tile_size(Tile<S>(kPixels, 0, kWarp, M::channels(a)).size()),
        tiles(room.take<S>(warps * tile_size)),
        scores(room.take<float>(kLanes ? warps * int64_t(up_to<kUnit>(a.L + 1)) * kPixels : 0)) {}
};

// One warp's walk over its tiles: load, `work` in place, store.
template <typename S, int kPixels, bool kLanes, typename M, typename Work>
MEMGAN_DEVICE void forward_tiles(const ForwardArgs& a, Work&& work) {
  const int warps = int(blockDim.x) / kWarp, warp = int(threadIdx.x) / kWarp;
  ForwardRoom<S, kPixels, kLanes, M> room(a, warps, shared_memory());
  const int64_t b = blockIdx.x / a.blocks, stride = a.blocks * warps;
  const int channels = int(a.C);
  const int64_t tiles = (a.N + kPixels - 1) / kPixels;
  const Tile<S> own(kPixels, int(threadIdx.x) % kWarp, kWarp, M::channels(a));
  S* tile = room.tiles + warp * room.tile_size;
  const Way in = way_of<S>(a.r, a.C), out = way_of<S>(a.out, a.C);
  const auto load = [&](int64_t i) {
    if (i < tiles) own.load(a.r, in, b, i * kPixels, a.N, channels, tile);
    commit_copies();
  };
  int64_t i = blockIdx.x % a.blocks * warps + warp;
  load(i);
  room.packed.pack(a, b);
  for (; i < tiles; i += stride) {
    wait_for_copies<0>();  // the tile
    __syncwarp();
    work(room, b, i * kPixels, tile);
    __syncwarp();
    own.store(a.out, out, b, i * kPixels, a.N, channels, tile);
    __syncwarp();
    load(i + stride);
  }
  wait_for_copies<0>();
}

// ---- tensor cores. A warp works on 16 * kHeight pixels at once and holds their scores in registers: kSixteens * 16
// of w_r and words.

template <typename S, int kSixteens, int kPixels, int kHeight, typename M>
struct TensorForward {
  using E = Engine<S>;
  static constexpr int row = kPixels + kVector<S>;  // of a tile
  const ForwardArgs& a;
  const Packed<S, 16, M>& packed;
  S* tile;
  int64_t b, first;
  float bias, scale;  // of exponents of two
  int sixteens;       // that there are

  // Scores → g a_l; `closed` → 1 - g, of rows g and g + 8 of each 16. All rows at once: their sums over lanes do not
  // wait for each other.
  MEMGAN_DEVICE void respond(float (&s)[kHeight][2 * kSixteens][4], float (&closed)[kHeight][2], int64_t p) const {
    constexpr int kRows = 2 * kHeight;  // of a lane
    const int t = int(threadIdx.x) % 4;
    const bool gated = a.gate_weight != nullptr;
    float z[kRows], largest[kRows], sum[kRows] = {}, from_read[kRows] = {};
    MEMGAN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      float& of_gate = s[i / 2][0][i % 2 * 2];  // where t is 0
      z[i] = of_gate;
      if (t == 0) of_gate = 0;
      largest[i] = kLowest;
    }
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j / 2 >= sixteens) continue;
      const float2 masked = *reinterpret_cast<const float2*>(packed.masked + 8 * j + 2 * t);
      MEMGAN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        float &low = s[i / 2][j][i % 2 * 2], &high = s[i / 2][j][i % 2 * 2 + 1];
        scale_scores(low, high, scale, masked, largest[i]);
      }
    }
    largest_of_rows(largest);
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      if (j / 2 >= sixteens) continue;
      const float2 value_gate = *reinterpret_cast<const float2*>(packed.value_gate + 8 * j + 2 * t);
      MEMGAN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        float &low = s[i / 2][j][i % 2 * 2], &high = s[i / 2][j][i % 2 * 2 + 1];
        low = quick_exp2(low - largest[i]);
        high = quick_exp2(high - largest[i]);
        sum[i] += low + high;
        from_read[i] += low * value_gate.x;
        from_read[i] += high * value_gate.y;
      }
    }
    sum_of_rows(sum);
    if (gated) sum_of_rows(from_read);
    MEMGAN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      float factor = packed.count > 0 ? quick_reciprocal(sum[i]) : 0.f;
      if (a.attention != nullptr) write_rows(s[i / 2], i % 2, factor, p + 8 * i);
      if (gated) {
        const Gate<float> gate = quick_gate(of_first(z[i]) + from_read[i] * factor + bias);
        closed[i / 2][i % 2] = gate.closed;
        factor *= gate.open;
      }
      MEMGAN_UNROLL
      for (int j = 0; j < 2 * kSixteens; ++j) {
        s[i / 2][j][i % 2 * 2] *= factor;
        s[i / 2][j][i % 2 * 2 + 1] *= factor;
      }
    }
  }

  // Attention of pixel p + g, for the real words; each lane its own.
  MEMGAN_DEVICE void write_rows(const float (&s)[2 * kSixteens][4], int h, float factor, int64_t p) const {
    const int lane = int(threadIdx.x) % kWarp;
    if (p + lane / 4 >= a.N) return;
    S* to = static_cast<S*>(a.attention) + b * a.L * a.N + p + lane / 4;
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j) {
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int l = 8 * j + lane % 4 * 2 + e;
        if (l > 0 && l < packed.rows) to[packed.words[l - 1] * a.N] = written<S>(s[j][2 * h + e] * factor);
      }
    }
  }
  MEMGAN_DEVICE void write_padding() const {
    const int lane = int(threadIdx.x) % kWarp;
    S* to = static_cast<S*>(a.attention) + b * a.L * a.N + first;
    int word = 0;
    for (int64_t l = 0; l < a.L; ++l) {
      if (word < packed.count && packed.words[word] == l) {
        ++word;
        continue;
      }
      for (int p = lane; p < kPixels && first + p < a.N; p += kWarp) to[l * a.N + p] = written<S>(0.f);
    }
  }

  MEMGAN_DEVICE void run(int m) const {
    const int lane = int(threadIdx.x) % kWarp, channels = M::channels(a);
    float s[kHeight][2 * kSixteens][4] = {};
    MEMGAN_UNROLL_BY(M::kAtOnce)
    for (int c = 0; c < channels; c += 16) {
      typename E::Left r[kHeight];
      MEMGAN_UNROLL
      for (int i = 0; i < kHeight; ++i) E::left(r[i], tile, row, c, m + 16 * i);
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j) {
        if (j >= sixteens) continue;
        typename E::Right k;
        E::right(k, packed.keys, packed.row, 16 * j, c);
        MEMGAN_UNROLL
        for (int i = 0; i < kHeight; ++i) {
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(s[i][2 * j + n], r[i], k, n);
        }
      }
    }
    float closed[kHeight][2][2];  // of pixels 8 n + 2t and 8 n + 2t + 1
    typename E::Right weights[kHeight][kSixteens];
    float of_rows[kHeight][2] = {};
    respond(s, of_rows, first + m);
    MEMGAN_UNROLL
    for (int i = 0; i < kHeight; ++i) {
      of_columns(closed[i], of_rows[i]);
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j) E::right_of(weights[i][j], s[i][2 * j], s[i][2 * j + 1]);
    }
    __syncwarp();  // all have read r; from here on it is replaced
    MEMGAN_UNROLL_BY(M::kAtOnce)
    for (int d = 0; d < channels; d += 16) {
      float o[kHeight][2][4] = {};
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j) {
        if (j >= sixteens) continue;
        typename E::Left v;
        E::left(v, packed.values, packed.row, 16 * j, d);
        MEMGAN_UNROLL
        for (int i = 0; i < kHeight; ++i) {
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(o[i][n], v, weights[i][j], n);
        }
      }
      S* at = tile + (d + lane / 4) * row + m + lane % 4 * 2;
      MEMGAN_UNROLL
      for (int i = 0; i < kHeight; ++i) respond_with<E>(o[i], closed[i], a.gate_weight != nullptr, at + 16 * i, row);
    }
  }
};

// Warps on a multiprocessor at most: the registers of more scores leave room for fewer.
constexpr int forward_warps(int sixteens) { return sixteens <= 5 ? 16 : 8; }

template <typename S, int kSixteens, int kPixels, int kHeight, typename M = Any>
__global__ void __launch_bounds__(forward_warps(kSixteens) * kWarp, 1)
    attend_forward_tensor(const __grid_constant__ ForwardArgs a) {
  const float bias = a.gate_bias == nullptr ? 0.f : read(*static_cast<const S*>(a.gate_bias));
  const float scale = float(a.scale * kLog2e);
  forward_tiles<S, kPixels, false, M>(a, [&](const auto& room, int64_t b, int64_t first, S* tile) {
    const int sixteens = up_to_16(room.packed.rows) / 16;
    const TensorForward<S, kSixteens, kPixels, kHeight, M> warp{a, room.packed, tile, b, first, bias, scale, sixteens};
    if (a.attention != nullptr) warp.write_padding();
    MEMGAN_NO_UNROLL
    for (int m = 0; m < kPixels; m += 16 * kHeight) warp.run(m);
  });
}

}  // namespace memgan::cuda
