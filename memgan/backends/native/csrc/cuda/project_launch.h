// The launches of memory_project: host code, the same for CUDA and for the emulator.
#pragma once

#include "launch.h"
#include "project_kernels.h"

namespace memgan::cuda {

// nullptr, or why the device refused.
template <typename S>
const char* project_forward_of(const ProjectArgs& a, void* stream) {
  const int64_t columns = tiles_of(a.keys.channels, kProductColumns) + tiles_of(a.values.channels, kProductColumns);
  using T = typename Compute<S>::type;
  const Grid grid{tiles_of(a.R, kProductRows), columns, kProductThreads<T>, Product<T>::kBytes, stream};
  return launch(project_forward<S>, grid, a);
}

// Bytes of workspace of the backward.
inline int64_t project_workspace(const ProjectBackwardArgs& a) {
  const int64_t tiles = counts_of(a), parts = split_of(a.R, tiles).parts;
  const int64_t kept = tiles * parts * Product<float>::kPartNumbers * (a.dtype == Dtype::float64 ? 8 : 4);
  return parts > 1 ? kept + tiles * int64_t(sizeof(unsigned)) : 0;
}

template <typename S>
const char* project_backward_of(ProjectBackwardArgs a, void* stream) {
  using T = typename Compute<S>::type;
  const int64_t of_keys = project_tiles_of_weight(a, a.keys), tiles = counts_of(a);
  a.split = split_of(a.R, tiles);
  if (a.split.parts > 1) {
    T* kept = static_cast<T*>(a.workspace);
    a.keys.kept = kept;
    a.values.kept = kept + of_keys * a.split.parts * Product<T>::kPartNumbers;
    a.keys.arrived = reinterpret_cast<unsigned*>(kept + tiles * a.split.parts * Product<T>::kPartNumbers);
    a.values.arrived = a.keys.arrived + of_keys;
    const Grid counts{tiles_of(tiles, kTeamThreads), 1, kTeamThreads, 0, stream};
    if (const char* error = launch(project_clear_counts<S>, counts, a)) return error;
  }
  const int64_t blocks = project_tiles_of_memory(a) + tiles * a.split.parts;
  return launch(project_backward<S>, {blocks, 1, kProductThreads<T>, Product<T>::kBytes, stream}, a);
}

}  // namespace memgan::cuda
