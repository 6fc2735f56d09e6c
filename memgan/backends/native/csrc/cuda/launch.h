// Launches, and what there is of the device that they go to.
#pragma once

#include "device.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#include <atomic>
#endif

namespace memgan::cuda {

// What a launch needs beside its arguments. `stream` is a cudaStream_t, kept plain so that callers need no CUDA header.
struct Grid {
  int64_t x = 0, y = 1;  // blocks; x may be up to 2^31 - 1, y up to 65535
  int threads = 0;       // of a block
  int64_t shared = 0;    // bytes of dynamic shared memory of a block
  void* stream = nullptr;
};

#if defined(__CUDACC__)
// Bytes of shared memory that a block may have on the current device.
inline int64_t most_shared() {
  constexpr int kDevices = 64;
  static std::atomic<int> known[kDevices];
  int device = 0, bytes = 48 << 10;
  if (cudaGetDevice(&device) != cudaSuccess) return bytes;
  if (device < kDevices && known[device] != 0) return known[device];
  if (cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) != cudaSuccess) return 48 << 10;
  if (device < kDevices) known[device] = bytes;
  return bytes;
}

inline int64_t multiprocessors() {
  int device = 0, count = 1;
  if (cudaGetDevice(&device) != cudaSuccess) return 1;
  return cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) == cudaSuccess ? count : 1;
}

// nullptr, or the words of CUDA's error. A grid without blocks is no launch and no error.
template <typename Args>
const char* launch(void (*kernel)(Args), const Grid& grid, const Args& args) {
  if (grid.x == 0 || grid.y == 0) return nullptr;
  if (grid.shared > 48 << 10) {
    const cudaError_t given =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(grid.shared));
    if (given != cudaSuccess) {
      cudaGetLastError();  // told once, here
      return cudaGetErrorString(given);
    }
  }
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
  kernel<<<blocks, grid.threads, grid.shared, static_cast<cudaStream_t>(grid.stream)>>>(args);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
#else
inline int64_t most_shared() { return emulator::most_shared(); }
inline int64_t multiprocessors() { return 2; }

template <typename Args>
const char* launch(void (*kernel)(Args), const Grid& grid, const Args& args) {
  if (grid.x == 0 || grid.y == 0) return nullptr;
  return emulator::launch([&] { kernel(args); }, grid.x, grid.y, grid.threads, grid.shared);
}
#endif

}  // namespace memgan::cuda
