// Read and respond, forward, for up to 256 channels and 128 words: each warp takes tiles of pixels on its own.
//
//   z = w_r . r + sum_l a_l (w_o . v_l) + b: w_r is one more row of the first product, w_o . v_l one number a word,
// and with g known before anything is read, r_new = sum_l (g a_l) v_l + (1 - g) r replaces r where it lies in the tile.
// A block works on one image: its slots are packed while its warps' first tiles are under way.
#pragma once

#include "attend_float32.h"
#include "attend_tf32.h"

namespace memgan::cuda {

// Pixels of a tile: 128 bytes of a channel.
template <typename S>
constexpr int kWidePixels = 128 / int(sizeof(S));

// What a block keeps in shared memory.
template <typename E, int kPixels, typename M>
struct ForwardRoom {
  using S = typename E::Stored;
  Room room;
  Packed<E, M> packed;
  int64_t tile_size;
  S* tiles;  // one a warp
  MEMGAN_BOTH ForwardRoom(const AttendArgs& a, int warps, unsigned char* base)
      : room{base},
        packed(a, room),
        tile_size(Tile<S>(kPixels, 0, kWarp, M::channels(a)).size()),
        tiles(room.take<S>(warps * tile_size)) {}
};

// A warp works on 16 * kHeight pixels at once and holds their scores in registers: kSixteens * 16 of w_r and words.
template <typename E, int kSixteens, int kPixels, int kHeight, typename M>
struct TensorForward {
  using S = typename E::Stored;
  static constexpr int row = kPixels + kVector<S>;           // of a tile
  static constexpr int kAtOnce = E::exact ? 1 : M::kAtOnce;  // 16s of channels
  const ForwardArgs& a;
  const Packed<E, M>& packed;
  S* tile;
  int64_t b, first;
  float bias, scale;
  int sixteens;  // that there are

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
        low = power<E>(low - largest[i]);
        high = power<E>(high - largest[i]);
        sum[i] += low + high;
        from_read[i] += low * value_gate.x;
        from_read[i] += high * value_gate.y;
      }
    }
    sum_of_rows(sum);
    if (gated) sum_of_rows(from_read);
    MEMGAN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      float factor = packed.count > 0 ? reciprocal<E>(sum[i]) : 0.f;
      if (a.attention != nullptr) write_rows(s[i / 2], i % 2, factor, p + 8 * i);
      if (gated) {
        const Gate<float> gate = response_gate<E>(of_first(z[i]) + from_read[i] * factor + bias);
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
    MEMGAN_UNROLL_BY(kAtOnce)
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
    MEMGAN_UNROLL_BY(kAtOnce)
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
      for (int i = 0; i < kHeight; ++i) respond_with(o[i], closed[i], a.gate_weight != nullptr, at + 16 * i, row);
    }
  }
};

// Warps on a multiprocessor at most: the registers of more scores leave room for fewer.
template <typename E>
constexpr int forward_warps(int sixteens) {
  return sixteens <= (E::exact ? 2 : 5) ? 16 : 8;
}

template <typename E, int kSixteens, int kPixels, int kHeight, typename M = Any>
__global__ void __launch_bounds__(forward_warps<E>(kSixteens) * kWarp, 1)
    attend_forward_tensor(const __grid_constant__ ForwardArgs a) {
  using S = typename E::Stored;
  const int warps = int(blockDim.x) / kWarp, warp = int(threadIdx.x) / kWarp, channels = int(a.C);
  const ForwardRoom<E, kPixels, M> room(a, warps, shared_memory());
  const int64_t b = blockIdx.x / a.blocks, stride = a.blocks * warps, tiles = (a.N + kPixels - 1) / kPixels;
  const Tile<S> own(kPixels, int(threadIdx.x) % kWarp, kWarp, M::channels(a));
  S* tile = room.tiles + warp * room.tile_size;
  const Way in = way_of<S>(a.r, a.C), out = way_of<S>(a.out, a.C);
  const auto load = [&](int64_t i) {
    if (i < tiles) own.load(a.r, in, b, i * kPixels, a.N, channels, tile);
  };
  const float bias = a.gate_bias == nullptr ? 0.f : read(*static_cast<const S*>(a.gate_bias));
  int64_t i = blockIdx.x % a.blocks * warps + warp;
  Packed<E, M> packed = room.packed;
  packed.pack(a, b, [&] { load(i); });
  for (; i < tiles; i += stride) {
    wait_for_copies<0>();
    __syncwarp();  // the tile is there
    const TensorForward<E, kSixteens, kPixels, kHeight, M> work{
        a, packed, tile, b, i * kPixels, bias, scale_of<E>(a.scale), up_to_16(packed.rows) / 16};
    if (a.attention != nullptr) work.write_padding();
    MEMGAN_NO_UNROLL
    for (int m = 0; m < kPixels; m += 16 * kHeight) work.run(m);
    __syncwarp();
    own.store(a.out, out, b, i * kPixels, a.N, channels, tile);
    __syncwarp();
    load(i + stride);
    commit_copies();
  }
  wait_for_copies<0>();
}

}  // namespace memgan::cuda
