// Read and respond, forward, for up to 256 channels and 128 words: each warp takes tiles of pixels on its own.
//
//   z = w_r . r + sum_l a_l (w_o . v_l) + b: w_r is one more row of the first product, w_o . v_l one number a word,
// and with g known before anything is read, r_new = sum_l (g a_l) v_l + (1 - g) r replaces r where it lies in the tile.
#pragma once

#include "attend_engine.h"
#include "attend_tile.h"

namespace memgan::cuda {

// Pixels of a tile: 128 bytes of a channel.
template <typename S>
constexpr int kTensorPixels = 128 / int(sizeof(S));
constexpr int kForwardThreads = 128;  // at most

// What a block of `forward` keeps in shared memory.
template <typename S, int kPixels, bool kLanes>
struct ForwardRoom {
  static constexpr int kUnit = kLanes ? 4 : 16;
  Room room;
  Packed<S, kUnit> packed;
  S* tiles;       // one a warp
  float* scores;  // [words and w_r][kPixels] a warp, where lanes own pixels
  MEMGAN_BOTH ForwardRoom(const AttendArgs& a, int warps, unsigned char* base)
      : room{base},
        packed(a, room),
        tiles(room.take<S>(warps * Tile<S, kPixels>::size(a.C))),
        scores(room.take<float>(kLanes ? warps * int64_t(up_to<kUnit>(a.L + 1)) * kPixels : 0)) {}
};

// One warp's walk over its tiles: load, `work` in place, store.
template <typename S, int kPixels, bool kLanes, typename Work>
MEMGAN_DEVICE void forward_tiles(const ForwardArgs& a, Work&& work) {
  const int warps = int(blockDim.x) / kWarp, warp = int(threadIdx.x) / kWarp;
  ForwardRoom<S, kPixels, kLanes> room(a, warps, shared_memory());
  const int64_t b = blockIdx.x / a.blocks;
  const int channels = int(a.C);
  const int64_t tiles = (a.N + kPixels - 1) / kPixels;
  S* tile = room.tiles + warp * Tile<S, kPixels>::size(a.C);
  const Way in = way_of<S>(a.r, a.C), out = way_of<S>(a.out, a.C);
  room.packed.pack(a, b);
  for (int64_t i = blockIdx.x % a.blocks * warps + warp; i < tiles; i += a.blocks * warps) {
    Tile<S, kPixels>::load(a.r, in, b, i * kPixels, a.N, channels, tile);
    commit_copies();
    wait_for_copies<0>();
    __syncwarp();
    work(room, b, i * kPixels, tile);
    __syncwarp();
    Tile<S, kPixels>::store(a.out, out, b, i * kPixels, a.N, channels, tile);
    __syncwarp();
  }
}

// ---- tensor cores. A warp works on 16 * kHeight pixels at once and holds their scores in registers: kSixteens * 16
// of words and w_r.

template <typename S, int kSixteens, int kHeight>
struct TensorForward {
  using E = Engine<S>;
  static constexpr int kPixels = kTensorPixels<S>;
  const ForwardArgs& a;
  const Packed<S, 16>& packed;
  S* tile;
  int64_t b, first;
  float bias;

  // Scores → g a_l; `closed` → 1 - g, of rows g and g + 8.
  MEMGAN_DEVICE void respond(float (&s)[2 * kSixteens][4], float (&closed)[2], int64_t p) const {
    const int t = int(threadIdx.x) % 4;
    const bool gated = a.gate_weight != nullptr;
    MEMGAN_UNROLL
    for (int h = 0; h < 2; ++h) {
      float largest = -INFINITY, z = 0, sum = 0, from_read = 0;
      MEMGAN_UNROLL
      for (int j = 0; j < 2 * kSixteens; ++j) {
        MEMGAN_UNROLL
        for (int e = 0; e < 2; ++e) {
          float& x = s[j][2 * h + e];
          const int row = 8 * j + 2 * t + e;
          if (row == packed.count) z = x;
          x *= float(a.scale);
          if (row < packed.count) largest = largest > x ? largest : x;
        }
      }
      largest = largest_of_row(largest);
      MEMGAN_UNROLL
      for (int j = 0; j < 2 * kSixteens; ++j) {
        MEMGAN_UNROLL
        for (int e = 0; e < 2; ++e) {
          float& x = s[j][2 * h + e];
          const int row = 8 * j + 2 * t + e;
          x = row < packed.count ? __expf(x - largest) : 0.f;
          sum += x;
          if (gated && row < packed.count) from_read += x * packed.value_gate[row];
        }
      }
      sum = sum_of_row(sum);
      float factor = packed.count > 0 ? 1.f / sum : 0.f;
      if (a.attention != nullptr) write_rows(s, h, factor, p + 8 * h);
      if (gated) {
        const Gate<float> gate = gate_of(sum_of_row(z + from_read * factor) + bias);
        closed[h] = gate.closed;
        factor *= gate.open;
      }
      MEMGAN_UNROLL
      for (int j = 0; j < 2 * kSixteens; ++j) {
        MEMGAN_UNROLL
        for (int e = 0; e < 2; ++e) s[j][2 * h + e] *= factor;
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
        const int row = 8 * j + lane % 4 * 2 + e;
        if (row < packed.count) to[packed.words[row] * a.N] = written<S>(s[j][2 * h + e] * factor);
      }
    }
  }
  MEMGAN_DEVICE void write_padding() const {
    const int lane = int(threadIdx.x) % kWarp;
    S* to = static_cast<S*>(a.attention) + b * a.L * a.N + first;
    int row = 0;
    for (int64_t l = 0; l < a.L; ++l) {
      if (row < packed.count && packed.words[row] == l) {
        ++row;
        continue;
      }
      for (int p = lane; p < kPixels && first + p < a.N; p += kWarp) to[l * a.N + p] = written<S>(0.f);
    }
  }

