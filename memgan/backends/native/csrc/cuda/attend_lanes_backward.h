// Read and respond, backward, in float32 of full precision: a lane owns pixels of its warp's tile, and for the sums
// over pixels a thread owns 4 words by 4 channels.
#pragma once

#include "attend_backward.h"
#include "attend_lanes.h"

namespace memgan::cuda {

// Of a block, in shared memory. Scores are [word][pixel].
template <int kPixels>
struct LanesRoom {
  Room room;
  Packed<float, 4> packed;
  int64_t tile_size, scores_size, words;
  float *r, *G, *ds, *ga;  // one of each a warp
  float* closed;           // [kPixels] a warp: 1 - g
  float* read_lanes;       // [words][32] a warp: sums of dz a_l, and of dz behind the words, by lane
  float* read_sums;        // [words] a warp
  float* sums;             // as a chunk's partial sums, if they are kept here

  MEMGAN_BOTH LanesRoom(const BackwardArgs& a, int warps, unsigned char* base)
      : room{base},
        packed(a, room),
        tile_size(Tile<float>(kPixels, 0, kWarp, up_to_16(a.C)).size()),
        scores_size(int64_t(up_to<4>(a.L + 1)) * kPixels),
        words(up_to<4>(a.L + 1)),
        r(room.take<float>(warps * tile_size)),
        G(room.take<float>(warps * tile_size)),
        ds(room.take<float>(warps * scores_size)),
        ga(room.take<float>(warps * scores_size)),
        closed(room.take<float>(warps * kPixels)),
        read_lanes(room.take<float>(warps * words * kWarp)),
        read_sums(room.take<float>(warps * words)),
        sums(room.take<float>(a.shared_sums ? partial_size(a) : 0)) {}
};

template <int kOwn>
struct LanesBackward {
  static constexpr int kPixels = kOwn * kWarp, row = kPixels + kVector<float>;
  using Room = LanesRoom<kPixels>;
  const BackwardArgs& a;
  const Room& room;
  const Packed<float, 4>& packed;
  const int64_t b;
  const int warp, lane, warps, channels;
  const bool gated;
  const float bias;

  MEMGAN_DEVICE LanesBackward(const BackwardArgs& args, const Room& given, int64_t image)
      : a(args),
        room(given),
        packed(given.packed),
        b(image),
        warp(int(threadIdx.x) / kWarp),
        lane(int(threadIdx.x) % kWarp),
        warps(int(blockDim.x) / kWarp),
        channels(up_to_16(args.C)),
        gated(args.gate_weight != nullptr),
        bias(gated ? *static_cast<const float*>(args.gate_bias) : 0.f) {
    for (int l = 0; l < packed.rows; ++l) read_lane(l) = 0;
  }

  MEMGAN_DEVICE float& read_lane(int l) const { return room.read_lanes[(warp * room.words + l) * kWarp + lane]; }

  // One pixel's columns: scores → ds, and dz behind them; P → g a.
  MEMGAN_DEVICE void respond(float* s, float* q, float dot, int p, int end, float& closed) const {
    const bool asked = a.grad_attention.data != nullptr && p < end;
    const float* given =
        static_cast<const float*>(a.grad_attention.data) + b * a.grad_attention.batch + p * a.grad_attention.pixel;
    const auto given_of = [&](int l) { return given[packed.words[l] * a.grad_attention.row]; };
    const float z = s[packed.count * kPixels], factor = softmax_of_column(s, kPixels, packed.count, float(a.scale));
    float read_dot = 0, from_read = 0, given_dot = 0;
    for (int l = 0; l < packed.count; ++l) {
      const float attention = s[l * kPixels] * factor;
      s[l * kPixels] = attention;
      read_dot += attention * q[l * kPixels];
      if (gated) from_read += attention * packed.value_gate[l];
      if (asked) given_dot += attention * given_of(l);
    }
    float dz = 0;
    Gate<float> gate{1.f, 0.f};
    if (gated) {
      gate = gate_of(z + from_read + bias);
      dz = (read_dot - dot) * gate.open * gate.closed;
      s[packed.count * kPixels] = dz;
      read_lane(packed.count) += dz;
    }
    closed = gate.closed;
    const float mean = gate.open * read_dot + dz * from_read + given_dot;
    for (int l = 0; l < packed.count; ++l) {
      const float attention = s[l * kPixels];
      float da = gate.open * q[l * kPixels];
      if (gated) {
        da += dz * packed.value_gate[l];
        read_lane(l) += attention * dz;
      }
      if (asked) da += given_of(l);
      s[l * kPixels] = attention * (da - mean) * float(a.scale);
      q[l * kPixels] = attention * gate.open;
    }
  }

  MEMGAN_DEVICE void attend(const float* r, const float* G, int first, int end) {
    float *s = room.ds + warp * room.scores_size + lane, *q = room.ga + warp * room.scores_size + lane;
    products_of<kOwn>(packed.keys, packed.rows, packed.row, r + lane, row, channels, s, kPixels);
    products_of<kOwn>(packed.values, packed.count, packed.row, G + lane, row, channels, q, kPixels);
    float dot[kOwn] = {};
    if (gated)
      for (int c = 0; c < channels; ++c) {
        MEMGAN_UNROLL
        for (int i = 0; i < kOwn; ++i) dot[i] += r[c * row + lane + i * kWarp] * G[c * row + lane + i * kWarp];
      }
    MEMGAN_UNROLL
    for (int i = 0; i < kOwn; ++i)
      respond(
          s + i * kWarp, q + i * kWarp, dot[i], first + lane + i * kWarp, end,
          room.closed[warp * kPixels + lane + i * kWarp]);
  }

