// The torch side of every CUDA launch: device, stream, errors. torch's stable ABI and the static CUDA runtime
// alone, so that the library loads where torch has no CUDA too.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>

#include "../tensors.h"
#include "device.h"

namespace memgan::cuda {

// The stream that torch is on. Its look-up lies in a library that a process without CUDA does not load, so it is
// asked for by name when it is first needed; torch loads that library with its names hidden from others.
inline cudaStream_t current_stream(int32_t device) {
  using Look = AOTITorchError (*)(int32_t, void**);
  static const Look look = []() -> Look {
    void* library = dlopen("libtorch_cuda.so", RTLD_NOLOAD | RTLD_LAZY);
    return library == nullptr ? nullptr : reinterpret_cast<Look>(dlsym(library, "aoti_torch_get_current_cuda_stream"));
  }();
  STD_TORCH_CHECK(  // never the default stream instead: that would be a race without a word
      look != nullptr, "memgan: this torch gives no current CUDA stream (aoti_torch_get_current_cuda_stream)");
  void* stream = nullptr;
  // Not torch's macro for this, whose name changes between versions.
  STD_TORCH_CHECK(look(device, &stream) == AOTI_TORCH_SUCCESS, "memgan: torch gives no stream of CUDA device ", device);
  return static_cast<cudaStream_t>(stream);
}

// Makes the device of `like` the current one while it lives; its stream is the one that launches belong on.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const Tensor& like)
      : guard_(like.get_device_index()), stream_(current_stream(like.get_device_index())) {}
  cudaStream_t stream() const { return stream_; }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

inline Dtype dtype_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return Dtype::float32;
    case ScalarType::Double: return Dtype::float64;
    case ScalarType::BFloat16: return Dtype::bfloat16;
    case ScalarType::Half: return Dtype::float16;
    default: STD_TORCH_CHECK(false, "memgan: the CUDA kernels take float32, float64, bfloat16 and float16");
  }
}

// Of what a launch returned: nullptr, or CUDA's words.
inline void check_launch(const char* error, const char* kernel) {
  STD_TORCH_CHECK(error == nullptr, "memgan: ", kernel, " could not be launched: ", error);
}

}  // namespace memgan::cuda