  MEMGAN_DEVICE void run(int m) const {
    const int lane = int(threadIdx.x) % kWarp, channels = up_to_16(a.C);
    const int sixteens = up_to_16(packed.rows) / 16, words = up_to_16(packed.count) / 16;
    constexpr int row = Tile<S, kPixels>::row;
    float s[kHeight][2 * kSixteens][4] = {};
    MEMGAN_NO_UNROLL
    for (int c = 0; c < channels; c += 16) {
      Left r[kHeight];
      MEMGAN_UNROLL
      for (int i = 0; i < kHeight; ++i) E::left(r[i], tile, row, c, m + 16 * i);
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j) {
        if (j >= sixteens) continue;
        Right k;
        E::right(k, packed.keys, packed.row, 16 * j, c);
        MEMGAN_UNROLL
        for (int i = 0; i < kHeight; ++i) {
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(s[i][2 * j + n], r[i], k, n);
        }
      }
    }
    float closed[kHeight][2][2];  // of pixels 8 n + 2t and 8 n + 2t + 1
    Right weights[kHeight][kSixteens];
    MEMGAN_UNROLL
    for (int i = 0; i < kHeight; ++i) {
      float of_rows[2] = {};
      respond(s[i], of_rows, first + m + 16 * i);
      MEMGAN_UNROLL
      for (int n = 0; n < 2; ++n) {
        MEMGAN_UNROLL
        for (int e = 0; e < 2; ++e) closed[i][n][e] = __shfl_sync(kAllLanes, of_rows[n], lane % 4 * 8 + e * 4);
      }
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j) E::right_of(weights[i][j], s[i][2 * j], s[i][2 * j + 1]);
    }
    __syncwarp();  // all have read r; from here on it is replaced
    MEMGAN_NO_UNROLL
    for (int d = 0; d < channels; d += 16) {
      float o[kHeight][2][4] = {};
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j) {
        if (j >= words) continue;
        Left v;
        E::left(v, packed.values, packed.row, 16 * j, d);
        MEMGAN_UNROLL
        for (int i = 0; i < kHeight; ++i) {
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(o[i][n], v, weights[i][j], n);
        }
      }
      MEMGAN_UNROLL
      for (int i = 0; i < kHeight; ++i) {
        MEMGAN_UNROLL
        for (int n = 0; n < 2; ++n) {
          MEMGAN_UNROLL
          for (int h = 0; h < 2; ++h) {
            S* at = tile + (d + lane / 4 + 8 * h) * row + m + 16 * i + 8 * n + lane % 4 * 2;
            float low = o[i][n][2 * h], high = o[i][n][2 * h + 1];
            if (a.gate_weight != nullptr) {
              const float2 r = E::load_pair(at);
              low += closed[i][n][0] * r.x;
              high += closed[i][n][1] * r.y;
            }
            E::store_pair(at, low, high);
          }
        }
      }
    }
  }
};

// Blocks on a multiprocessor at least: the registers of more scores leave room for fewer.
template <typename S, int kSixteens, int kHeight>
__global__ void __launch_bounds__(
    kForwardThreads, kSixteens == 2   ? 4
                     : kSixteens == 5 ? 3
                                      : 2) attend_forward_tensor(const __grid_constant__ ForwardArgs a) {
  constexpr int kPixels = kTensorPixels<S>;
  const float bias = a.gate_bias == nullptr ? 0.f : read(*static_cast<const S*>(a.gate_bias));
  forward_tiles<S, kPixels, false>(a, [&](const auto& room, int64_t b, int64_t first, S* tile) {
    const TensorForward<S, kSixteens, kHeight> warp{a, room.packed, tile, b, first, bias};
    if (a.attention != nullptr) warp.write_padding();
    MEMGAN_NO_UNROLL
    for (int m = 0; m < kPixels; m += 16 * kHeight) warp.run(m);
  });
}

}  // namespace memgan::cuda
