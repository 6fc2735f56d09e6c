// What the driver needs of the machine that runs the kernels: its memory, and what only an emulator can be asked.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "launch.h"

namespace memgan {

#if defined(__CUDACC__)
inline const char* error_of(cudaError_t error) { return error == cudaSuccess ? nullptr : cudaGetErrorString(error); }
inline void must(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::printf("CUDA: %s\n", cudaGetErrorString(error));
  std::exit(3);
}
inline unsigned char* take(size_t size) {  // initcheck sees who reads it before it is written
  unsigned char* bytes = nullptr;
  if (size > 0) must(cudaMalloc(&bytes, size));
  return bytes;
}
inline void release(unsigned char* bytes) { cudaFree(bytes); }
inline void copy(void* to, const void* from, size_t size) { must(cudaMemcpy(to, from, size, cudaMemcpyDefault)); }
inline const char* wait_for_device() { return error_of(cudaDeviceSynchronize()); }
inline int64_t launches() { return 0; }
inline void prepare(uint64_t, int64_t) {}
#else
inline unsigned char* take(size_t size) {  // of NaN
  unsigned char* bytes = new unsigned char[size];
  std::memset(bytes, 0xff, size);
  return bytes;
}
inline void release(unsigned char* bytes) { delete[] bytes; }
inline void copy(void* to, const void* from, size_t size) {
  if (size > 0) std::memcpy(to, from, size);
}
inline const char* wait_for_device() { return nullptr; }
using emulator::launches;
// The order in which threads take turns, and bytes of shared memory that a block may have.
inline void prepare(uint64_t seed, int64_t most_shared) {
  emulator::set_seed(seed);
  emulator::set_most_shared(most_shared);
}
#endif

// As many bytes of the device's memory as are asked for, and not one more.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(size_t size) : bytes_(take(size)), size_(size) {}
  explicit DeviceMemory(const std::vector<char>& bytes) : DeviceMemory(bytes.size()) {
    copy(bytes_, bytes.data(), size_);
  }
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceMemory() { release(bytes_); }
  unsigned char* data() const { return bytes_; }
  std::vector<char> host() const {
    std::vector<char> bytes(size_);
    copy(bytes.data(), bytes_, size_);
    return bytes;
  }

 private:
  unsigned char* bytes_ = nullptr;
  size_t size_ = 0;
};

}  // namespace memgan
