// What the CUDA kernels of memory_read and memory_refine are given, and the host functions that launch them. Plain C++:
// nothing of torch or CUDA in here.
//
// Axis letters as in memgan/types.py: B images, C channels of the features, D channels of the values (D = C where
// there is a gate), L words, N = H * W pixels. Strides count elements; those of images are 64 bits wide.
#pragma once

#include <cstdint>

#include "../views.h"
#include "device.h"

namespace memgan::cuda {

// A (B, L) view: true for a real word. Kernels read it themselves: nobody waits for the device to say how many are.
struct Mask {
  const bool* data = nullptr;  // nullptr: all are real
  int64_t batch = 0, word = 0;
};

struct AttendArgs {
  Dtype dtype = Dtype::float32;
  bool tf32 = false;  // float32 products may round their factors to tf32
  int64_t B = 0, C = 0, D = 0, L = 0, N = 0;
  double scale = 1.0;
  Pixels r;                           // (B, C, N)
  Slots keys, values;                 // (B, L, C), (B, L, D)
  Mask mask;                          // (B, L)
  const void* gate_weight = nullptr;  // (2C,) contiguous; nullptr: no gate, the result is what was read
  const void* gate_bias = nullptr;    // (1,)
  void* workspace = nullptr;          // as many bytes as the plan says
};

struct ForwardArgs : AttendArgs {
  MutablePixels out;          // (B, D, N)
  void* attention = nullptr;  // (B, L, N) contiguous, or nullptr: not asked for
  int64_t blocks = 1;         // of an image; set by the launch
};

// The partial sums of one chunk of an image's pixels, in the dtype that the kernel computes in:
//   slots [L + 1][C]: grad of keys, one row a real word, and behind them one row for the gate's half of r (dz times r)
//   values [L][D]: (g a_l) times grad_out · read [L]: dz times a_l · bias [1]: dz
// Chunks depend on sizes and on the GPU, one block sums one chunk, and chunks are added in order.
struct BackwardArgs : AttendArgs {
  Pixels grad_out;              // (B, D, N)
  Pixels grad_attention;        // (B, L, N); data nullptr: attention had no gradient
  MutablePixels grad_r;         // (B, C, N)
  void* grad_keys = nullptr;    // (B, L, C) contiguous
  void* grad_values = nullptr;  // (B, L, D) contiguous
  void* grad_weight = nullptr;  // (2C,) and (1,), where there is a gate
  void* grad_bias = nullptr;
  // Set by the launch:
  void* partial = nullptr;              // (images, chunks, partial_size), in the dtype that is computed in
  void* gate_partial = nullptr;         // (B, 2C + 1), in the dtype that is computed in
  int64_t first_image = 0, images = 0;  // which images this launch works on: what fits the workspace
  int64_t chunks = 1;                   // of an image
  int64_t chunk_pixels = 0;
  bool shared_sums = false;  // a block's partial sums are in shared memory while it adds to them
};

MEMGAN_BOTH int64_t partial_size(const AttendArgs& a) { return (a.L + 1) * a.C + a.L * a.D + a.L + 1; }

constexpr int64_t kMostWords = 6144;  // as many fit the kernels' lists in the 99 KB that every GPU from sm_80 on has

// For tensors that store S. Bytes of workspace that the launches need: at most 32 MB, but for gradients of keys and
// values that are larger than that themselves. One launch, and up to three a group of images: nullptr, or why the
// device refused.
template <typename S>
int64_t forward_workspace_of(const ForwardArgs& a);
template <typename S>
int64_t backward_workspace_of(const BackwardArgs& a);
template <typename S>
const char* forward_of(ForwardArgs a, void* stream);
template <typename S>
const char* backward_of(BackwardArgs a, void* stream);

// Calls `work` with a number of the dtype that tensors are stored in.
template <typename Work>
auto with_stored(Dtype dtype, Work&& work) {
  switch (dtype) {
    case Dtype::float64: return work(double{});
    case Dtype::bfloat16: return work(Bf16{});
    case Dtype::float16: return work(Half{});
    default: return work(float{});
  }
}

}  // namespace memgan::cuda
