// What this library can run on, for memgan's choice of a backend and its doctor, through ctypes. None of it needs a
// GPU.
#include <cuda_runtime.h>

#include "attend.h"

#define MEMGAN_EXPORT extern "C" __attribute__((visibility("default")))

// Architectures as they were asked for: "80 90 120+PTX".
MEMGAN_EXPORT const char* memgan_cuda_architectures() { return MEMGAN_CUDA_ARCHITECTURES; }

MEMGAN_EXPORT int memgan_cuda_most_words() { return int(memgan::cuda::kMostWords); }

// The CUDA runtime inside, 13000 for 13.0; and what the driver takes at most, 0 where there is none.
MEMGAN_EXPORT int memgan_cuda_runtime() {
  int version = 0;
  return cudaRuntimeGetVersion(&version) == cudaSuccess ? version : 0;
}
MEMGAN_EXPORT int memgan_cuda_driver() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}
