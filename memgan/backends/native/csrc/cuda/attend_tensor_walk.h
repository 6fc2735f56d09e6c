// Read and respond, backward, on tensor cores: a block's walk over its chunk of pixels.
#pragma once

#include "attend_tensor_backward.h"

namespace memgan::cuda {

// What a kernel is compiled for: warps of a block (0: any, and sums in memory), groups of 16 pixels that it takes at a
// time, tiles of G in shared memory (of two, one is on its way), and blocks on a multiprocessor at least.
template <typename E, int kSixteens, int kWarps, int kGroups>
struct Walk {
  using S = typename E::Stored;
  using M = typename TensorBackward<E, kSixteens, kWarps, kGroups>::M;
  static constexpr bool small = sizeof(S) == 2, in_registers = kWarps > 0;
  static constexpr int buffers = small && in_registers ? 2 : 1;
  static constexpr int threads = (in_registers ? kWarps : 4) * kWarp;  // at most
  static constexpr int of_few_words = kWarps == 4 ? (small ? 4 : E::exact ? 2 : 3) : (small ? 2 : 1);
  static constexpr int blocks = kSixteens == 2 && in_registers ? of_few_words : 1;
};

template <typename E, int kSixteens, int kWarps, int kGroups, typename W = Walk<E, kSixteens, kWarps, kGroups>>
__global__ void __launch_bounds__(W::threads, W::blocks)
    attend_backward_tensor(const __grid_constant__ BackwardArgs a) {
  using S = typename E::Stored;
  const int threads = kWarps > 0 ? kWarps * kWarp : int(blockDim.x), channels = int(a.C), thread = int(threadIdx.x);
  using Work = TensorBackward<E, kSixteens, kWarps, kGroups>;
  TensorRoom<E, typename Work::M> room(
      a, kWarps > 0 ? kGroups : threads / kWarp, W::buffers, thread, threads, shared_memory());
  const Chunk chunk(a);
  float* sums = a.shared_sums ? room.sums : chunk.partial;
  const Way r_way = way_of<S>(a.r, a.C), G_way = way_of<S>(a.grad_out, a.C), out_way = way_of<S>(a.grad_r, a.C);
  const auto load = [&](const Pixels& from, Way way, int first, S* tile) {
    if (first < chunk.end) room.tile.load(from, way, chunk.b, first, chunk.end, channels, tile);
  };
  const int step = room.tile.pixels;
  int first = chunk.begin;
  if constexpr (kWarps == 0)
    for (int64_t i = thread; i < partial_size(a); i += threads) sums[i] = 0;
  room.packed.pack(a, chunk.b, [&] {
    load(a.r, r_way, first, room.r);
    load(a.grad_out, G_way, first, room.G);
  });
  Work work(a, room, chunk.b);
  S *G = room.G, *other = room.G + (W::buffers - 1) * room.tile_size;
  while (first < chunk.end) {
    commit_copies();
    wait_for_copies<0>();
    __syncthreads();  // tiles are there
    if (W::buffers > 1) load(a.grad_out, G_way, first + step, other);
    work.attend(G, first, chunk.end);
    __syncthreads();  // ds and g a of all groups are there
    work.sum(G, sums);
    __syncthreads();  // and read: r may be replaced, and G
    load(a.r, r_way, first + step, room.r);
    work.grad(G);
    __syncthreads();  // grad_r lies where G was
    room.tile.store(a.grad_r, out_way, chunk.b, first, chunk.end, channels, G);
    first += step;
    if (W::buffers > 1) {
      S* stored = G;
      G = other;
      other = stored;
    } else {
      __syncthreads();  // and has been read
      load(a.grad_out, G_way, first, G);
    }
  }
  work.finish(chunk.partial);
  __syncthreads();
  add_read_sums(a, room.read_sums, room.tile.pixels / 16, room.words, room.packed.count, 1, 0, sums);
  if (!a.shared_sums) return;
  __syncthreads();
  for (int64_t i = thread; i < partial_size(a); i += threads) chunk.partial[i] = sums[i];
}

}  // namespace memgan::cuda