  // Adds the block's pixels to its sums. A thread's channels lie a quarter of all apart: its neighbours in the warp
  // then read other banks.
  MEMGAN_DEVICE void sum(float* sums) const {
    const int quarter = channels / 4, of_slots = (packed.rows + 3) / 4 * quarter;
    const int units = of_slots + (packed.count + 3) / 4 * quarter;
    MEMGAN_NO_UNROLL
    for (int unit = int(threadIdx.x); unit < units; unit += int(blockDim.x)) {
      const bool slots = unit < of_slots;
      const int place = slots ? unit : unit - of_slots, l = place / quarter * 4, c = place % quarter;
      const float *factors = (slots ? room.ds : room.ga) + l * kPixels, *tiles = (slots ? room.r : room.G) + c * row;
      float x[4][4] = {};
      for (int w = 0; w < warps; ++w) {
        const float *factor = factors + w * room.scores_size, *tile = tiles + w * room.tile_size;
        MEMGAN_NO_UNROLL
        for (int p = 0; p < kPixels; p += 4) {
          float4 in[4];
          MEMGAN_UNROLL
          for (int k = 0; k < 4; ++k) in[k] = *reinterpret_cast<const float4*>(tile + k * quarter * row + p);
          MEMGAN_UNROLL
          for (int i = 0; i < 4; ++i) {
            const float4 f = *reinterpret_cast<const float4*>(factor + i * kPixels + p);
            MEMGAN_UNROLL
            for (int k = 0; k < 4; ++k) {
              x[i][k] += f.x * in[k].x;
              x[i][k] += f.y * in[k].y;
              x[i][k] += f.z * in[k].z;
              x[i][k] += f.w * in[k].w;
            }
          }
        }
      }
      float* to = slots ? sums : sums + (a.L + 1) * a.C;
      const int limit = slots ? packed.rows : packed.count;
      MEMGAN_UNROLL
      for (int i = 0; i < 4; ++i) {
        MEMGAN_UNROLL
        for (int k = 0; k < 4; ++k)
          if (l + i < limit && c + k * quarter < a.C) to[(l + i) * a.C + c + k * quarter] += x[i][k];
      }
    }
  }

  // G → grad_r, where it lies.
  MEMGAN_DEVICE void grad(float* G) const {
    const float* ds = room.ds + warp * room.scores_size + lane;
    float closed[kOwn];
    MEMGAN_UNROLL
    for (int i = 0; i < kOwn; ++i) closed[i] = room.closed[warp * kPixels + lane + i * kWarp];
    for (int c = 0; c < channels; c += 16)
      combine_rows<kOwn>(packed.keys + c, packed.rows, packed.row, ds, kPixels, closed, gated, G + c * row + lane, row);
  }

  MEMGAN_DEVICE void read_sums() const {
    for (int l = 0; l < packed.rows; ++l) {
      const float x = sum_of_warp(read_lane(l));
      if (lane == 0) room.read_sums[warp * room.words + l] = x;
    }
  }
};

// The block's walk over its chunk, a tile a warp at a time.
template <int kOwn>
__global__ void __launch_bounds__(kBackwardThreads, 1) attend_backward_lanes(const __grid_constant__ BackwardArgs a) {
  constexpr int kPixels = kOwn * kWarp;
  const int warps = int(blockDim.x) / kWarp, warp = int(threadIdx.x) / kWarp, thread = int(threadIdx.x);
  LanesRoom<kPixels> room(a, warps, shared_memory());
  const Chunk chunk(a);
  const int64_t size = partial_size(a);
  float* sums = a.shared_sums ? room.sums : chunk.partial;
  const Way r_way = way_of<float>(a.r, a.C), G_way = way_of<float>(a.grad_out, a.C);
  const Way out_way = way_of<float>(a.grad_r, a.C);
  const int channels = int(a.C), stride = warps * kPixels;
  const Tile<float> own(kPixels, thread % kWarp, kWarp, up_to_16(a.C));
  float *r = room.r + warp * room.tile_size, *G = room.G + warp * room.tile_size;
  int first = chunk.begin + warp * kPixels;
  own.load(a.r, r_way, chunk.b, first, chunk.end, channels, r);
  for (int64_t i = thread; i < size; i += blockDim.x) sums[i] = 0;
  room.packed.pack(a, chunk.b);
  LanesBackward<kOwn> work(a, room, chunk.b);
  for (; first - warp * kPixels < chunk.end; first += stride) {
    own.load(a.grad_out, G_way, chunk.b, first, chunk.end, channels, G);
    commit_copies();
    wait_for_copies<0>();
    __syncwarp();
    work.attend(r, G, first, chunk.end);
    __syncthreads();  // ds and g a of all warps are there
    work.sum(sums);
    __syncthreads();  // and read: tiles of r and of G may be replaced, that of r while grad_r is worked out
    own.load(a.r, r_way, chunk.b, first + stride, chunk.end, channels, r);
    work.grad(G);
    __syncwarp();
    own.store(a.grad_r, out_way, chunk.b, first, chunk.end, channels, G);
    __syncwarp();
  }

  commit_copies();  // the tile of r behind the last
  wait_for_copies<0>();
  work.read_sums();
  __syncthreads();
  add_read_sums(a, room.read_sums, warps, int(room.words), room.packed.count, 0, room.packed.count, sums);
  if (!a.shared_sums) return;
  __syncthreads();
  for (int64_t i = thread; i < size; i += blockDim.x) chunk.partial[i] = sums[i];
}

}  // namespace memgan::cuda
