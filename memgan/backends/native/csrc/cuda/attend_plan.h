// Which kernel takes which sizes, with how many blocks: host code, the same for CUDA and for the emulator.
#pragma once

#include <algorithm>

#include "attend_generic.h"
#include "attend_tensor_walk.h"
#include "launch.h"

namespace memgan::cuda {

constexpr int64_t kWorkspaceBytes = 31 << 20;  // of scores under way and of partial sums
constexpr int64_t kEnoughBlocks = 1024;        // of the generic kernels: more do not fill a GPU better

inline int64_t ceil_of(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }
inline int64_t computed_bytes(const AttendArgs& a) { return a.dtype == Dtype::float64 ? 8 : 4; }

// Whether the fast kernels take these sizes; what is then left to ask is the room in shared memory.
inline bool fits_fast_kernels(const AttendArgs& a) {
  return a.dtype != Dtype::float64 && a.C == a.D && a.C <= 256 && a.L <= 128 && a.N <= int64_t(1) << 30;
}

// Calls `work` with the engine that computes in tensors of S.
template <typename S, typename Work>
auto with_engine(const AttendArgs& a, Work&& work) {
  if constexpr (!std::is_same_v<S, float>) return work(Engine<S>{});
  else return a.tf32 ? work(Engine<Tf32>{}) : work(Engine<Float32>{});
}

// Of rows of slots that a kernel on tensor cores is compiled for: the gate's and the words'.
inline int sixteens_of(const AttendArgs& a) { return a.L + 1 <= 32 ? 2 : a.L + 1 <= 80 ? 5 : 9; }

// ---- forward

struct ForwardPlan {
  bool fast = false;      // on tensor cores
  bool compiled = false;  // for the sizes at hand
  int threads = kGenericPixels;
  int pixels = 0;                   // of a warp's tile
  int64_t shared = 0, scratch = 0;  // bytes
  int64_t blocks = 0, blocks_of_image = 1;
};

// Blocks that a multiprocessor's shared memory has room for: of those asked for.
inline int64_t resident_blocks(int64_t bytes, int64_t asked) {
  const int64_t of_block = 1 << 10;  // the system's own
  const int64_t most = most_shared();
  return bytes > most ? 0 : std::min<int64_t>(asked, (most + of_block) / (bytes + of_block));
}

// Into how many parts each image's tiles are split, one part a block: as many as take least time on a GPU that works on
// `resident` blocks at once, where a block's beginning takes as long as two tiles.
inline int64_t parts_of(int64_t images, int64_t tiles, int64_t resident, int64_t most) {
  int64_t best = 1, least = INT64_MAX;
  for (int64_t parts = 1; parts <= std::min(tiles, most); ++parts) {
    const int64_t time = ceil_of(images * parts, resident) * (ceil_of(tiles, parts) + 2);
    if (time < least) best = parts, least = time;
  }
  return best;
}
constexpr int64_t kMostParts = 256;

// Blocks whose warps take tiles on their own, at most `most` warps a block and `resident` of a multiprocessor. False:
// no room.
template <typename E, int kPixels, typename M = Any>
bool plan_tiles(const ForwardArgs& a, int most, int64_t resident, ForwardPlan& plan) {
  const int64_t tiles = ceil_of(a.N, kPixels);
  int64_t best = 0;
  for (int warps = most; warps > 0; warps /= 2) {
    const int64_t bytes = ForwardRoom<E, kPixels, M>(a, warps, nullptr).room.used;
    const int64_t blocks = resident_blocks(bytes, resident / warps);
    if (blocks * warps <= best) continue;
    best = blocks * warps;
    plan.fast = true;
    plan.threads = warps * kWarp;
    plan.shared = bytes;
    plan.pixels = kPixels;
    plan.blocks_of_image = parts_of(a.B, ceil_of(tiles, warps), multiprocessors() * blocks, kMostParts);
    plan.blocks = a.B * plan.blocks_of_image;
  }
  return best > 0;
}

// 128 bytes of each channel where those tiles leave room for many warps, else 64. The sizes of the paper and of CLIP's
// text encoder have kernels that are compiled for them.
using FewWords = Most<32, 64>;
using ManyWords = Most<80, 128>;
inline bool within(const AttendArgs& a, int rows, int channels) { return a.L + 1 <= rows && a.C <= channels; }

template <typename E>
bool plan_fast(const ForwardArgs& a, ForwardPlan& plan) {
  constexpr int kWide = kWidePixels<typename E::Stored>, kNarrow = kWide / 2;
  const int resident = forward_warps<E>(sixteens_of(a));
  if (within(a, 32, 64)) return plan_tiles<E, kWide, FewWords>(a, E::exact ? 8 : 4, resident, plan);
  plan.compiled =
      sixteens_of(a) == 5 && within(a, 80, 128) && plan_tiles<E, kNarrow, ManyWords>(a, resident, resident, plan);
  return plan.compiled || plan_tiles<E, kNarrow>(a, resident, resident, plan);
}

template <typename S>
ForwardPlan plan_of(const ForwardArgs& a) {
  ForwardPlan plan;
  if constexpr (sizeof(S) < 8) {
    const auto fits = [&](auto engine) { return plan_fast<decltype(engine)>(a, plan); };
    if (fits_fast_kernels(a) && with_engine<S>(a, fits)) return plan;
  }
  const int64_t bytes = std::max<int64_t>(1, generic_forward_rows(a) * kGenericPixels * computed_bytes(a));
  plan = ForwardPlan{};
  plan.shared = generic_shared<typename Compute<S>::type>(a);
  plan.blocks = std::min(a.B * ceil_of(a.N, kGenericPixels), std::max<int64_t>(1, kWorkspaceBytes / bytes));
  plan.scratch = plan.blocks * bytes;
  return plan;
}

// ---- backward

struct BackwardPlan {
  bool fast = false;  // on tensor cores
  int threads = kGenericPixels;
  bool shared_sums = false;
  int warps = 0;                                     // that a kernel on tensor cores is compiled for; 0: any
  int64_t pixels = 0;                                // that a block takes at a time
  int64_t resident = 1;                              // blocks of a multiprocessor
  int64_t shared = 0, column = 0;                    // bytes of a block: shared memory, scores under way
  int64_t images = 1, chunks = 1, chunk_pixels = 0;  // of a launch
};

// With sums in registers if there is a kernel for it; else where there is room. False: nowhere.
template <typename E>
bool plan_fast(BackwardArgs a, BackwardPlan& plan) {
  const int sixteens = sixteens_of(a);
  const auto take = [&](auto walk, int warps, int groups, bool in_registers) {
    using W = decltype(walk);
    const TensorRoom<E, typename W::M> room(a, groups, W::buffers, 0, warps * kWarp, nullptr);
    plan.shared = room.room.used;
    plan.warps = in_registers ? warps : 0;
    plan.threads = warps * kWarp;
    plan.pixels = groups * 16;
    plan.shared_sums = a.shared_sums;
    plan.resident = resident_blocks(plan.shared, W::in_registers ? W::blocks : 4);
    return plan.fast = plan.resident > 0;
  };
  if (sixteens == 2 && a.C <= 64 && take(Walk<E, 2, 4, 4>{}, 4, 4, true)) return true;
  if (sixteens == 2 && a.C <= 128 && take(Walk<E, 2, 8, 8>{}, 8, 8, true)) return true;
  if (sixteens == 5 && a.C <= 64 && take(Walk<E, 5, 4, 4>{}, 4, 4, true)) return true;
  if (sixteens == 5 && a.C <= 128 && take(Walk<E, 5, 8, 8>{}, 8, 8, true)) return true;
  if (sixteens == 5 && a.C <= 128 && take(Walk<E, 5, 8, 4>{}, 8, 4, true)) return true;
  for (const bool shared_sums : {true, false}) {
    a.shared_sums = shared_sums;
    for (const int each : {4, 2, 1})
      if (take(Walk<E, 2, 0, 0>{}, each, each, false)) return true;
  }
  return false;
}

template <typename S>
BackwardPlan plan_of(const BackwardArgs& a) {
  BackwardPlan plan;
  if constexpr (sizeof(S) < 8) {
    const auto fits = [&](auto engine) { return plan_fast<decltype(engine)>(a, plan); };
    if (!fits_fast_kernels(a) || !with_engine<S>(a, fits)) plan = BackwardPlan{};
  }
  if (!plan.fast) {
    plan.pixels = kGenericPixels;
    plan.shared = generic_shared<typename Compute<S>::type>(a);
    plan.column = generic_backward_rows(a) * kGenericPixels * computed_bytes(a);
    plan.resident = std::max<int64_t>(1, kEnoughBlocks / multiprocessors());
  }
  const int64_t bytes = partial_size(a) * computed_bytes(a) + plan.column;  // of one chunk
  const int64_t images = std::max<int64_t>(1, a.B), fit = std::max<int64_t>(1, kWorkspaceBytes / bytes);
  const int64_t units = std::max<int64_t>(1, ceil_of(a.N, plan.pixels));
  const int64_t wanted =
      parts_of(images, units, plan.resident * multiprocessors(), std::clamp<int64_t>(fit / images, 1, kMostParts));
  plan.chunk_pixels = plan.pixels * ceil_of(units, wanted);
  plan.chunks = std::max<int64_t>(1, ceil_of(a.N, plan.chunk_pixels));
  plan.images = std::clamp<int64_t>(fit / plan.chunks, 1, images);
  return plan;
}

}  // namespace memgan::cuda
