// Which kernel takes which sizes, and its launch: host code, the same for CUDA and for the emulator.
#pragma once

#include <algorithm>

#include "attend_finish.h"
#include "attend_generic.h"
#include "attend_lanes.h"

namespace memgan::cuda {

constexpr int64_t kWorkspaceBytes = 7 << 20;  // of scores under way and of partial sums

inline int64_t computed_bytes(Dtype dtype) { return dtype == Dtype::float64 ? 8 : 4; }
inline int64_t ceil_of(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }

// How a launch divides its pixels: by sizes alone.
struct Plan {
  int64_t blocks = 0;                        // of the forward
  int64_t images = 1, chunks = 1, chunk_pixels = 0;  // of one launch of the backward
  int64_t scratch = 0;                       // bytes of scores under way, of all blocks of a launch
};

inline Plan forward_plan(const AttendArgs& a) {
  Plan plan;
  const int64_t bytes = std::max<int64_t>(1, generic_forward_rows(a) * kGenericPixels * computed_bytes(a.dtype));
  plan.blocks = std::min(a.B * ceil_of(a.N, kGenericPixels), std::max<int64_t>(1, kWorkspaceBytes / bytes));
  plan.scratch = plan.blocks * bytes;
  return plan;
}

inline Plan backward_plan(const AttendArgs& a) {
  Plan plan;
  const int64_t unit = kGenericPixels;
  const int64_t column = generic_backward_rows(a) * kGenericPixels * computed_bytes(a.dtype);
  const int64_t bytes = partial_size(a) * computed_bytes(a.dtype) + column;  // of one chunk
  const int64_t most = std::max<int64_t>(1, kWorkspaceBytes / bytes);        // chunks at once
  const int64_t wanted = std::max<int64_t>(1, most / std::max<int64_t>(1, std::min<int64_t>(a.B, 64)));
  const int64_t units = std::max<int64_t>(1, ceil_of(a.N, unit));
  plan.chunk_pixels = unit * ceil_of(units, std::min(wanted, units));
  plan.chunks = std::max<int64_t>(1, ceil_of(a.N, plan.chunk_pixels));
  plan.images = std::clamp<int64_t>(most / plan.chunks, 1, std::max<int64_t>(1, a.B));
  plan.scratch = plan.images * plan.chunks * column;
  return plan;
}

inline int64_t forward_workspace(const AttendArgs& a) { return forward_plan(a).scratch; }

inline int64_t backward_workspace(const AttendArgs& a) {
  const Plan plan = backward_plan(a);
  return plan.scratch +
         (plan.images * plan.chunks * partial_size(a) + a.B * (2 * a.C + 1)) * computed_bytes(a.dtype);
}

constexpr int64_t kEnoughBlocks = 1024;     // more do not fill a GPU better

// Whether the fast kernels take these sizes; what is then left to ask is the room in shared memory.
inline bool fits_fast_kernels(const AttendArgs& a) {
  return a.C == a.D && a.C <= 256 && a.L <= 128 && a.N < int64_t(1) << 31;
}

// Blocks of a kernel whose warps take tiles on their own. false: no room.
template <typename S, int kPixels, bool kScores>
bool tiles_grid(ForwardArgs& a, Grid& grid) {
  const int64_t tiles = ceil_of(a.N, kPixels);
  for (int warps = kForwardThreads / kWarp; warps > 0; warps /= 2) {
    grid.threads = warps * kWarp;
    grid.shared = ForwardRoom<S, kPixels, kScores>(a, warps, nullptr).room.used;
    if (grid.shared > most_shared()) continue;
    const int64_t each = std::clamp<int64_t>(a.B * tiles / (warps * kEnoughBlocks), 1, 4);  // tiles of a warp
    a.blocks = ceil_of(tiles, warps * each);
    grid.x = a.B * a.blocks;
    return true;
  }
  return false;
}

template <typename S>
const char* forward_tensor(const ForwardArgs& a, const Grid& grid) {
  const int64_t rows = a.L + (a.gate_weight != nullptr);
  if (rows <= 32) return launch(attend_forward_tensor<S, 2, 2>, grid, a);
  if (rows <= 80) return launch(attend_forward_tensor<S, 5, 1>, grid, a);
  return launch(attend_forward_tensor<S, 9, 1>, grid, a);
}

template <typename S>
const char* forward_of(ForwardArgs a, void* stream) {
  using T = typename Compute<S>::type;
  Grid grid;
  grid.stream = stream;
  if constexpr (sizeof(S) < 8) {
    const bool fast = fits_fast_kernels(a);
    if (fast && (sizeof(S) == 2 || a.tf32) && tiles_grid<S, kTensorPixels<S>, false>(a, grid))
      return forward_tensor<S>(a, grid);
    if constexpr (sizeof(S) == 4) {
      if (fast && tiles_grid<S, 2 * kWarp, true>(a, grid)) return launch(attend_forward_lanes<2>, grid, a);
      if (fast && tiles_grid<S, kWarp, true>(a, grid)) return launch(attend_forward_lanes<1>, grid, a);
    }
  }
  return launch(attend_forward_generic<S>, {forward_plan(a).blocks, 1, kGenericPixels, generic_shared<T>(a), stream}, a);
}

template <typename S>
const char* backward_of(BackwardArgs a, void* stream) {
  using T = typename Compute<S>::type;
  const Plan plan = backward_plan(a);
  a.partial = static_cast<char*>(a.workspace) + plan.scratch;
  a.gate_partial = static_cast<T*>(a.partial) + plan.images * plan.chunks * partial_size(a);
  a.chunks = plan.chunks;
  a.chunk_pixels = plan.chunk_pixels;
  for (a.first_image = 0; a.first_image < a.B; a.first_image += plan.images) {
    a.images = std::min(plan.images, a.B - a.first_image);
    const Grid grid{a.images * a.chunks, 1, kGenericPixels, generic_shared<T>(a), stream};
    if (const char* error = launch(attend_backward_generic<S>, grid, a)) return error;
    const int64_t channels = ceil_of(std::max(a.C, a.D), kFinishChannels);
    const Grid finish{a.images, channels, kFinishThreads, finish_shared<T>(a), stream};
    if (const char* error = launch(attend_finish_image<S>, finish, a)) return error;
  }
  if (a.gate_weight == nullptr) return nullptr;
  return launch(attend_finish_gate<S>, {ceil_of(2 * a.C + 1, kFinishThreads), 1, kFinishThreads, 0, stream}, a);
}

inline const char* forward(const ForwardArgs& a, void* stream) {
  switch (a.dtype) {
    case Dtype::float32: return forward_of<float>(a, stream);
    case Dtype::float64: return forward_of<double>(a, stream);
    case Dtype::bfloat16: return forward_of<Bf16>(a, stream);
    case Dtype::float16: return forward_of<Half>(a, stream);
  }
  return "no such dtype";
}

inline const char* backward(const BackwardArgs& a, void* stream) {
  switch (a.dtype) {
    case Dtype::float32: return backward_of<float>(a, stream);
    case Dtype::float64: return backward_of<double>(a, stream);
    case Dtype::bfloat16: return backward_of<Bf16>(a, stream);
    case Dtype::float16: return backward_of<Half>(a, stream);
  }
  return "no such dtype";
}

}  // namespace memgan::cuda
