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
  static constexpr int kUnit = kLanes ? 4 : 16;
  Room room;
  Packed<S, kUnit> packed;
  int64_t tile_size, scores_size, words;
  int scores_row;
  S *r, *G, *ds, *ga;  // one of each a warp
  float* closed;       // [kPixels] a warp: 1 - g
  float* read_lanes;  // sums of dz a_l, and of dz behind the words, by lane: [words][32] a warp where lanes own pixels,
                      // [words / 4][32] for tensor cores
  float* read_sums;   // [words] a warp
  float* sums;        // as a chunk's partial sums, if they are kept here

  // For tensor cores as many as the kernel is compiled for.
  MEMGAN_BOTH static int64_t read_lanes_of(int64_t L) {
    return kLanes ? up_to<kUnit>(L + 1) : L + 1 <= 32 ? 0 : L + 1 <= 80 ? 20 : 36;
  }
  MEMGAN_BOTH BackwardRoom(const BackwardArgs& a, int warps, unsigned char* base)
      : room{base},
        packed(a, room),
        tile_size(Tile<S, kPixels>::size(a.C)),
        scores_size(kLanes ? int64_t(up_to<kUnit>(a.L + 1)) * kPixels : int64_t(row_of<S>(a.L + 1)) * kPixels),
        words(up_to<kUnit>(a.L + 1)),
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
  const int begin = int(chunk * a.chunk_pixels);  // N is at most 2^30 here
  const int end = int(begin + a.chunk_pixels < a.N ? begin + a.chunk_pixels : a.N);
  const int stride = warps * kPixels;
  Tile<S, kPixels>::load(a.r, r_way, b, begin + warp * kPixels, end, channels, r);
  for (int first = begin + warp * kPixels; first - warp * kPixels < end; first += stride) {
    Tile<S, kPixels>::load(a.grad_out, G_way, b, first, end, channels, G);
    commit_copies();
    wait_for_copies<0>();
    __syncwarp();
    work.attend(r, G, first, end);
    __syncthreads();  // ds and g a of all warps are there
    work.sum(sums);
    __syncthreads();  // and read: tiles of r and of G may be replaced, that of r while grad_r is worked out
    Tile<S, kPixels>::load(a.r, r_way, b, first + stride, end, channels, r);
    work.grad(G);
    __syncwarp();
    Tile<S, kPixels>::store(a.grad_r, out_way, b, first, end, channels, G);
    __syncwarp();
  }

  commit_copies();  // the tile of r behind the last
  wait_for_copies<0>();
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

}  // namespace memgan::cuda
