// The launches of memory_read and memory_refine: host code, the same for CUDA and for the emulator.
#pragma once

#include "attend_finish.h"
#include "attend_plan.h"

namespace memgan::cuda {

// ---- forward

template <typename E>
const char* launch_fast(const ForwardPlan& plan, const Grid& grid, const ForwardArgs& a) {
  constexpr int kWide = kWidePixels<typename E::Stored>, kNarrow = kWide / 2;
  constexpr int kHeight = E::exact ? 1 : 2;
  const int sixteens = sixteens_of(a);
  if (plan.pixels == kWide) return launch(attend_forward_tensor<E, 2, kWide, kHeight, FewWords>, grid, a);
  if (plan.compiled) return launch(attend_forward_tensor<E, 5, kNarrow, 1, ManyWords>, grid, a);
  if (sixteens == 2) return launch(attend_forward_tensor<E, 2, kNarrow, 1>, grid, a);
  if (sixteens == 5) return launch(attend_forward_tensor<E, 5, kNarrow, 1>, grid, a);
  return launch(attend_forward_tensor<E, 9, kNarrow, 1>, grid, a);
}

template <typename S>
int64_t forward_workspace_of(const ForwardArgs& a) {
  return plan_of<S>(a).scratch;
}

template <typename S>
const char* forward_of(ForwardArgs a, void* stream) {
  const ForwardPlan plan = plan_of<S>(a);
  const Grid grid{plan.blocks, 1, plan.threads, plan.shared, stream};
  a.blocks = plan.blocks_of_image;
  if constexpr (sizeof(S) < 8) {
    const auto fast = [&](auto engine) { return launch_fast<decltype(engine)>(plan, grid, a); };
    if (plan.fast) return with_engine<S>(a, fast);
  }
  return launch(attend_forward_generic<S>, grid, a);
}

// ---- backward

template <typename E>
const char* launch_fast(const BackwardPlan& plan, const Grid& grid, const BackwardArgs& a) {
  const int sixteens = sixteens_of(a);
  if (plan.warps == 4)
    return sixteens == 2 ? launch(attend_backward_tensor<E, 2, 4, 4>, grid, a)
                         : launch(attend_backward_tensor<E, 5, 4, 4>, grid, a);
  if (plan.warps == 8 && sixteens == 2) return launch(attend_backward_tensor<E, 2, 8, 8>, grid, a);
  if (plan.warps == 8)
    return plan.pixels == 128 ? launch(attend_backward_tensor<E, 5, 8, 8>, grid, a)
                              : launch(attend_backward_tensor<E, 5, 8, 4>, grid, a);
  if (sixteens == 2) return launch(attend_backward_tensor<E, 2, 0, 0>, grid, a);
  if (sixteens == 5) return launch(attend_backward_tensor<E, 5, 0, 0>, grid, a);
  return launch(attend_backward_tensor<E, 9, 0, 0>, grid, a);
}

template <typename S>
const char* launch_chunks(const BackwardPlan& plan, const Grid& grid, const BackwardArgs& a) {
  if constexpr (sizeof(S) < 8) {
    const auto fast = [&](auto engine) { return launch_fast<decltype(engine)>(plan, grid, a); };
    if (plan.fast) return with_engine<S>(a, fast);
  }
  return launch(attend_backward_generic<S>, grid, a);
}

template <typename S>
int64_t backward_workspace_of(const BackwardArgs& a) {
  const BackwardPlan plan = plan_of<S>(a);
  const int64_t numbers = plan.images * plan.chunks * partial_size(a) + a.B * (2 * a.C + 1);
  return plan.images * plan.chunks * plan.column + numbers * computed_bytes(a);
}

template <typename S>
const char* backward_of(BackwardArgs a, void* stream) {
  using T = typename Compute<S>::type;
  const BackwardPlan plan = plan_of<S>(a);
  const int64_t blocks = plan.images * plan.chunks;
  a.partial = static_cast<char*>(a.workspace) + blocks * plan.column;
  a.gate_partial = static_cast<T*>(a.partial) + blocks * partial_size(a);
  a.chunks = plan.chunks;
  a.chunk_pixels = plan.chunk_pixels;
  a.shared_sums = plan.shared_sums;
  for (a.first_image = 0; a.first_image < a.B; a.first_image += plan.images) {
    a.images = std::min(plan.images, a.B - a.first_image);
    const Grid grid{a.images * a.chunks, 1, plan.threads, plan.shared, stream};
    if (const char* error = launch_chunks<S>(plan, grid, a)) return error;
    const int64_t warps = finish_rows(a) * ceil_of(std::max(a.C, a.D), kWarp);
    const Grid finish{a.images, ceil_of(warps * kWarp, kFinishThreads), kFinishThreads, finish_shared(a), stream};
    if (const char* error = launch(attend_finish_image<S>, finish, a)) return error;
  }
  if (a.gate_weight == nullptr) return nullptr;
  return launch(
      attend_finish_gate<S>, {ceil_of((2 * a.C + 1) * kWarp, kFinishThreads), 1, kFinishThreads, 0, stream}, a);
}

// In a file of its own for each dtype: they are compiled at the same time.
#define MEMGAN_ATTEND_KERNELS(S)                                  \
  template int64_t forward_workspace_of<S>(const ForwardArgs&);   \
  template int64_t backward_workspace_of<S>(const BackwardArgs&); \
  template const char* forward_of<S>(ForwardArgs, void*);         \
  template const char* backward_of<S>(BackwardArgs, void*);

}  // namespace memgan::cuda
