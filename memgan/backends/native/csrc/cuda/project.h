// What the CUDA kernels of memory_project are given. Plain C++: nothing of torch or CUDA in here.
//
// M memory channels, C channels of the keys, D of the values, R = B * L rows of slots. All is contiguous.
#pragma once

#include "product.h"

namespace memgan::cuda {

// Keys or values: y = [x weight^T + bias]+, and what its backward makes.
struct Projection {
  int64_t channels = 0;                           // of y
  const void *weight = nullptr, *bias = nullptr;  // (channels, M), (channels,)
  void* out = nullptr;                            // (R, channels), the forward's
  const void *result = nullptr, *grad = nullptr;  // (R, channels): y, and its gradient
  void *grad_weight = nullptr, *grad_bias = nullptr;
  // In the workspace, set by the launch: what blocks that share a tile of the weight keep, and how many have come.
  void* kept = nullptr;
  unsigned* arrived = nullptr;
};

struct ProjectArgs {
  Dtype dtype = Dtype::float32;
  int64_t R = 0, M = 0;
  const void* memory = nullptr;  // (R, M)
  Projection keys, values;
};

struct ProjectBackwardArgs : ProjectArgs {
  void* grad_memory = nullptr;  // (R, M)
  void* workspace = nullptr;    // as many bytes as `project_workspace` says
  Split split;                  // of the sums over rows; set by the launch
};

MEMGAN_BOTH int64_t project_tiles_of_memory(const ProjectArgs& a) {
  return tiles_of(a.R, kProductRows) * tiles_of(a.M, kProductColumns);
}
// At least one of columns: the bias has a gradient where there are no inputs too.
MEMGAN_BOTH int64_t project_tiles_of_weight(const ProjectArgs& a, const Projection& p) {
  const int64_t columns = tiles_of(a.M, kProductColumns);
  return tiles_of(p.channels, kProductRows) * (columns > 0 ? columns : 1);
}

}  // namespace memgan::cuda
