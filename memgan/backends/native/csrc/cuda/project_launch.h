// The launches of memory_project: host code, the same for CUDA and for the emulator.
#pragma once

#include "project_kernels.h"

namespace memgan::cuda {

// nullptr, or why the device refused.
template <typename S>
const char* project_forward_of(const ProjectArgs& a, void* stream) {
  const int64_t columns = tiles_of(a.keys.channels, kProductColumns) + tiles_of(a.values.channels, kProductColumns);
  const Grid grid{tiles_of(a.R, kProductRows), columns, kProductThreads, Product<typename Compute<S>::type>::kBytes, stream};
  return launch(project_forward<S>, grid, a);
}

template <typename S>
const char* project_backward_of(const ProjectBackwardArgs& a, void* stream) {
  const int64_t tiles =
      project_tiles_of_memory(a) + project_tiles_of_weight(a, a.keys) + project_tiles_of_weight(a, a.values);
  return launch(project_backward<S>, {tiles, 1, kProductThreads, Product<typename Compute<S>::type>::kBytes, stream}, a);
}

}  // namespace memgan::cuda
