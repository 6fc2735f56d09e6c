// Read and respond, backward, for up to 256 channels and 128 words: one block a chunk of an image's pixels.
//
// With G the gradient of the result and P_l = G . v_l, what was read is never formed: G . o = sum_l a_l P_l. So
//   dz   = (G . o - G . r) g (1 - g)                              the gate's logit
//   da_l = g P_l + dz (w_o . v_l) + grad_attention_l              ds_l = scale a_l (da_l - sum_m a_m da_m)
//   grad_r = (1 - g) G + dz w_r + sum_l ds_l k_l                  w_r one more row of the keys, dz of ds
//   grad_k_l = sum_p ds_l r     grad_v_l = sum_p (g a_l) G + w_o sum_p dz a_l
//   grad_w_r = sum_p dz r       grad_w_o = sum_l (sum_p dz a_l) v_l
// Each warp works out ds and g a of its own tile; then the whole block sums over all its tiles, each warp other words
// and channels; then each warp turns its tile of G into one of grad_r.
#pragma once

#include "attend_forward.h"

namespace memgan::cuda {

constexpr int kBackwardThreads = 256;  // at most

// Of a block, in shared memory. Scores are [pixel][word] for tensor cores and [word][pixel] where lanes own pixels.
template <typename S, int kPixels, bool kLanes>
struct BackwardRoom {
  Room room;
  Packed<S> packed;
  int64_t tile_size, scores_size, words;
  int scores_row;
  S *r, *G, *ds, *ga;  // one of each a warp
  float* closed;       // [kPixels] a warp: 1 - g
  float* read_lanes;   // sums of dz a_l, and of dz behind the words, by lane: [words][32] a warp where lanes own pixels,
                       // [words / 4][32] for tensor cores
  float* read_sums;    // [words] a warp
  float* sums;         // as a chunk's partial sums, if they are kept here

  // For tensor cores as many as the kernel is compiled for.
  MEMGAN_BOTH static int64_t read_lanes_of(int64_t L) {
    return kLanes ? up_to_16(L + 1) : L + 1 <= 32 ? 0 : L + 1 <= 80 ? 20 : 36;
  }
  MEMGAN_BOTH BackwardRoom(const BackwardArgs& a, int warps, unsigned char* base)
      : room{base},
        packed(a, room),
        tile_size(Tile<S, kPixels>::size(a.C)),
        scores_size(kLanes ? int64_t(up_to_16(a.L + 1)) * kPixels : int64_t(row_of<S>(a.L + 1)) * kPixels),
        words(up_to_16(a.L + 1)),
        scores_row(kLanes ? kPixels : row_of<S>(a.L + 1)),
        r(room.take<S>(warps * tile_size)),
        G(room.take<S>(warps * tile_size)),
        ds(room.take<S>(warps * scores_size)),
        ga(room.take<S>(warps * scores_size)),
        closed(room.take<float>(warps * kPixels)),
        read_lanes(room.take<float>(warps * read_lanes_of(a.L) * kWarp)),
        read_sums(room.take<float>(warps * words)),
        sums(room.take<float>(a.shared_sums ? partial_size(a) : 0)) {}
};

// The block's walk over its chunk. `Work` is made of (arguments, room, image) and has attend, sum, grad and read_sums.
template <typename S, int kPixels, bool kLanes, typename Work>
MEMGAN_DEVICE void backward_tiles(const BackwardArgs& a) {
  const int warps = int(blockDim.x) / kWarp, warp = int(threadIdx.x) / kWarp, thread = int(threadIdx.x);
  BackwardRoom<S, kPixels, kLanes> room(a, warps, shared_memory());
  const int64_t b = a.first_image + blockIdx.x / a.chunks, chunk = blockIdx.x % a.chunks, size = partial_size(a);
  float* partial = static_cast<float*>(a.partial) + blockIdx.x * size;
  float* sums = a.shared_sums ? room.sums : partial;
  for (int64_t i = thread; i < size; i += blockDim.x) sums[i] = 0;
  room.packed.pack(a, b);
  const Way r_way = way_of<S>(a.r, a.C), G_way = way_of<S>(a.grad_out, a.C), out_way = way_of<S>(a.grad_r, a.C);
  const int channels = int(a.C);
  S *r = room.r + warp * room.tile_size, *G = room.G + warp * room.tile_size;

  Work work(a, room, b);
  const int64_t begin = chunk * a.chunk_pixels, end = begin + a.chunk_pixels < a.N ? begin + a.chunk_pixels : a.N;
  for (int64_t base = begin; base < end; base += warps * kPixels) {
    const int64_t first = base + warp * kPixels;
    Tile<S, kPixels>::load(a.r, r_way, b, first, end, channels, r);
    Tile<S, kPixels>::load(a.grad_out, G_way, b, first, end, channels, G);
    commit_copies();
    wait_for_copies<0>();
    __syncwarp();
    work.attend(r, G, first, end);
    __syncthreads();  // ds and g a of all warps are there
    work.sum(sums);
    __syncthreads();  // and read: tiles of G may be replaced
    work.grad(G);
    __syncwarp();
    Tile<S, kPixels>::store(a.grad_r, out_way, b, first, end, channels, G);
    __syncwarp();
  }

  work.read_sums();
  __syncthreads();
  const int64_t reads = (a.L + 1) * a.C + a.L * a.D;
  for (int l = thread; l < room.packed.rows; l += int(blockDim.x)) {
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += room.read_sums[w * room.words + l];
    sums[reads + (l < room.packed.count ? l : a.L)] = sum;
  }
  if (!a.shared_sums) return;
  __syncthreads();
  for (int64_t i = thread; i < size; i += blockDim.x) partial[i] = sums[i];
}

// ---- tensor cores: a warp works on 16 pixels at once and holds their scores in registers.

template <typename S, int kSixteens, int kPixels>
struct TensorBackward {
  using E = Engine<S>;
  using Room = BackwardRoom<S, kPixels, false>;
  static constexpr int row = Tile<S, kPixels>::row;
  const BackwardArgs& a;
  const Room& room;
  const Packed<S>& packed;
  const int64_t b;
  const int warp, lane, warps, channels, sixteens, words;  // 16s of words and w_r, of words
  const bool gated;
  float bias;
  // Sums of dz a_l, and of dz behind the words, over rows g and g + 8 of all tiles: in registers where they are few.
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

  // Scores → ds, and dz behind them; P → g a.
  MEMGAN_DEVICE void respond(
      float (&s)[2 * kSixteens][4], float (&q)[2 * kSixteens][4], int h, float dot, int64_t p, int64_t end, int m) {
    const bool asked = a.grad_attention.data != nullptr && p < end;
    const S* given = static_cast<const S*>(a.grad_attention.data) + b * a.grad_attention.batch + p * a.grad_attention.pixel;
    const int t = lane % 4;
    float largest = -INFINITY, z = 0, total = 0, read_dot = 0, from_read = 0;
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j)
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float& x = s[j][2 * h + e];
        const int l = 8 * j + 2 * t + e;
        if (l == packed.count) z = x;
        x *= float(a.scale);
        if (l < packed.count) largest = largest > x ? largest : x;
      }
    largest = largest_of_row(largest);
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j)
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float& x = s[j][2 * h + e];
        const int l = 8 * j + 2 * t + e;
        x = l < packed.count ? __expf(x - largest) : 0.f;
        total += x;
        read_dot += x * q[j][2 * h + e];
        if (gated && l < packed.count) from_read += x * packed.value_gate[l];
      }
    total = sum_of_row(total);
    const float factor = packed.count > 0 ? 1.f / total : 0.f;
    float dz = 0, mean = 0;
    Gate<float> gate{1.f, 0.f};
    if (gated) {
      gate = gate_of(sum_of_row(z + from_read * factor) + bias);
      dz = sum_of_row(read_dot * factor - dot) * gate.open * gate.closed;
      if (t == 0) room.closed[warp * kPixels + m + lane / 4 + 8 * h] = gate.closed;
    }
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j)
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float &x = s[j][2 * h + e], &da = q[j][2 * h + e];
        const int l = 8 * j + 2 * t + e;
        x *= factor;
        da *= gate.open;
        if (gated && l < packed.count) da += dz * packed.value_gate[l];
        if (asked && l < packed.count) da += read(given[packed.words[l] * a.grad_attention.row]);
        mean += x * da;
      }
    mean = sum_of_row(mean);
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j)
      MEMGAN_UNROLL
      for (int e = 0; e < 2; ++e) {
        float &x = s[j][2 * h + e], &y = q[j][2 * h + e];
        const bool of_gate = gated && 8 * j + 2 * t + e == packed.count;
        if (gated) add_to_read_sum(j, e, of_gate ? dz : x * dz);
        const float attention = x;
        x = of_gate ? dz : attention * (y - mean) * float(a.scale);
        y = attention * gate.open;
      }
  }

  MEMGAN_DEVICE void attend(const S* r, const S* G, int64_t first, int64_t end) {
    S *ds = room.ds + warp * room.scores_size, *ga = room.ga + warp * room.scores_size;
    MEMGAN_NO_UNROLL
    for (int m = 0; m < kPixels; m += 16) {
      float s[2 * kSixteens][4] = {}, q[2 * kSixteens][4] = {}, dot[2] = {};
      MEMGAN_NO_UNROLL
      for (int c = 0; c < channels; c += 16) {
        Left of_r, of_G;
        E::left(of_r, r, row, c, m);
        E::left(of_G, G, row, c, m);
        if (gated) E::add_dots(dot, of_r, of_G);
        MEMGAN_UNROLL
        for (int j = 0; j < kSixteens; ++j) {
          if (j >= sixteens) continue;
          Right slots;
          E::right(slots, packed.keys, packed.row, 16 * j, c);
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(s[2 * j + n], of_r, slots, n);
          if (j >= words) continue;
          E::right(slots, packed.values, packed.row, 16 * j, c);
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(q[2 * j + n], of_G, slots, n);
        }
      }
      MEMGAN_UNROLL
      for (int h = 0; h < 2; ++h) {
        respond(s, q, h, dot[h], first + m + lane / 4 + 8 * h, end, m);
        const int at = (m + lane / 4 + 8 * h) * room.scores_row + lane % 4 * 2;
        MEMGAN_UNROLL
        for (int j = 0; j < 2 * kSixteens; ++j) {
          if (j >= 2 * sixteens) continue;
          E::store_pair(ds + at + 8 * j, s[j][2 * h], s[j][2 * h + 1]);
          E::store_pair(ga + at + 8 * j, q[j][2 * h], q[j][2 * h + 1]);
        }
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
      for (int w = 0; w < warps; ++w)
        MEMGAN_UNROLL
        for (int p = 0; p < kPixels; p += 16) {
          Left factor;
          Right pixels;
          E::left(factor, factors + w * room.scores_size, room.scores_row, p, l);
          E::right(pixels, tiles + w * room.tile_size, row, c, p);
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(x[n], factor, pixels, n);
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

  // G → grad_r, where it lies.
  MEMGAN_DEVICE void grad(S* G) const {
    const S* ds = room.ds + warp * room.scores_size;
    MEMGAN_NO_UNROLL
    for (int m = 0; m < kPixels; m += 16) {
      Right weights[kSixteens];
      MEMGAN_UNROLL
      for (int j = 0; j < kSixteens; ++j)
        if (j < sixteens) E::right(weights[j], ds, room.scores_row, m, 16 * j);
      MEMGAN_NO_UNROLL
      for (int c = 0; c < channels; c += 16) {
        float o[2][4] = {};
        MEMGAN_UNROLL
        for (int j = 0; j < kSixteens; ++j) {
          if (j >= sixteens) continue;
          Left keys;
          E::left(keys, packed.keys, packed.row, 16 * j, c);
          MEMGAN_UNROLL
          for (int n = 0; n < 2; ++n) E::multiply(o[n], keys, weights[j], n);
        }
        MEMGAN_UNROLL
        for (int n = 0; n < 2; ++n)
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

  MEMGAN_DEVICE void read_sums() const {
    MEMGAN_UNROLL
    for (int j = 0; j < 2 * kSixteens; ++j)
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
};

constexpr int kBackwardPixels = 32;  // of a tile, for tensor cores

template <typename S, int kSixteens>
__global__ void __launch_bounds__(kBackwardThreads)
    attend_backward_tensor(const __grid_constant__ BackwardArgs a) {
  backward_tiles<S, kBackwardPixels, false, TensorBackward<S, kSixteens, kBackwardPixels>>(a);
}

}  // namespace memgan::cuda
